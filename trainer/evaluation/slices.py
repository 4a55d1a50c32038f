"""Where a model is good and where it is not: by class, and by the values of attributes."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np

from trainer.config import Config
from trainer.data.items import LABEL
from trainer.errors import InputError
from trainer.evaluation.analyses import Evaluated
from trainer.evaluation.classification import right_predictions
from trainer.evaluation.intervals import bootstrap_intervals
from trainer.retrieval import EmbeddingTable

__all__ = ["FEWEST", "MISSING", "OTHER", "per_class", "sliced_attributes", "slices"]

FEWEST = 10
"""A value that fewer queries have is too rare to be measured alone."""

OTHER = "(other)"
MISSING = "(none)"


def per_class(evaluated: Evaluated) -> list[dict[str, Any]]:
    """A row a class, alphabetically: `label`, `queries`, `queries_without_match`, `accuracy`, and the mean of every
    metric over the queries of the class; None where none of them counts."""
    rows = evaluated.measured.per_class()
    right = right_predictions(evaluated.queries)
    if right is None:
        return rows
    labels, codes = np.unique(evaluated.queries.labels, return_inverse=True)
    means = np.bincount(codes, weights=right) / np.bincount(codes)
    accuracy = dict(zip(labels.tolist(), means.tolist(), strict=True))
    return [{LABEL: row[LABEL], "queries": row["queries"], "accuracy": accuracy[row[LABEL]], **row} for row in rows]


def slices(evaluated: Evaluated) -> list[dict[str, Any]] | None:
    """A row for every value of the attributes that the configuration names, the most frequent value first.

    The gallery stays whole: a slice chooses queries, not what they may find. Values that fewer than `FEWEST` queries
    have are measured together as `OTHER`, and `values` tells how many of them there are; queries without a value are
    `MISSING`.

    Returns:
        Rows of `attribute`, `value`, `queries`, `queries_without_match`, `accuracy`, the mean of every metric, and
        `intervals`, its 95 % intervals; None where `evaluate.slices` is empty and `relevance` names only the label.

    Raises:
        InputError: the items do not have such an attribute.
    """
    names = sliced_attributes(evaluated.config, evaluated.queries)
    return [row for name in names for row in _rows(evaluated, name)] or None


def sliced_attributes(config: Config, table: EmbeddingTable) -> tuple[str, ...]:
    """By which attributes `slices` goes: those of `evaluate.slices`, or else of `relevance`, the label aside.

    Raises:
        InputError: the table does not have one of them.
    """
    for name in config.evaluate.slices:
        if name not in table.attributes:
            close = get_close_matches(name, table.attributes, n=1)
            known = f"did you mean {close[0]}?" if close else f"they have {', '.join(sorted(table.attributes))}"
            raise InputError(f"evaluate.slices: expected attributes of the items, received {name!r}; {known}")
    return config.evaluate.slices or tuple(name for name in config.relevance if name != LABEL)


def _rows(evaluated: Evaluated, name: str) -> list[dict[str, Any]]:
    shown = _shown(evaluated.queries, name)
    values, counts = np.unique(shown, return_counts=True)
    rare = values[counts < FEWEST]
    frequent = values[counts >= FEWEST][np.argsort(-counts[counts >= FEWEST], kind="stable")]
    rows = [_row(evaluated, name, str(value), shown == value) for value in frequent]
    if rare.size:
        rows.append({**_row(evaluated, name, OTHER, np.isin(shown, rare)), "values": int(rare.size)})
    return rows


def _row(evaluated: Evaluated, name: str, value: str, mask: np.ndarray) -> dict[str, Any]:
    measured = evaluated.measured.select(mask)
    means = measured.means()
    row: dict[str, Any] = {"attribute": name, "value": value, "queries": means.pop("queries")}
    values = dict(measured.values)
    right = right_predictions(evaluated.queries)
    if right is not None:
        values = {"accuracy": right[mask], **values}
        row["accuracy"] = float(right[mask].mean())
    row |= means
    if evaluated.config.evaluate.resamples:
        row["intervals"] = bootstrap_intervals(values, resamples=evaluated.config.evaluate.resamples)
    return row


def _shown(queries: EmbeddingTable, name: str) -> np.ndarray:
    """`[Q]` strings: the attribute as it is shown."""
    values, codes = np.unique(queries.attributes[name], return_inverse=True)
    return np.array([_text(value) for value in values.tolist()], dtype=np.str_)[codes]


def _text(value: str | bool | float) -> str:
    if isinstance(value, float):
        return MISSING if np.isnan(value) else f"{value:.12g}"
    return str(value) or MISSING
