"""How many pictures carry each value of a column, by split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.items import LABEL, SPLIT, SPLITS
from trainer.errors import InputError
from trainer.plots.style import MUTED, PALETTE, SPLIT_COLOURS, canvas, shortened

__all__ = ["plot_distribution"]


def plot_distribution(items: pd.DataFrame, path: str | os.PathLike[str], *, column: str = LABEL, top: int = 20) -> Path:
    """Bars of how many items carry each value of a column, one colour a split where the items have splits.

    Args:
        items: the items table, or any with `column`; `split` is used when there.
        path: the PNG to write.
        column: which attribute to count, by default the label. A missing value counts as "(none)".
        top: how many values to show, the most frequent ones; the rest is one bar, "other".

    Returns:
        The path.

    Raises:
        InputError: there is no such column, or there are no items.
    """
    if column not in items.columns:
        raise InputError(f"expected a column among {sorted(items.columns)}, received {column!r}; choose one of them")
    if items.empty:
        raise InputError("expected at least one item to plot, received none")
    counts, hidden = _counts(items, column, top)
    names = [shortened(str(name), 32) for name in counts.index]
    with canvas(path, 8, 1.4 + 0.24 * len(counts)) as figure:
        axes = figure.subplots()
        places = np.arange(len(counts))
        left = np.zeros(len(counts))
        for at, split in enumerate(counts.columns):
            colour = SPLIT_COLOURS.get(str(split), PALETTE[at % len(PALETTE)])
            axes.barh(places, counts[split], left=left, height=0.72, color=colour, label=str(split))
            left += counts[split].to_numpy()
        for place, total in zip(places, left, strict=True):
            axes.annotate(
                f"{int(total):,}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.set_yticks(places, names)
        if hidden:
            axes.get_yticklabels()[-1].set_fontstyle("italic")
            axes.axhline(len(counts) - 1.5, color=MUTED, linewidth=0.8)
        axes.set_ylim(len(counts) - 0.4, -0.6)
        axes.set_xlim(0, left.max() * 1.12)
        axes.set_xlabel("pictures")
        axes.tick_params(axis="y", length=0)
        values = len(counts) - 1 + hidden if hidden else len(counts)
        axes.set_title(f"{column}: {values:,} values in {len(items):,} pictures")
        if len(counts.columns) > 1:
            figure.legend(loc="outside upper right", ncols=min(len(counts.columns), 6))
    return Path(path)


def _counts(items: pd.DataFrame, column: str, top: int) -> tuple[pd.DataFrame, int]:
    """Values x splits, the most frequent value first, the rest summed up in the last row; and how many that rest is."""
    values = items[column].astype(object)
    values = values.where(values.notna() & (values != ""), "(none)").astype(str)
    splits = items[SPLIT].astype(str) if SPLIT in items.columns else pd.Series("pictures", index=items.index)
    table = pd.crosstab(values, splits)
    known = [split for split in SPLITS if split in table.columns]
    table = table[[*known, *(split for split in table.columns if split not in known)]]
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    hidden = len(table) - top
    if hidden <= 1:  # a bar "other" that stands for a single value hides its name for nothing
        return table, 0
    other = table.iloc[top:].sum().to_frame(f"other ({hidden} values)").T
    return pd.concat([table.iloc[:top], other]), hidden
