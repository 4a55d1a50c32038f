"""What the page knows of the shop's items beside what a search answers: pictures, titles, values to filter by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.commands.errors import CommandError
from serving.web.picture_root import PictureRoot

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPLIT", "Catalogue"]

ID, IMAGE_PATH, LABEL = "id", "image_path", "label"
SPLIT = "split"
TEST = "test"
TITLES = ("productDisplayName", "title", "name")
_MOST_VALUES = 200
_MOST_FILES = 100_000


class Catalogue:
    """Items by their ids.

    Args:
        root: pictures are shown from it alone.
        items: `items.parquet` with columns `id` and `image_path`, of which the latter may be relative to its folder;
            without it an item's picture is `ROOT/ID.jpg` or alike. Needs pyarrow.
        title: column or attribute that names a product; by default the first of `TITLES` that there is.

    Raises:
        CommandError: the root is no folder, pyarrow is missing, or the file is no such table.
    """

    def __init__(self, root: Path, items: Path | None = None, title: str | None = None) -> None:
        if not root.is_dir():
            raise CommandError(f"expected --pictures as a folder of pictures, received {root}")
        self.root = PictureRoot(root)
        self._titles = TITLES if title is None else (title,)
        self._table: Any = None if items is None else _read(items)
        self._base = root if items is None else items.parent
        self._rows: dict[str, int] = {}
        if self._table is not None:
            self._rows = {str(name): row for row, name in enumerate(self._table[ID].to_pylist())}
            if title is not None and title not in self._table.column_names:
                known = ", ".join(self._table.column_names)
                raise CommandError(f"expected --title as a column of {items}: {known}; received {title}")

    def picture(self, name: str) -> Path | None:
        """The picture of an item, or of a path below the root; None where there is none to be shown."""
        row = self._rows.get(name)
        if row is None:
            return self.root.find(name)
        path = self._table[IMAGE_PATH][row].as_py()
        return self.root.admit(self._base / path) if path else None  # an absolute path stays what it is

    def title(self, name: str, attributes: Mapping[str, str]) -> str:
        """What a product is called, of what a search answered or of the items; its id where neither tells."""
        return next((found for each in self._titles if (found := self._value(name, each, attributes))), name)

    def label(self, name: str, attributes: Mapping[str, str]) -> str:
        """What kind of product it is; empty where it is not known."""
        return self._value(name, LABEL, attributes)

    def is_title(self, name: str) -> bool:
        """Whether a column or attribute names products."""
        return name in self._titles

    def values(self, name: str) -> list[str]:
        """Values of a column, the most frequent first; empty without items, or where it has nothing but strays."""
        return list(self._frequent.get(name, ()))

    def examples(self, count: int) -> list[str]:
        """Ids of items to try, of different labels by turns; those of the test split where it is known."""
        chosen: list[str] = []
        for name in self._by_turns() if self._table is not None else iter(_evenly(self.root.names(_MOST_FILES), count)):
            if len(chosen) == count:
                break
            if self.picture(name) is not None:
                chosen.append(name)
        return chosen

    def _value(self, name: str, column: str, attributes: Mapping[str, str]) -> str:
        if attributes.get(column):
            return attributes[column]
        row = self._rows.get(name)
        if row is None or column not in self._table.column_names:
            return ""
        value = self._table[column][row].as_py()
        return "" if value is None else str(value)

    @cached_property
    def _frequent(self) -> dict[str, list[str]]:
        import pyarrow as pa

        found = {}
        for name in self._table.column_names if self._table is not None else ():
            column = self._table[name]
            if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                continue
            counts = sorted(column.value_counts().to_pylist(), key=lambda each: (-each["counts"], str(each["values"])))
            values = [each["values"] for each in counts if each["values"]]
            if len(values) <= max(_MOST_VALUES, len(self._rows) // 10):
                found[name] = values[:_MOST_VALUES]
        return found

    def _by_turns(self) -> Iterator[str]:
        """Ids, one of every label, then the next of every label."""
        table = self._table
        split = table[SPLIT].to_pylist() if SPLIT in table.column_names else []
        rows = [row for row, value in enumerate(split) if value == TEST] or list(range(table.num_rows))
        labels = table[LABEL].to_pylist() if LABEL in table.column_names else [""] * table.num_rows
        queues: dict[str, list[int]] = {}
        for row in rows:
            queues.setdefault(str(labels[row]), []).append(row)
        for place in range(max(map(len, queues.values()), default=0)):
            for label in sorted(queues):
                if place < len(queues[label]):
                    yield str(table[ID][queues[label][place]].as_py())


def _read(items: Path) -> pa.Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise CommandError("expected pyarrow to read --items, it is missing; pip install 'shoppin[web]'") from error
    try:
        table = pq.read_table(items)
    except (pa.ArrowException, OSError) as error:
        raise CommandError(f"expected --items as an items.parquet, {items} cannot be read: {error}") from error
    if not {ID, IMAGE_PATH} <= set(table.column_names):
        raise CommandError(f"expected {items} with columns {ID} and {IMAGE_PATH}, received {table.column_names}")
    return table


def _evenly(names: list[str], count: int) -> list[str]:
    return [names[place * len(names) // count] for place in range(min(count, len(names)))] if count else []
