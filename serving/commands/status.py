"""`python -m serving status`: which models and versions a server has."""

from __future__ import annotations

import argparse
import dataclasses
import json

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.text_table import text_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `status` to a parser."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="served names (default: NAME_encoder, NAME_lookup, NAME_search)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON a server, instead of a table")
    add_connection(parser, version=False)


def run(options: argparse.Namespace) -> int:
    """Asks every server, and prints.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code: 2 where a server has none of the models.
    """
    from serving import Client

    rows, lacking = [], []
    for address in servers(options):
        with Client(address, **client_settings(options)) as client:
            healthy = client.healthy()
            found = {name: client.status(name) for name in options.models} if options.models else client.models()
        if not found:
            lacking.append(address)
        if options.json:
            versions = {name: [dataclasses.asdict(each) for each in states] for name, states in found.items()}
            print(json.dumps({"server": address, "healthy": healthy, "models": versions}, ensure_ascii=False))
        rows += [
            [address, "yes" if healthy else "no", name, str(each.version), each.state, each.error]
            for name, states in found.items()
            for each in states
        ]
    if rows and not options.json:
        header = ["server", "healthy", "model", "version", "state", "error"]
        print(text_table(header, rows, right=frozenset({"version"}), whole=frozenset({"server", "model", "error"})))
    if lacking:
        raise CommandError(
            f"expected a model of the name {options.name} at {', '.join(lacking)}, there is none; give --name, "
            "or the served names"
        )
    return 0
