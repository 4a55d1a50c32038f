"""Arguments that every command has: which server, which model, how long, and how it is trusted."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from serving.commands.errors import CommandError

__all__ = ["DEFAULT_SERVER", "TOKEN_VARIABLE", "add_connection", "client_settings", "servers"]

DEFAULT_SERVER = "localhost:8500"
TOKEN_VARIABLE = "SHOPPIN_SERVING_TOKEN"  # noqa: S105 - its name, the same that `serve` reads


def add_connection(parser: argparse.ArgumentParser, *, version: bool = True, timeout: float | None = 10.0) -> None:
    """Adds them to a command's parser.

    Args:
        parser: of the command.
        version: whether a version of the model can be asked for.
        timeout: default of `--timeout`, in seconds; None for a command without.
    """
    group = parser.add_argument_group("the server")
    group.add_argument(
        "--server",
        action="append",
        metavar="HOST:PORT",
        help=f"default {DEFAULT_SERVER}; give it again for several that answer the same",
    )
    group.add_argument("--name", default="fused", help="of the trained model (default fused)")
    if version:
        which = group.add_mutually_exclusive_group()
        which.add_argument("--version", type=int, metavar="N", help="of the model (default: the highest loaded)")
        which.add_argument("--label", help="of a version, such as stable")
    if timeout is not None:
        group.add_argument(
            "--timeout", type=float, default=timeout, metavar="S", help=f"seconds for a call (default {timeout:g})"
        )
    group.add_argument("--tls", action="store_true", help="encrypt; the options below turn it on too")
    group.add_argument("--tls-ca", type=Path, metavar="PEM", help="certificates to trust (default: public ones)")
    group.add_argument("--tls-certificate", type=Path, metavar="PEM", help="this client's, for mutual TLS")
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="the private key of --tls-certificate")
    group.add_argument("--tls-server-name", metavar="NAME", help="in the server's certificate, if not its host")
    group.add_argument("--token-file", type=Path, metavar="FILE", help=f"bearer token; or set {TOKEN_VARIABLE}")


def servers(options: argparse.Namespace) -> list[str]:
    """Addresses that were given, or the default one."""
    return list(options.server or [DEFAULT_SERVER])


def client_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What `Client` and `AsyncClient` are made with, but for the addresses.

    Raises:
        CommandError: the token's file cannot be read.
        ServingError: an impossible setting.
    """
    from serving import TLS

    settings: dict[str, Any] = {"model": options.name, "token": _token(options.token_file)}
    for name in ("version", "label", "timeout"):
        if getattr(options, name, None) is not None:
            settings[name] = getattr(options, name)
    parts = (options.tls_ca, options.tls_certificate, options.tls_key, options.tls_server_name)
    if options.tls or any(part is not None for part in parts):
        settings["tls"] = TLS(*parts)
    return settings


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"expected a bearer token in {path}, it cannot be read: {error}") from error
    if not token:
        raise CommandError(f"expected a bearer token in {path}, it is empty")
    return token
