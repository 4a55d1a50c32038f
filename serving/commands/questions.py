"""Arguments of what is asked: photos, filters, how many answers; and how answers become JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.commands.errors import CommandError

if TYPE_CHECKING:
    import numpy as np

    from serving.client.results import SearchResult

__all__ = ["add_filters", "add_photos", "filters_of", "numbers", "photos_of", "result_as_json"]

STANDARD_INPUT = "-"


def add_photos(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Adds the positional `PHOTO...`."""
    parser.add_argument(
        "photos", nargs=nargs, metavar="PHOTO", help="JPEG, PNG, WebP, GIF or BMP file; - for standard input"
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Adds `--filter`."""
    parser.add_argument(
        "--filter",
        dest="filters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only items with this, such as gender=Women; the same name again admits that value too",
    )


def filters_of(given: Sequence[str]) -> dict[str, list[str]]:
    """`["gender=Women", "gender=Men"]` to `{"gender": ["Women", "Men"]}`.

    Raises:
        CommandError: one is not NAME=VALUE.
    """
    filters: dict[str, list[str]] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals and value):
            raise CommandError(f"expected --filter NAME=VALUE, such as gender=Women; received {each!r}")
        filters.setdefault(name, []).append(value)
    return filters


def photos_of(paths: Sequence[str]) -> list[bytes]:
    """The files of the photos.

    Raises:
        BadInputError: one is not a picture; it says which.
    """
    from serving.client.pictures import picture_bytes

    return [picture_bytes(sys.stdin.buffer if path == STANDARD_INPUT else path) for path in paths]


def result_as_json(photo: str | None, result: SearchResult) -> dict[str, Any]:
    """A search's or lookup's answer for one question, as JSON has it."""
    asked: Mapping[str, Any] = {} if photo is None else {"photo": photo}
    return {
        **asked,
        "model": result.model,
        "version": result.version,
        "fingerprint": result.fingerprint,
        "table_fingerprint": result.table_fingerprint,
        "matches": [
            {"id": match.id, "score": score, "attributes": dict(match.attributes)}
            for match, score in zip(result.matches, numbers(result.scores), strict=True)
        ],
    }


def numbers(values: np.ndarray) -> list[float]:
    """float32 values as the shortest numbers that are still the same."""
    return [float(f"{value:.9g}") for value in values.tolist()]
