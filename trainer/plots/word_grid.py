"""Questions in words and what they found, as pictures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from trainer.errors import InputError
from trainer.plots.picture_cell import show_picture
from trainer.plots.style import canvas, shortened, strip

__all__ = ["plot_word_grid"]

_WIDTH = 16


def plot_word_grid(examples: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], *, k: int = 8) -> Path:
    """A row a question: its words, then its nearest pictures with similarity and what they are, framed green and solid
    where that is all that was asked for, red and dashed where it is not.

    Args:
        examples: as `trainer.evaluation.word_examples` answers them, at least one.
        path: the PNG to write.
        k: how many of the nearest to show.

    Returns:
        The path.

    Raises:
        InputError: there are no examples, or a picture is missing or cannot be read.
    """
    columns = max((len(example["neighbours"][:k]) for example in examples), default=0)
    if not columns:
        raise InputError("expected at least one question in words with a neighbour, received none; run evaluate again")
    with canvas(path, 1.15 * (1 + columns) + 0.5, 1.6 * len(examples) + 0.5, dpi=120) as figure:
        grid = figure.subplots(len(examples), 1 + columns, squeeze=False)
        for line, example in zip(grid, examples, strict=True):
            _say(line[0], f"{example['kind']}:", str(example["text"]))
            for axes, found in zip(line[1:], example["neighbours"], strict=False):
                what = [shortened(str(value) or "-", _WIDTH) for value in found["values"].values()]
                title = "\n".join([f"{found['score']:.3f}", *what])
                show_picture(axes, str(found["image_path"]), title, bool(found["right"]))
            for axes in line[1 + len(example["neighbours"]) :]:
                axes.set_visible(False)
        figure.suptitle("words, then their nearest: similarity and values; green solid is all of it, red dashed is not")
    return Path(path)


def _say(axes: Axes, kind: str, text: str) -> None:
    strip(axes)
    words = textwrap.wrap(shortened(text, 5 * _WIDTH), _WIDTH)
    axes.text(0.5, 0.5, "\n".join([kind, *words]), ha="center", va="center", fontsize=8, transform=axes.transAxes)
