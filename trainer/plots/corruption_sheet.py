"""One picture under all corruptions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.plots.style import canvas, shortened, strip

__all__ = ["plot_corruption_sheet"]


def plot_corruption_sheet(
    picture: np.ndarray,
    corrupted: Mapping[str, Sequence[tuple[str, np.ndarray | None]]],
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> Path:
    """A column a corruption, its strengths below one another; the clean picture first.

    Args:
        picture: uint8 `[H, W, 3]`, clean.
        corrupted: name of a corruption to its strengths in rising order: each with what it says of itself, and the
            picture, uint8 `[h, w, 3]`, or None where it does not apply to this picture.
        path: the PNG to write.
        title: of the sheet.

    Returns:
        The path.
    """
    rows = max(len(strengths) for strengths in corrupted.values())
    with canvas(path, 1.45 * (1 + len(corrupted)) + 0.2, 1.75 * rows + 0.5, dpi=120) as figure:
        grid = figure.subplots(rows, 1 + len(corrupted), squeeze=False)
        for axes in grid.flat:
            strip(axes)
        grid[0, 0].imshow(picture)
        grid[0, 0].set_title("as it is", fontsize=8, loc="center", pad=3)
        for column, (name, strengths) in enumerate(corrupted.items(), start=1):
            for axes, (setting, spoilt) in zip(grid[:, column], strengths, strict=False):
                axes.set_title(f"{name.replace('_', ' ')}\n{setting}", fontsize=8, loc="center", pad=3)
                if spoilt is None:
                    axes.text(0.5, 0.5, "does not apply", ha="center", va="center", transform=axes.transAxes)
                else:
                    axes.imshow(spoilt)
        figure.suptitle(shortened(title, 100))
    return Path(path)
