"""`python -m serving search`: the items most similar to photos."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.questions import add_filters, add_photos, filters_of, photos_of, result_as_json
from serving.commands.text_table import text_table

if TYPE_CHECKING:
    from serving.client.results import SearchResult

__all__ = ["add_arguments", "matches_table", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `search` to a parser."""
    add_photos(parser)
    parser.add_argument("--k", type=int, default=10, help="matches of each photo (default 10)")
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON a photo, instead of a table")
    show = parser.add_argument_group("a picture of the answer")
    show.add_argument("--show", type=Path, metavar="OUT.png", help="draw the photos and their matches; needs Pillow")
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
    _check_show(options)
    filters = filters_of(options.filters)
    photos = photos_of(options.photos)
    from serving import Client

    with Client(servers(options), **client_settings(options)) as client:
        results = client.search_many(photos, options.k, filters)
    for photo, result in zip(options.photos, results, strict=True):
        if options.json:
            print(json.dumps(result_as_json(photo, result), ensure_ascii=False))
        else:
            print(f"{photo}: {result.model} version {result.version}\n{matches_table(result)}\n")
    if options.show is not None:
        _draw(options, photos, results)
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


def _check_show(options: argparse.Namespace) -> None:
    """Refuses what could not be drawn before anything is asked."""
    source = options.pictures or options.items
    if options.show is None:
        if source is not None:
            raise CommandError("expected --show OUT.png beside --pictures or --items; give it, or leave them out")
        return
    if source is None:
        raise CommandError("expected --pictures DIR or --items FILE with --show, to find the matches' pictures")
    from serving.commands.picture_grid import check_can_draw

    check_can_draw(options.show, len(options.photos) * (1 + max(options.k, 1)))
    if options.pictures is not None and not options.pictures.is_dir():
        raise CommandError(f"expected a folder of pictures, received {options.pictures}")
    if options.items is not None and not options.items.is_file():
        raise CommandError(f"expected an items.parquet, received {options.items}, which is no file")


def _draw(options: argparse.Namespace, photos: Sequence[bytes], results: Sequence[SearchResult]) -> None:
    from serving.commands.item_pictures import pictures_in_folder, pictures_in_items
    from serving.commands.picture_grid import Tile, draw_grid

    wanted = {match.id for result in results for match in result.matches}
    if options.pictures is not None:
        found = pictures_in_folder(options.pictures, wanted)
    else:
        found = pictures_in_items(options.items, wanted)
    rows = []
    for name, photo, result in zip(options.photos, photos, results, strict=True):
        query = Tile(photo, Path(name).name, "query", framed=True)
        rows.append([query, *(Tile(found.get(match.id), match.id, f"{match.score:.3f}") for match in result.matches)])
    draw_grid(rows, options.show)
    without = len(wanted - found.keys())
    print(f"{options.show}" + (f" ({without} of {len(wanted)} items have no picture there)" if without else ""))
