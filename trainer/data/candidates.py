"""What a source offers before anything is chosen or opened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from trainer.data.items import FIXED_COLUMNS, ID, IMAGE_PATH, LABEL, SOURCE_PATH, SPLIT
from trainer.errors import InputError

__all__ = ["CANDIDATE_COLUMNS", "Candidates", "as_text", "clean_rows", "pick_columns"]

CANDIDATE_COLUMNS = (ID, IMAGE_PATH, LABEL, SPLIT)


@dataclass(frozen=True)
class Candidates:
    """The rows of a source.

    Attributes:
        rows: `CANDIDATE_COLUMNS`, then the attributes, all text. `image_path` is absolute; `split` is empty where the
            source has none.
        mended: numbers of lines with a field too many that could be put right.
        malformed: numbers of lines that could not; they are not among `rows`.
        ignored_files: files that are no pictures by their name (`folder` only).
    """

    rows: pd.DataFrame
    mended: tuple[int, ...] = ()
    malformed: tuple[int, ...] = ()
    ignored_files: int = 0


def as_text(values: pd.Series) -> pd.Series:
    """Values as stripped text: nothing for a missing one, `7` for a whole number that pandas holds as `7.0`."""
    if pd.api.types.is_float_dtype(values.dtype):
        whole = values.dropna() % 1 == 0
        if bool(whole.all()):
            values = values.astype("Int64")
    missing = values.isna()
    return values.astype("object").where(~missing, "").astype(str).str.strip()


def pick_columns(
    table: pd.DataFrame,
    wanted: Mapping[str, str],
    *,
    where: str,
    keys: Mapping[str, str],
    attributes: Sequence[str] = (),
) -> pd.DataFrame:
    """Brings a table of text into the shape of candidate rows.

    Args:
        table: any columns.
        wanted: name of the item's column → name of the table's column.
        where: what to call the table in an error.
        keys: name of the item's column → configuration key that named the table's column, for errors.
        attributes: the table's columns to carry along; empty for all that `wanted` does not use.

    Returns:
        The wanted columns under the item's names (`split` empty unless wanted), then the attributes. An attribute whose
        name an item's column has already is called `source_<name>`.

    Raises:
        InputError: a column is not there.
    """
    named = [(keys[name], column) for name, column in wanted.items()]
    for key, column in [*named, *(("data.csv.attributes", column) for column in attributes)]:
        if column not in table.columns:
            raise InputError(_no_column(key, column, table.columns, where))
    carried = list(attributes) or [column for column in table.columns if column not in wanted.values()]
    columns = {name: table[column] for name, column in wanted.items()}
    if SPLIT not in columns:
        columns[SPLIT] = pd.Series("", index=table.index)
    columns = {name: columns[name] for name in CANDIDATE_COLUMNS}
    taken = {*FIXED_COLUMNS, SOURCE_PATH}
    for column in carried:
        columns[f"source_{column}" if column in taken else column] = table[column]
    return pd.DataFrame(columns)


def _no_column(key: str, column: str, there: Iterable[str], where: str) -> str:
    names = [str(name) for name in there]
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.0)
    nearest = f"; the nearest is {near[0]!r}" if near else ""
    return f"{key}: expected a column of {where}, received {column!r}; there are {', '.join(names)}{nearest}"


def clean_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drops rows that cannot be items, and counts them.

    Args:
        rows: candidate rows.

    Returns:
        The rows with an id of their own (the first of several) and a label, all text stripped, and the counts
        `empty_ids`, `duplicate_ids` and `empty_labels`.
    """
    rows = rows.apply(lambda column: column.str.strip())
    counts = {}
    empty = rows[ID] == ""
    counts["empty_ids"] = int(empty.sum())
    rows = rows[~empty]
    repeated = rows.duplicated(ID)
    counts["duplicate_ids"] = int(repeated.sum())
    rows = rows[~repeated]
    unlabelled = rows[LABEL] == ""
    counts["empty_labels"] = int(unlabelled.sum())
    return rows[~unlabelled].reset_index(drop=True), counts
