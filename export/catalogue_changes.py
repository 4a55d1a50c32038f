"""What CSV files ask to be changed in a catalogue, kept in a small database on disk while it is carried out."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from export.table_rows import TableRows
from trainer.data.items import ID, IMAGE_PATH
from trainer.errors import InputError
from trainer.retrieval.table import VECTOR

__all__ = ["Action", "CatalogueChanges", "Change"]

Action = Literal["add", "replace", "remove"]

_CHUNK = 4096
_MOST_VARIABLES = 30_000  # SQLite takes some more in one statement
_LONGEST_FIELD = 2**24
_SCHEMA = """
CREATE TABLE present (id TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, action TEXT NOT NULL, line INTEGER NOT NULL,
    path TEXT NOT NULL, attributes TEXT NOT NULL, digest BLOB NOT NULL DEFAULT x'', reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX by_action ON changes (action, place);
"""
_COLUMNS = "place, id, action, path, attributes, digest, reason"


@dataclass(frozen=True)
class Change:
    """One item to add, replace or remove.

    Attributes:
        place: its number among all changes.
        id: of the item.
        action: what is to be done.
        path: of the picture; empty where the present one is kept, and of what is removed.
        attributes: those that were given.
        digest: SHA-256 of the picture file, once it is embedded; else empty.
        reason: why the picture cannot be used; then the item is not added, or stays as it is.
    """

    place: int
    id: str
    action: Action
    path: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    digest: bytes = b""
    reason: str = ""


class CatalogueChanges:
    """The changes of one command; on disk, so memory does not grow with them.

    Args:
        path: of the database; what is there is removed, since nothing in it outlives a command.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._database = sqlite3.connect(path)
        # Nobody reads it after a crash, so there is no need to wait for the disk.
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)
        self._files: dict[Action, Path] = {}
        self.columns: dict[Action, tuple[str, ...]] = {}

    def close(self) -> None:
        """Ends the use of the database."""
        self._database.close()

    def note_present(self, rows: TableRows) -> None:
        """Takes down the ids that the catalogue has now."""
        for chunk in rows.chunks():
            self._database.executemany(
                "INSERT INTO present VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1",
                ((name,) for name in chunk.ids),
            )

    def read(self, action: Action, path: Path, pictures: Path | None) -> None:
        """Takes down what a CSV asks for.

        Args:
            action: what it asks for.
            path: UTF-8 with a header line: the column `id`; `image_path`, which may be left out or empty for `replace`;
                further columns are attributes. Of `remove` only the ids are read.
            pictures: folder that the picture's paths are relative to; None for the CSV's.

        Raises:
            InputError: the file cannot be read, a line is not whole, or an id is there twice.
        """
        self._files[action] = path
        root = (path.parent if pictures is None else pictures).absolute()
        names, lines = _read_csv(path)
        needed = [ID, IMAGE_PATH] if action == "add" else [ID]
        missing = [name for name in needed if name not in names]
        if missing:
            raise InputError(f"{path}: expected the columns {', '.join(needed)}, received {', '.join(names)}")
        if VECTOR in names and action != "remove":
            raise InputError(f"{path}: expected no column {VECTOR}, which is where embeddings are kept; rename it")
        attributes = () if action == "remove" else tuple(name for name in names if name not in (ID, IMAGE_PATH))
        self.columns[action] = attributes
        for line, fields in lines:
            row = dict(zip(names, fields, strict=True))
            name, picture = row[ID].strip(), "" if action == "remove" else row.get(IMAGE_PATH, "").strip()
            if not name or (action == "add" and not picture):
                raise InputError(f"{path}, line {line}: expected an {ID if not name else IMAGE_PATH}, received none")
            place = os.path.join(root, picture) if picture else ""
            given = json.dumps({key: row[key].strip() for key in attributes}, ensure_ascii=False)
            try:
                self._database.execute(
                    "INSERT INTO changes (id, action, line, path, attributes) VALUES (?, ?, ?, ?, ?)",
                    (name, action, line, place, given),
                )
            except sqlite3.IntegrityError as error:
                former = self._one("SELECT action, line FROM changes WHERE id = ?", name)
                raise InputError(
                    f"{path}, line {line}: expected every id once, received {name!r} again, which is in line "
                    f"{former[1]} of {self._files[former[0]]}; drop one of them"
                ) from error
            except UnicodeEncodeError as error:
                raise InputError(f"{path}, line {line}: expected text, received what is none; mend it") from error

    def check(self) -> None:
        """Holds the changes against the ids that are there.

        Raises:
            InputError: an id to add is there already, or one to replace or to remove is not.
        """
        advice = {
            "add": "expected ids that the catalogue does not have, it has {}; give those with --replace",
            "replace": "expected ids of the catalogue, it lacks {}; give those with --add",
            "remove": "expected ids of the catalogue, it lacks {}; leave those out",
        }
        for action in get_args(Action):
            there = "" if action == "add" else "NOT "
            wrong = f"FROM changes WHERE action = ? AND id {there}IN (SELECT id FROM present)"  # noqa: S608 (ours)
            count = self._one(f"SELECT count(*) {wrong}", action)[0]
            if count:
                example, line = self._one(f"SELECT id, line {wrong} ORDER BY place LIMIT 1", action)
                said = advice[action].format(f"{count} of them, such as {example!r} in line {line}")
                raise InputError(f"--{action} {self._files[action]}: {said}")

    def with_pictures(self, size: int) -> Iterator[list[Change]]:
        """All changes that have a picture, in order, some at a time; `settle` may be called between."""
        return self._pages("path != ''", size)

    def settle(self, outcomes: Mapping[int, tuple[bytes, str]]) -> None:
        """Takes down of changes, by their place, the digests of the pictures and the reasons against them."""
        self._database.executemany(
            "UPDATE changes SET digest = ?, reason = ? WHERE place = ?",
            ((digest, reason, place) for place, (digest, reason) in outcomes.items()),
        )

    def rejected(self) -> Iterator[Change]:
        """Changes whose picture cannot be used."""
        return (change for page in self._pages("reason != ''", _CHUNK) for change in page)

    def added(self) -> Iterator[list[Change]]:
        """What is to be added, in order, some at a time, without the rejected."""
        return self._pages("action = 'add' AND reason = ''", _CHUNK)

    def of(self, ids: Sequence[str]) -> dict[str, Change]:
        """Changes of some of the items that are there, by id, without the rejected."""
        found: dict[str, Change] = {}
        for start in range(0, len(ids), _MOST_VARIABLES):
            part = list(ids[start : start + _MOST_VARIABLES])
            marks = ",".join("?" * len(part))
            query = f"SELECT {_COLUMNS} FROM changes WHERE reason = '' AND id IN ({marks})"  # noqa: S608
            found |= {row[1]: _change(row) for row in self._database.execute(query, part)}
        return found

    def count_pictures(self) -> int:
        """How many changes have a picture."""
        return int(self._one("SELECT count(*) FROM changes WHERE path != ''")[0])

    def counts(self) -> dict[str, int]:
        """How many changes of each kind are to be done, without the rejected."""
        rows = self._database.execute("SELECT action, count(*) FROM changes WHERE reason = '' GROUP BY action")
        return dict.fromkeys(get_args(Action), 0) | dict(rows.fetchall())

    def reasons(self) -> dict[str, int]:
        """How many pictures are rejected for each reason, the most frequent first."""
        query = "SELECT reason, count(*) AS n FROM changes WHERE reason != '' GROUP BY reason ORDER BY n DESC, reason"
        return dict(self._database.execute(query).fetchall())

    def count_after(self) -> int:
        """How many rows the changed catalogue will have."""
        removed = "id NOT IN (SELECT id FROM changes WHERE action = 'remove')"
        kept = self._one(f"SELECT coalesce(sum(count), 0) FROM present WHERE {removed}")[0]  # noqa: S608
        return int(kept) + self.counts()["add"]

    def _one(self, query: str, *values: object) -> tuple:  # type: ignore[type-arg]
        return self._database.execute(query, values).fetchone()  # type: ignore[no-any-return]

    def _pages(self, condition: str, size: int) -> Iterator[list[Change]]:
        last = -1
        query = f"SELECT {_COLUMNS} FROM changes WHERE place > ? AND {condition} ORDER BY place LIMIT ?"  # noqa: S608
        while page := [_change(row) for row in self._database.execute(query, (last, size)).fetchall()]:
            yield page
            last = page[-1].place


