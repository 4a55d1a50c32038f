"""Which attributes of items an export answers with, and which it filters by."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from export.table_rows import column_names
from serving.contract import ATTRIBUTE_NAMES_TAKEN, FILTER_SEPARATOR
from trainer.data.items import ID, IMAGE_PATH, LABEL, SOURCE_PATH, SPLIT
from trainer.errors import InputError

__all__ = ["LONGEST_TEXT", "MOST_VALUES", "choose_attributes"]

LONGEST_TEXT = 200
"""Characters; a longer text is a description, which belongs into the shop's own database."""
MOST_VALUES = 1000
"""Distinct values of an attribute that is filtered by, unless the configuration names it."""

# What the trainer adds to the source's attributes, and means nothing to who asks.
_OURS = (ID, "vector", IMAGE_PATH, SOURCE_PATH, "predicted_label", "confidence")
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_log = logging.getLogger(__name__)


def choose_attributes(
    path: Path, attributes: Sequence[str] | None, filterable: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Settles `attributes` and `filterable` of a configuration for the table at hand, which is read once, by columns.

    Args:
        path: the embedding table as Parquet, as `python -m trainer evaluate` wrote it.
        attributes: as configured; None for the label, the split, and all of the source's that are short text.
        filterable: as configured; None for those of them with few distinct values.

    Returns:
        Attributes, and those among them to filter by.

    Raises:
        InputError: a configured attribute is not in the table, or cannot be an attribute or a filter.
    """
    columns = [name for name in column_names(path) if name not in (ID, "vector")]
    for key, names in (("attributes", attributes), ("filterable", filterable)):
        missing = [name for name in names or () if name not in columns]
        if missing:
            raise InputError(f"{key}: expected some of {', '.join(columns)}, received {missing[0]!r}")
    for name in attributes or ():
        if not _can_be_named(name):
            taken = ", ".join(sorted(ATTRIBUTE_NAMES_TAKEN))
            raise InputError(
                f"attributes: expected names of letters, digits and _, but none of {taken}; received {name!r}; "
                "rename the column"
            )
    chosen, few = [], []
    for name in attributes if attributes is not None else _by_default(columns):
        longest, distinct, separated = _measure(path, name)
        if attributes is None and name not in (LABEL, SPLIT, *(filterable or ())) and longest > LONGEST_TEXT:
            _log.info("attribute %s is left out: up to %d characters long", name, longest)
            continue
        chosen.append(name)
        if filterable is not None and name in filterable and separated:
            raise InputError(f"filterable: expected values without line feeds, {name} has one; leave it out")
        if distinct <= MOST_VALUES and not separated:
            few.append(name)
    if filterable is not None:
        missing = [name for name in filterable if name not in chosen]
        if missing:
            raise InputError(
                f"filterable: expected some of the attributes {', '.join(chosen)}, received {missing[0]!r}"
            )
    return tuple(chosen), tuple(few if filterable is None else filterable)


def _by_default(columns: Sequence[str]) -> list[str]:
    chosen = []
    for name in columns:
        if name in _OURS:
            continue
        if _can_be_named(name):
            chosen.append(name)
        else:
            _log.warning("attribute %r is left out: its name cannot be that of an output", name)
    return chosen


def _can_be_named(name: str) -> bool:
    return _NAME.match(name) is not None and name not in ATTRIBUTE_NAMES_TAKEN


def _measure(path: Path, name: str) -> tuple[int, int, bool]:
    """The longest text of a column, its number of distinct values up to one more than `MOST_VALUES`, and whether one
    holds the separator of filters."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    longest, distinct, separated = 0, pa.array([], pa.string()), False
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(columns=[name]):
            values = pc.unique(batch.column(0).cast(pa.string()).fill_null(""))
            longest = max(longest, pc.max(pc.utf8_length(values)).as_py() or 0)
            separated = separated or bool(pc.any(pc.match_substring(values, FILTER_SEPARATOR)).as_py())
            if len(distinct) <= MOST_VALUES:
                distinct = pc.unique(pa.concat_arrays([distinct, values]))
    return longest, len(distinct), separated
