"""Which label is taken for which."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from trainer.evaluation.classification import ConfusionMatrix
from trainer.plots.style import canvas, shortened

__all__ = ["plot_confusion"]

ANNOTATED = 20


def plot_confusion(confusion: ConfusionMatrix, path: str | os.PathLike[str], *, top: int = 40) -> Path:
    """A matrix of shares: of the pictures of the row's class, how many were taken for the column's.

    Args:
        confusion: the counts, of C classes.
        path: the PNG to write.
        top: how many classes to show. Where there are more, the ones with the most mistakes are shown, made or
            suffered, and the title says so; shares are still those of all the class's pictures.

    Returns:
        The path.
    """
    counts = confusion.counts
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    chosen = _most_mistaken(counts, top)
    names = [shortened(str(name), 20) for name in confusion.classes[chosen]]
    shown = shares[np.ix_(chosen, chosen)]
    size = 2.6 + max(0.42 * min(len(chosen), ANNOTATED), 0.2 * len(chosen))
    with canvas(path, size + 0.8, size) as figure:
        axes = figure.subplots()
        image = axes.imshow(100 * shown, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), [f"{n} ({totals[c]:,})" for n, c in zip(names, chosen, strict=True)])
        axes.tick_params(length=0, labelsize=8 if len(chosen) <= ANNOTATED else 6.5)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (pictures)")
        for spine in axes.spines.values():
            spine.set_visible(False)
        if len(chosen) <= ANNOTATED:
            _annotate(axes, shown)
        figure.colorbar(image, ax=axes, shrink=0.6, label="% of the true class", aspect=30).outline.set_visible(False)
        right = int(np.trace(counts))
        some = "" if len(chosen) == len(totals) else f", the {len(chosen)} most mistaken of {len(totals)} classes"
        axes.set_title(f"{right:,} of {int(totals.sum()):,} right{some}")
    return Path(path)


def _most_mistaken(counts: np.ndarray, top: int) -> np.ndarray:
    """`[min(C, top)]` rows in their own order: the classes that took or gave the most wrong predictions."""
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    return np.sort(np.argsort(-wrong, kind="stable")[:top])


def _annotate(axes: Axes, shown: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(shown >= 0.005), strict=True):
        value = shown[row, column]
        text = f"{100 * value:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if value > 0.55 else "#303030")
