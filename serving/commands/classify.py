"""`python -m serving classify`: what photos show."""

from __future__ import annotations

import argparse
import json

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.questions import add_photos, numbers, photos_of
from serving.commands.text_table import text_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `classify` to a parser."""
    add_photos(parser)
    parser.add_argument("--k", type=int, default=1, help="labels of each photo (default 1)")
    parser.add_argument("--json", action="store_true", help="one line of JSON a photo, instead of a table")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Classifies and prints.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code.
    """
    photos = photos_of(options.photos)
    from serving import Client

    with Client(servers(options), **client_settings(options)) as client:
        answers = client.classify_many(photos, options.k)
    rows = []
    for photo, answer in zip(options.photos, answers, strict=True):
        scores = numbers(answer.scores)
        if options.json:
            labels = [{"name": label.name, "score": score} for label, score in zip(answer.labels, scores, strict=True)]
            about = {"model": answer.model, "version": answer.version, "fingerprint": answer.fingerprint}
            print(json.dumps({"photo": photo, **about, "labels": labels}, ensure_ascii=False))
        rows += [[photo, label.name, f"{label.score:.4f}"] for label in answer.labels]
    if not options.json:
        header = ["photo", "label", "probability"]
        print(text_table(header, rows, right=frozenset({"probability"}), whole=frozenset({"photo"})))
    return 0
