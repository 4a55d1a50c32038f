"""`python -m serving web`: the Lens page, a shopper's photo in, the shop's products out."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError

if TYPE_CHECKING:
    from serving.web.application import PageSettings
    from serving.web.guard import Login
    from serving.web.models import Choice, Models

__all__ = ["add_arguments", "listening", "run"]

MEBIBYTE = 2**20
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
PEOPLE_AT_ONCE = 512
GRACE_SECONDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `web` to a parser."""
    shop = parser.add_argument_group("the shop")
    shop.add_argument("--pictures", type=Path, required=True, metavar="ROOT", help="items' pictures: ROOT/ID.jpg")
    shop.add_argument("--items", type=Path, metavar="FILE", help="items.parquet: paths below ROOT, titles, labels")
    shop.add_argument("--title", metavar="NAME", help="what names a product: a column, or an attribute of the answers")
    shop.add_argument("--examples", type=int, default=12, metavar="N", help="pictures to try (default 12)")
    shop.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="MODEL[:VERSION]",
        help="another model, version or label beside NAME; again for more",
    )
    shop.add_argument(
        "--no-match",
        type=float,
        metavar="S",
        help="say that there is no good match below this similarity (default: what the model says)",
    )
    page = parser.add_argument_group("the page; encrypting it is the business of a proxy before it")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    page.add_argument("--port", type=int, default=8600, help="0 for any free one (default 8600)")
    page.add_argument("--user", metavar="NAME", help="who may see it, with --password-file")
    page.add_argument("--password-file", type=Path, metavar="FILE", help="needed where --host is not this machine only")
    page.add_argument("--insecure-no-login", action="store_true", help="show it to everybody who reaches --host")
    page.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="that a proxy asks for it by; again for more",
    )
    page.add_argument("--max-upload-mib", type=float, default=10.0, metavar="N", help="greatest photo (default 10)")
    page.add_argument("--max-megapixels", type=float, default=50.0, metavar="N", help="greatest photo (default 50)")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Shows the page until SIGTERM (exit code 0) or SIGINT (130).

    When it can be opened, prints one line: `Lens http://127.0.0.1:8600/`.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code.
    """
    login = _login(options)
    try:
        import uvicorn

        from serving.web.application import lens
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "serving":
            raise
        raise CommandError(
            f"expected the page's libraries, {error.name} is missing; install them: pip install 'shoppin[web]'"
        ) from error
    from serving.web.catalogue import Catalogue

    settings = _settings(options)
    catalogue = Catalogue(options.pictures, options.items, options.title)
    local = _is_local(options.host)
    hosts = [*LOCAL_NAMES, options.host, *options.allow_host] if local else options.allow_host
    page = lens(_models(options), catalogue, settings, hosts, login)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn sends it on when it has finished its answers
    with listening(options.host, options.port) as listener:
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"Lens http://{host}:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            page,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=PEOPLE_AT_ONCE,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _settings(options: argparse.Namespace) -> PageSettings:
    from serving.web.application import PageSettings

    for name in ("max_upload_mib", "max_megapixels"):
        if not 0 < getattr(options, name) <= 1024:
            shown = f"--{name.replace('_', '-')}"
            raise CommandError(f"expected {shown} over 0 and up to 1024, received {getattr(options, name)}")
    if not 0 <= options.examples <= 100:
        raise CommandError(f"expected --examples from 0 to 100, received {options.examples}")
    return PageSettings(
        max_bytes=int(options.max_upload_mib * MEBIBYTE),
        max_pixels=int(options.max_megapixels * 1e6),
        examples=options.examples,
        no_match=options.no_match,
    )


def _models(options: argparse.Namespace) -> Models:
    from serving import AsyncClient
    from serving.web.models import Choice, Models

    chosen = [Choice(options.name, options.version, options.label), *map(_choice, options.compare)]
    settings: dict[str, Any] = client_settings(options)
    for name in ("model", "version", "label"):  # every search says its own
        settings.pop(name, None)

    def connect(name: str) -> AsyncClient:
        return AsyncClient(servers(options), model=name, **settings)

    return Models(chosen, connect)


def _choice(text: str) -> Choice:
    from serving.web.models import Choice

    try:
        return Choice.parse(text)
    except ValueError as error:
        raise CommandError(f"expected --compare MODEL, MODEL:VERSION or MODEL:LABEL, received {text!r}") from error


def _login(options: argparse.Namespace) -> Login | None:
    """Name and password; refuses to show the page to everybody unless told to."""
    if (options.user is None) != (options.password_file is None):
        raise CommandError("expected --user and --password-file together, received one of them")
    if options.user is None:
        if _is_local(options.host) or options.insecure_no_login:
            return None
        raise CommandError(
            f"expected --user and --password-file, since others can reach {options.host}; "
            "or --insecure-no-login to show the page to all of them"
        )
    if not options.user or ":" in options.user:
        raise CommandError(f"expected --user as a name without a colon, received {options.user!r}")
    try:
        password = options.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"expected a password in {options.password_file}, it cannot be read: {error}") from error
    if not password:
        raise CommandError(f"expected a password in {options.password_file}, it is empty")
    from serving.web.guard import Login

    return Login(options.user, password)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that connections can be made to; answers on it go out at once.

    Raises:
        CommandError: the address is taken, or not this machine's.
    """
    if not 0 <= port < 2**16:
        raise CommandError(f"expected --port from 0 to 65535, received {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # asyncio does so only where a socket says that its protocol is TCP; without, small answers wait for 40 ms
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise CommandError(f"expected to listen on {host}:{port}: {reason}; give another --host or --port") from error
