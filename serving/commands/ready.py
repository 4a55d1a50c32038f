"""`python -m serving ready`: waits until a server can be asked."""

from __future__ import annotations

import argparse
import time

from serving.commands.connection import add_connection, client_settings, servers

__all__ = ["add_arguments", "run"]

SHORTEST = 0.001


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `ready` to a parser."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="served names (default: those of NAME's three that the server has)"
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default 60)")
    add_connection(parser, version=False, timeout=None)


def run(options: argparse.Namespace) -> int:
    """Waits for every server.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code: 0 all are ready, 2 the time is up.
    """
    from serving import Client

    given = client_settings(options)
    given.pop("timeout")  # of the waiting here, of a call there
    left, ends = options.timeout, time.monotonic() + options.timeout
    for address in servers(options):
        with Client(address, **given) as client:
            client.wait_until_ready(left, options.models or None)
        print(f"{address} is ready")
        left = max(ends - time.monotonic(), SHORTEST)
    return 0
