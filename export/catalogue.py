"""The catalogue beside a lookup: its rows, and which picture each vector was made of, so that it can be changed.

A SavedModel's variables are laid out for answering, and may be rounded; so a lookup's version also holds, in
`assets.extra`, `table.parquet` (ids, vectors in float32, attributes: see `TableRows`) and `table_pictures.bin` (of each
row the SHA-256 of its picture file, 32 bytes, in the same order; zeros where it is not known).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.table_rows import TableChunk, TableRows
from serving.contract import ASSETS_EXTRA
from trainer.data.items import ID
from trainer.errors import InputError
from trainer.files import atomic_path
from trainer.retrieval.table import VECTOR

__all__ = ["PICTURES_FILE", "TABLE_FILE", "UNKNOWN_PICTURE", "Catalogue", "Part", "read_catalogue", "write_catalogue"]

TABLE_FILE = f"{ASSETS_EXTRA}/table.parquet"
PICTURES_FILE = f"{ASSETS_EXTRA}/table_pictures.bin"
UNKNOWN_PICTURE = bytes(32)
_DIGEST = len(UNKNOWN_PICTURE)

Part = tuple[TableChunk, Sequence[bytes]]
"""Some rows, and of each the SHA-256 of its picture."""


@dataclass(frozen=True)
class Catalogue:
    """A table that can be changed: read again and again, chunk by chunk.

    Attributes:
        rows: ids, vectors, and all attributes, served or not.
        pictures: file of the pictures' digests; need not be there.
    """

    rows: TableRows
    pictures: Path

    def parts(self) -> Iterator[Part]:
        """Chunks of rows with the digests of their pictures.

        Raises:
            InputError: the digests are not those of these rows.
        """
        if not self.pictures.is_file():
            for chunk in self.rows.chunks():
                yield chunk, [UNKNOWN_PICTURE] * len(chunk)
            return
        if self.pictures.stat().st_size != self.rows.count * _DIGEST:
            raise InputError(
                f"{self.pictures}: expected {_DIGEST} bytes for each of {self.rows.count} rows, received "
                f"{self.pictures.stat().st_size}; the version is damaged: roll back or export again"
            )
        with self.pictures.open("rb") as stream:
            for chunk in self.rows.chunks():
                yield chunk, [stream.read(_DIGEST) for _ in range(len(chunk))]


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue beside a lookup.

    Args:
        folder: of an exported lookup's version.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / TABLE_FILE
    if not path.is_file():
        raise InputError(
            f"expected {path}, from which a table is changed; there is none. Give the whole table with --catalogue, or "
            "export the run again"
        )
    try:
        names = [name for name in pq.read_schema(path).names if name not in (ID, VECTOR)]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]}); export the run again") from error
    return Catalogue(TableRows.from_parquet(path, names), folder / PICTURES_FILE)


def write_catalogue(folder: Path, rows: TableRows, pictures: Mapping[str, str] | None = None) -> None:
    """Writes the catalogue of a run beside its lookup.

    Args:
        folder: of the lookup's version.
        rows: of the table; attributes that are not served may be among them.
        pictures: id to SHA-256 of the picture file in hexadecimal digits; pictures of other ids are taken as unknown,
            and are embedded again when their items are next given.
    """
    known = pictures or {}

    def parts() -> Iterator[Part]:
        for chunk in rows.chunks():
            yield chunk, [bytes.fromhex(known.get(name, "")) or UNKNOWN_PICTURE for name in chunk.ids]

    write_parts(folder, rows.count, rows.dimension, rows.attribute_names, parts)


def write_parts(
    folder: Path, count: int, dimension: int, attributes: Sequence[str], parts: Callable[[], Iterator[Part]]
) -> None:
    """Writes a catalogue that is made while it is written, part by part; both files in one step each.

    Args:
        folder: below which `assets.extra` is made.
        count: of rows.
        dimension: of vectors.
        attributes: names of those that every part has.
        parts: begins the one pass over the rows.
    """
    with atomic_path(folder / PICTURES_FILE) as aside, aside.open("wb") as stream:

        def chunks() -> Iterator[TableChunk]:
            for chunk, digests in parts():
                stream.write(b"".join(digests))
                yield chunk

        TableRows(count, dimension, attributes, chunks).write_parquet(folder / TABLE_FILE)
