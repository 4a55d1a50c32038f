"""`python -m serving lookup`: the items most similar to embeddings."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.questions import STANDARD_INPUT, Question, add_filters, filters_of, result_as_json
from serving.commands.search import matches_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `lookup` to a parser."""
    parser.add_argument(
        "vectors",
        metavar="VECTORS",
        help="a .npy file [D] or [N, D], or what embed --json printed; - for the latter on standard input",
    )
    parser.add_argument("--k", type=int, default=10, help="matches of each embedding (default 10)")
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON an embedding, instead of a table")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Looks up and prints.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code.
    """
    filters = filters_of(options.filters)
    questions, vectors = _read(options.vectors)
    from serving import Client

    with Client(servers(options), **client_settings(options)) as client:
        results = client.lookup_many(vectors, options.k, filters)
    for question, result in zip(questions, results, strict=True):
        if options.json:
            print(json.dumps(result_as_json(question.as_json(), result), ensure_ascii=False))
        else:
            print(f"{question}: {result.model} version {result.version}\n{matches_table(result)}\n")
    return 0


def _read(source: str) -> tuple[list[Question], Any]:
    """What the embeddings are of, and the embeddings."""
    try:
        if source == STANDARD_INPUT:
            return _from_lines(sys.stdin, "standard input")
        if Path(source).suffix == ".npy":
            return _from_array(source)
        with open(source, encoding="utf-8") as lines:
            return _from_lines(lines, source)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"expected embeddings in {source}, it cannot be read: {error}") from error


def _from_array(source: str) -> tuple[list[Question], Any]:
    import numpy as np

    try:
        array = np.load(source, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CommandError(f"expected an array in {source}, it cannot be read: {error}") from error
    if array.ndim not in (1, 2):
        raise CommandError(f"expected an array [D] or [N, D] in {source}, received the shape {list(array.shape)}")
    rows = array[np.newaxis] if array.ndim == 1 else array
    return [Question(photo=f"{source}[{row}]") for row in range(len(rows))], rows


def _from_lines(lines: Iterable[str], source: str) -> tuple[list[Question], Any]:
    import numpy as np

    from serving import Embedding

    questions, vectors = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            vector = np.array(value["embedding"], np.float32)
            if vector.ndim != 1:
                raise ValueError(f"an embedding of the shape {list(vector.shape)}")
            about = str(value.get("model", "")), int(value.get("version", 0)), str(value.get("fingerprint", ""))
            photo, text = value.get("photo"), value.get("text")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise CommandError(
                f"expected a line of embed --json in {source}, line {number} is none: {type(error).__name__} {error}"
            ) from error
        if photo is None and text is None:
            photo = f"{source}:{number}"
        questions.append(Question(photo and str(photo), text and str(text)))
        vectors.append(Embedding(vector, *about))
    if not vectors:
        raise CommandError(f"expected at least one line of embed --json, {source} is empty")
    return questions, vectors
