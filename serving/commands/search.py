"""`python -m serving search`: the items most similar to photos, to words, or to photos changed by words."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.questions import (
    Question,
    add_filters,
    add_photos,
    add_texts,
    add_weight,
    filters_of,
    photos_of,
    result_as_json,
)
from serving.commands.text_table import text_table

if TYPE_CHECKING:
    from serving.client.results import SearchResult

__all__ = ["add_arguments", "matches_table", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `search` to a parser."""
    add_photos(parser, nargs="*")
    add_texts(parser, "search by words; again for another search. With photos, one: what to change about each photo")
    add_weight(parser)
    parser.add_argument("--k", type=int, default=10, help="matches of each search (default 10)")
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON a search, instead of a table")
    show = parser.add_argument_group("a picture of the answer")
    show.add_argument("--show", type=Path, metavar="OUT.png", help="draw what was asked and the matches; needs Pillow")
    found = show.add_mutually_exclusive_group()
    found.add_argument("--pictures", type=Path, metavar="DIR", help="the items' pictures lie in it as ID.jpg or alike")
    found.add_argument("--items", type=Path, metavar="FILE", help="items.parquet that names them; needs pyarrow")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Searches, prints, draws.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code.
    """
    questions = _questions(options)
    _check_show(options, questions)
    filters = filters_of(options.filters)
    photos = photos_of(options.photos) or None
    texts = [each.text for each in questions if each.text is not None] or None
    from serving import Client

    with Client(servers(options), **client_settings(options)) as client:
        results = client.search_many(photos, options.k, filters, texts=texts, weight=options.weight)
    for question, result in zip(questions, results, strict=True):
        if options.json:
            print(json.dumps(result_as_json(question.as_json(), result), ensure_ascii=False))
        else:
            print(f"{question}: {result.model} version {result.version}\n{matches_table(result)}\n")
    if options.show is not None:
        _draw(options, questions, photos, results)
    return 0


def matches_table(result: SearchResult) -> str:
    """The matches of one question, for people."""
    if not result.matches:
        return "no item matches"
    names = list(result.matches[0].attributes)
    rows = [
        [str(rank), match.id, f"{match.score:.4f}", *(match.attributes.get(name, "") for name in names)]
        for rank, match in enumerate(result.matches, 1)
    ]
    return text_table(["#", "id", "score", *names], rows, frozenset({"#", "score"}))


def _questions(options: argparse.Namespace) -> list[Question]:
    """One a photo, or one a text where there is no photo."""
    photos, texts = options.photos, options.texts
    if not photos and not texts:
        raise CommandError("expected at least one PHOTO or --text, received neither")
    if photos and len(texts) > 1:
        raise CommandError(f"expected one --text with photos, received {len(texts)}; ask for each text by itself")
    if not photos:
        return [Question(text=text) for text in texts]
    return [Question(photo, *texts) for photo in photos]


def _check_show(options: argparse.Namespace, questions: Sequence[Question]) -> None:
    """Refuses what could not be drawn before anything is asked."""
    source = options.pictures or options.items
    if options.show is None:
        if source is not None:
            raise CommandError("expected --show OUT.png beside --pictures or --items; give it, or leave them out")
        return
    if source is None:
        raise CommandError("expected --pictures DIR or --items FILE with --show, to find the matches' pictures")
    from serving.commands.picture_grid import check_can_draw

    check_can_draw(options.show, sum(len(each.as_json()) + max(options.k, 1) for each in questions))
    if options.pictures is not None and not options.pictures.is_dir():
        raise CommandError(f"expected a folder of pictures, received {options.pictures}")
    if options.items is not None and not options.items.is_file():
        raise CommandError(f"expected an items.parquet, received {options.items}, which is no file")


def _draw(
    options: argparse.Namespace,
    questions: Sequence[Question],
    photos: Sequence[bytes] | None,
    results: Sequence[SearchResult],
) -> None:
    from serving.commands.item_pictures import pictures_in_folder, pictures_in_items
    from serving.commands.picture_grid import Tile, draw_grid

    wanted = {match.id for result in results for match in result.matches}
    if options.pictures is not None:
        found = pictures_in_folder(options.pictures, wanted)
    else:
        found = pictures_in_items(options.items, wanted)
    rows = []
    for place, (question, result) in enumerate(zip(questions, results, strict=True)):
        asked = []
        if question.photo is not None and photos is not None:
            asked.append(Tile(photos[place], Path(question.photo).name, "query", framed=True))
        if question.text is not None:
            asked.append(Tile(None, "", "query", framed=True, words=question.text))
        matches = [Tile(found.get(match.id), match.id, f"{match.score:.3f}") for match in result.matches]
        rows.append([*asked, *matches])
    draw_grid(rows, options.show)
    without = len(wanted - found.keys())
    print(f"{options.show}" + (f" ({without} of {len(wanted)} items have no picture there)" if without else ""))