def _change(row: Sequence[object]) -> Change:
    place, name, action, path, attributes, digest, reason = row
    return Change(place, name, action, path, json.loads(attributes), digest, reason)  # type: ignore[arg-type]


def _read_csv(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Names of the columns, and the lines below with their numbers; all of them whole."""
    lines = _lines(path)
    _, header = next(lines, (1, []))
    names = [name.strip() for name in header]
    if not names or "" in names or len(set(names)) < len(names):
        raise InputError(f"{path}: expected a header line with names that differ, received {','.join(header)!r}")

    def whole() -> Iterator[tuple[int, list[str]]]:
        for number, fields in lines:
            if len(fields) != len(names):
                raise InputError(
                    f"{path}, line {number}: expected {len(names)} fields as in the header, received {len(fields)}; "
                    "put a field with a comma in quotation marks"
                )
            yield number, fields

    return names, whole()


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from ((reader.line_num, fields) for fields in reader if fields)
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected UTF-8 text in {path}, received byte 0x{error.object[error.start]:02x} that is none; "
            f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name}"
        ) from error
    except csv.Error as error:
        raise InputError(f"expected a CSV in {path}: {error}; mend the file") from error
    except OSError as error:
        raise InputError(f"expected a readable CSV at {path}: {error.strerror or error}") from error
