"""Carries out changes of a catalogue: embeds what is new, and writes the changed table."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from export.catalogue import UNKNOWN_PICTURE, Catalogue, Part, write_parts
from export.catalogue_changes import CatalogueChanges, Change
from export.picture_embedder import MISSING, PictureEmbedder
from export.table_rows import TableChunk
from trainer.data.items import ID, IMAGE_PATH
from trainer.errors import InputError
from trainer.files import atomic_path

__all__ = ["embed_changes", "refuse_broken", "write_changed"]

_AT_ONCE = 2048
_log = logging.getLogger(__name__)


def embed_changes(
    changes: CatalogueChanges, embedder: PictureEmbedder, former: Catalogue | None, examples: int = 0
) -> list[Change]:
    """Sees to it that every picture among the changes has a vector, or a reason why not.

    Pictures whose bytes the former table, or an interrupted command, has embedded already are not embedded again.

    Args:
        changes: what is to be done; the outcomes are noted there.
        embedder: embeds.
        former: the table as it is, made by the same encoder; None where there is none.
        examples: how many changes with a usable picture to answer at most.

    Returns:
        The first changes with a usable picture.

    Raises:
        InputError: the disk is full.
    """
    count = changes.count_pictures()
    if not count:
        return []
    for chunk, digests in former.parts() if former is not None else ():
        embedder.remember(digests, chunk.vectors)
    found: list[Change] = []
    with tqdm(total=count, desc="embedding pictures", unit="picture", mininterval=0.5) as progress:
        for page in changes.with_pictures(_AT_ONCE):
            for outcomes in embedder.embed([change.path for change in page]):
                changes.settle({page[at].place: (digest, reason) for at, digest, reason in outcomes})
                found += [page[at] for at, _, reason in outcomes if not reason][: examples - len(found)]
                progress.update(len(outcomes))
    _log.info("%d pictures embedded, %d known before or unusable", embedder.embedded, count - embedder.embedded)
    return found


def refuse_broken(changes: CatalogueChanges, file: Path, max_share: float) -> int:
    """Writes which pictures cannot be used, and refuses to go on with too many of them.

    Args:
        changes: after `embed_changes`.
        file: CSV of `id`, `image_path`, `action`, `reason`.
        max_share: of the pictures that are there, how many may be broken. Those that are missing do not count, as in
            `python -m trainer prepare`, unless all are.

    Returns:
        How many cannot be used.

    Raises:
        InputError: too many are broken, or none is there.
    """
    reasons, count = changes.reasons(), changes.count_pictures()
    with atomic_path(file) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([ID, IMAGE_PATH, "action", "reason"])
        writer.writerows((change.id, change.path, change.action, change.reason) for change in changes.rejected())
    missing = reasons.pop(MISSING, 0)
    if count and missing == count:
        first = next(changes.rejected()).path
        raise InputError(
            f"expected the pictures, none of {count} is there; first looked for {first}; check --pictures and the "
            f"column {IMAGE_PATH}"
        )
    broken = sum(reasons.values())
    if broken > max_share * (count - missing):
        worst = next(iter(reasons))
        raise InputError(
            f"{broken / (count - missing):.1%} of the pictures ({broken} of {count - missing}) cannot be used, most "
            f"often: {worst} ({reasons[worst]}); expected at most --max-rejected-share {max_share:g}. See {file}; mend "
            "those pictures or raise the limit"
        )
    return broken + missing


def write_changed(
    folder: Path,
    changes: CatalogueChanges,
    embedder: PictureEmbedder,
    former: Catalogue | None,
    columns: Sequence[str],
) -> None:
    """Writes the changed table below a folder, as `export.catalogue` reads it, chunk by chunk.

    Items that stay keep their order; what is replaced stays in its place; what is added comes last, in the file's
    order. An item to replace whose new picture cannot be used stays as it was.

    Args:
        folder: where `assets.extra` is made.
        changes: after `embed_changes`.
        embedder: has the vectors.
        former: the table to change; None for a new one.
        columns: attributes to keep; empty text where an item has none.

    Raises:
        InputError: the disk is full, or the former table is damaged.
    """

    def parts() -> Iterator[Part]:
        for chunk, digests in former.parts() if former is not None else ():
            yield _changed(chunk, digests, changes, embedder, columns)
        for page in changes.added():
            yield _added(page, embedder, columns)

    write_parts(folder, changes.count_after(), embedder.dimension, columns, parts)


def _changed(
    chunk: TableChunk,
    digests: Sequence[bytes],
    changes: CatalogueChanges,
    embedder: PictureEmbedder,
    columns: Sequence[str],
) -> Part:
    """A chunk of the former table as it is afterwards."""
    empty = np.full(len(chunk), "", object)
    attributes = {name: np.array(chunk.attributes.get(name, empty), object) for name in columns}
    vectors, marks = np.array(chunk.vectors), list(digests)
    kept = np.ones(len(chunk), bool)
    found = changes.of(chunk.ids.tolist())
    for row, name in enumerate(chunk.ids) if found else ():
        change = found.get(name)
        if change is None:
            continue
        kept[row] = change.action != "remove"
        for column in columns:
            attributes[column][row] = change.attributes.get(column, attributes[column][row])
        if change.digest:
            vectors[row], marks[row] = embedder.vectors([change.digest])[0], change.digest
    whole = TableChunk(chunk.ids, vectors, attributes)
    return whole.select(kept), [mark for mark, keep in zip(marks, kept, strict=True) if keep]


def _added(page: Sequence[Change], embedder: PictureEmbedder, columns: Sequence[str]) -> Part:
    digests = [change.digest or UNKNOWN_PICTURE for change in page]
    attributes = {name: np.array([change.attributes.get(name, "") for change in page], object) for name in columns}
    ids = np.array([change.id for change in page], object)
    return TableChunk(ids, embedder.vectors(digests), attributes), digests
