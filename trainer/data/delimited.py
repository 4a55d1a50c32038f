"""Reading CSV files as they are found: with or without a byte order mark, with lines that have a field too many."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from trainer.errors import InputError

__all__ = ["TextTable", "read_delimited"]

_ROWS_AT_ONCE = 50_000

Mend = Callable[[list[str], list[str]], list[str] | None]
_Record = tuple[int, list[str]]


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        frame: all columns text; a column without a name is left out.
        mended: numbers of the lines (the header is line 1) that `mend` put right.
        malformed: numbers of the lines with too few or too many fields; not in `frame`.
    """

    frame: pd.DataFrame
    mended: tuple[int, ...]
    malformed: tuple[int, ...]


def read_delimited(
    path: Path, *, separator: str = ",", mend: Mend | None = None, one_line_each: bool = False
) -> TextTable:
    """Reads a CSV with a header, all values as text.

    Args:
        path: a UTF-8 file, with or without a byte order mark.
        separator: one character.
        mend: gets the fields of a line with too many, and the names of the columns; answers as many fields as columns,
            or `None` when it cannot.
        one_line_each: each line of the file is a record, so that a stray quotation mark cannot swallow what follows;
            otherwise a quoted field may run over several lines.

    Returns:
        The table.

    Raises:
        InputError: the file is missing, not UTF-8, empty, or has no usable header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            records = _line_records(file, separator) if one_line_each else _records(file, separator)
            return _collect(records, path, mend)
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected UTF-8 text in {path}, received byte 0x{error.object[error.start]:02x} that is none; "
            f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name}"
        ) from error
    except csv.Error as error:
        raise InputError(f"expected a CSV separated by {separator!r} in {path}: {error}; mend the file") from error
    except OSError as error:
        raise InputError(f"expected a readable table at {path}: {error.strerror or error}; check data.root") from error


def _records(file: TextIO, separator: str) -> Iterator[_Record]:
    reader = csv.reader(file, delimiter=separator)
    for fields in reader:
        if fields:
            yield reader.line_num, fields


def _line_records(file: TextIO, separator: str) -> Iterator[_Record]:
    for number, line in enumerate(file, start=1):
        line = line.rstrip("\r\n")
        if line:
            yield number, next(csv.reader([line], delimiter=separator))


def _collect(records: Iterator[_Record], path: Path, mend: Mend | None) -> TextTable:
    names = _header(next(records, (1, []))[1], path)
    frames: list[pd.DataFrame] = []
    rows: list[list[str]] = []
    mended: list[int] = []
    malformed: list[int] = []
    for number, fields in records:
        if len(fields) != len(names):
            whole = mend(fields, names) if mend is not None and len(fields) > len(names) else None
            if whole is None:
                malformed.append(number)
                continue
            mended.append(number)
            fields = whole
        rows.append(fields)
        if len(rows) == _ROWS_AT_ONCE:
            frames.append(pd.DataFrame(rows, columns=names, dtype=str))
            rows = []
    frames.append(pd.DataFrame(rows, columns=names, dtype=str))
    frame = pd.concat(frames, ignore_index=True)
    return TextTable(frame[[name for name in names if name]], tuple(mended), tuple(malformed))


def _header(fields: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        raise InputError(f"expected a header line with the names of the columns in {path}, received none; add one")
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise InputError(f"expected column names that differ in {path}, received {repeated[0]!r} twice; rename one")
    return names
