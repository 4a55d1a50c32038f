"""`python -m serving serve`: the embedded server on the command line."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.errors import SetupError
from serving.server.held_back import held_back_stderr
from serving.server.options import MEBIBYTE, ServerOptions

if TYPE_CHECKING:
    from serving.server.embedded_server import EmbeddedServer

__all__ = ["TOKEN_VARIABLE", "add_arguments", "run"]

TOKEN_VARIABLE = "SHOPPIN_SERVING_TOKEN"  # noqa: S105 - its name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `serve` to a parser."""
    parser.add_argument("exports", type=Path, metavar="EXPORTS", help="folder of models, or a models.config")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8500, help="of gRPC; 0 for any free one (default 8500)")
    parser.add_argument("--rest-port", type=int, metavar="PORT", help="of REST and metrics (default: neither)")
    parser.add_argument("--poll-seconds", type=float, default=1.0, help="between looks for new versions and labels (1)")
    parser.add_argument("--no-batching", action="store_true", help="run every request alone")
    parser.add_argument("--batching-parameters", type=Path, metavar="FILE", help="for versions without their own")
    parser.add_argument("--max-pending", type=int, default=1024, help="waiting requests where unbatched (1024)")
    parser.add_argument("--max-message-mib", type=_finite, default=64.0, help="greatest message (default 64)")
    parser.add_argument("--max-megapixels", type=_finite, default=64.0, help="greatest picture (default 64)")
    parser.add_argument("--tensor-content", action="store_true", help="answer numbers as tensor_content")
    parser.add_argument("--no-verify", action="store_true", help="do not hold files against their manifest's digests")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"bearer token; or set {TOKEN_VARIABLE}")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="certificate chain: turns TLS on")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="the certificate's private key")
    parser.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="who signs clients: turns mutual TLS on")
    parser.add_argument("--rest-timeout-seconds", type=float, default=30.0, help="of a REST request (default 30)")
    parser.add_argument("--grace-seconds", type=float, default=30.0, help="to finish requests at the end (default 30)")


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM (exit code 0) or SIGINT (130).

    When the ports are open, prints one line: `serving grpc=127.0.0.1:8500 rest=127.0.0.1:8501`.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code: 0 stopped, 2 the input, 130 interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_serve(_options(options)))
    except SetupError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _options(given: argparse.Namespace) -> ServerOptions:
    return ServerOptions(
        exports=given.exports,
        host=given.host,
        port=given.port,
        rest_port=given.rest_port,
        poll_seconds=given.poll_seconds,
        batching=not given.no_batching,
        batching_parameters=given.batching_parameters,
        max_pending=given.max_pending,
        max_message_bytes=int(given.max_message_mib * MEBIBYTE),
        max_picture_pixels=int(given.max_megapixels * 1e6),
        tensor_content=given.tensor_content,
        verify=not given.no_verify,
        token=_token(given.token_file),
        tls_certificate=given.tls_certificate,
        tls_key=given.tls_key,
        tls_client_ca=given.tls_client_ca,
        rest_timeout_seconds=given.rest_timeout_seconds,
        grace_seconds=given.grace_seconds,
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, received {text}")
    return value


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"expected a bearer token in {path}, it cannot be read: {error}") from error


async def _serve(options: ServerOptions) -> int:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    code = 0

    def ask(number: signal.Signals) -> None:
        nonlocal code
        code = 130 if number == signal.SIGINT else 0
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    server = await asyncio.to_thread(_make, options)
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(asked.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        rest = "" if server.rest_port is None else f" rest={options.url_host}:{server.rest_port}"
        print(f"serving grpc={options.url_host}:{server.port}{rest}", flush=True)
        await stopping
    else:
        starting.cancel()
        await asyncio.wait({starting})
    await server.stop()
    return code


def _make(options: ServerOptions) -> EmbeddedServer:
    """Imports TensorFlow, off the event loop so that a signal is heard meanwhile."""
    with held_back_stderr():
        import tensorflow as tf

    from serving.server.embedded_server import EmbeddedServer as Server

    tf.get_logger().setLevel("ERROR")
    # TensorFlow's modules are half a million objects: looking through them for cycles at every swap of versions would
    # stop all requests for 0.4 s.
    gc.collect()
    gc.freeze()
    return Server(options)
