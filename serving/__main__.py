"""`python -m serving`: a table of commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from serving.commands.errors import told


@dataclass(frozen=True)
class Command:
    """A command: the module with its `add_arguments(parser)` and `run(options) -> int`, and what it does."""

    module: str
    summary: str


COMMANDS = {
    "serve": Command("serving.server.command", "serve exported models from this machine"),
    "search": Command("serving.commands.search", "find the items most similar to photos, to words, or to both"),
    "web": Command("serving.commands.web", "show the Lens page: search with a photo in a browser"),
    "embed": Command("serving.commands.embed", "turn photos and words into embeddings"),
    "lookup": Command("serving.commands.lookup", "find the items most similar to embeddings"),
    "classify": Command("serving.commands.classify", "name what photos show"),
    "status": Command("serving.commands.status", "show which models and versions a server has"),
    "ready": Command("serving.commands.ready", "wait until a server can be asked; the exit code tells"),
    "load": Command("serving.commands.load", "measure a server: many requests at once, throughput and latency"),
}
_SERVE = "serve"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m serving",
        description="Asks TensorFlow Serving about pictures, words and products, or serves them from this machine.",
        epilog="Exit codes: 0 done, 1 our fault, 2 the input or the server, 130 interrupted.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, help=command.summary, description=command.summary[0].upper() + command.summary[1:] + "."
        )
        if name in arguments[:1]:
            importlib.import_module(command.module).add_arguments(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and answers the exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what gRPC logs of a failure, our one line tells too
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a product's name shows its escape
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser(arguments).parse_args(arguments)
        code = int(importlib.import_module(COMMANDS[options.command].module).run(options))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the answer has seen enough, as `head` does
        _drop_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _drop_output()
            print(f"error: expected room to write the answer: {error}", file=sys.stderr)
            return 2
        message = _missing(error) if arguments[:1] == [_SERVE] else None
        message = message or told(error)
        if message is not None:
            print(f"error: {message}", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(
            "error: this is a fault of shoppin, not of your input; please report it with the lines above",
            file=sys.stderr,
        )
        return 1


def _drop_output() -> None:
    """Sends what is left of the output nowhere, so that ending does not fail at it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _missing(error: Exception) -> str | None:
    """Says which of the server's libraries is missing, which the client alone does not need."""
    if not isinstance(error, ModuleNotFoundError) or (error.name or "serving").partition(".")[0] == "serving":
        return None
    return f"expected the server's libraries, {error.name} is missing; install them: pip install 'shoppin[server]'"


if __name__ == "__main__":
    sys.exit(main())
