"""Which rows of a source become items."""

from __future__ import annotations

import difflib
import logging

import pandas as pd

from trainer.config import SampleConfig, SelectionConfig
from trainer.data.items import LABEL
from trainer.errors import InputError

__all__ = ["draw_sample", "drop_rare_labels", "keep_labels", "keep_most_frequent"]

_log = logging.getLogger(__name__)


def keep_labels(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """The rows of these labels; all rows where none are named.

    Raises:
        InputError: no row has one of the labels; names the nearest that is there.
    """
    if not labels:
        return rows
    there = set(rows[LABEL])
    for label in labels:
        if label not in there:
            near = difflib.get_close_matches(label, sorted(there), n=1, cutoff=0.0)
            nearest = f"the nearest is {near[0]!r}" if near else "there are no rows at all"
            raise InputError(
                f"data.selection.labels: expected labels of the catalogue, received {label!r}, which no selected row "
                f"has; {nearest}"
            )
    return rows[rows[LABEL].isin(labels)].reset_index(drop=True)


def keep_most_frequent(rows: pd.DataFrame, count: int | None) -> pd.DataFrame:
    """The rows of the `count` labels with most rows; of labels with as many, the first in the alphabet."""
    if count is None:
        return rows
    sizes = rows[LABEL].value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    return rows[rows[LABEL].isin(sizes.index[:count])]


def draw_sample(rows: pd.DataFrame, sample: SampleConfig) -> pd.DataFrame:
    """A random sample, overall or of each label, in the rows' order; all rows where `sample.n` is null."""
    if sample.n is None:
        return rows
    shuffled = rows.sample(frac=1.0, random_state=sample.random_state)
    drawn = shuffled.groupby(LABEL, sort=False).head(sample.n) if sample.per_label else shuffled.head(sample.n)
    return drawn.sort_index()


def drop_rare_labels(rows: pd.DataFrame, selection: SelectionConfig) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leaves out labels with fewer than `selection.min_per_label` rows.

    Args:
        rows: rows with a usable picture.
        selection: see `SelectionConfig`.

    Returns:
        The other rows, and the labels left out with their numbers of rows, the most frequent first.

    Raises:
        InputError: nothing is left.
    """
    sizes = rows[LABEL].value_counts()
    rare = sizes[sizes < selection.min_per_label]
    left_out = {str(label): int(size) for label, size in sorted(rare.items(), key=lambda item: (-item[1], item[0]))}
    asked_for = [label for label in left_out if label in selection.labels]
    if asked_for:
        _log.warning("left out though asked for, with too few usable pictures: %s", ", ".join(asked_for))
    kept = rows[~rows[LABEL].isin(rare.index)]
    if kept.empty:
        most = f"{sizes.index[0]!r} has most, {int(sizes.iloc[0])}" if len(sizes) else "there are none at all"
        raise InputError(
            f"expected a label with at least data.selection.min_per_label={selection.min_per_label} usable pictures; "
            f"{most}. Lower data.selection.min_per_label or select more rows"
        )
    return kept, left_out
