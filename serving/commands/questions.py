"""Arguments of what is asked: photos, words, filters; and how questions and answers become JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.commands.errors import CommandError

if TYPE_CHECKING:
    import numpy as np

    from serving.client.results import SearchResult

__all__ = [
    "Question",
    "add_filters",
    "add_photos",
    "add_texts",
    "add_weight",
    "filters_of",
    "numbers",
    "photos_of",
    "result_as_json",
]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Question:
    """What one answer is about, as it was given: a photo's path, words, or both."""

    photo: str | None = None
    text: str | None = None

    def __str__(self) -> str:
        return " + ".join(each for each in (self.photo, self.text and f'"{self.text}"') if each)

    def as_json(self) -> dict[str, str]:
        """`photo` and `text`, those that there are."""
        return {name: value for name, value in (("photo", self.photo), ("text", self.text)) if value is not None}


def add_photos(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Adds the positional `PHOTO...`."""
    parser.add_argument(
        "photos", nargs=nargs, metavar="PHOTO", help="JPEG, PNG, WebP, GIF or BMP file; - for standard input"
    )


def add_texts(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds `--text`."""
    parser.add_argument("--text", dest="texts", action="append", default=[], metavar="WORDS", help=help)


def add_weight(parser: argparse.ArgumentParser) -> None:
    """Adds `--weight`."""
    parser.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="how much --text counts beside a PHOTO: 0 the photo alone, 1 the words alone (default 0.5)",
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


def result_as_json(asked: Mapping[str, str], result: SearchResult) -> dict[str, Any]:
    """A search's or lookup's answer for one question, as JSON has it."""
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
