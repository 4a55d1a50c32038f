"""The look that all plots share, and the canvas they are drawn on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainer.files import atomic_path

__all__ = ["MARKERS", "MUTED", "PALETTE", "RIGHT", "SPLIT_COLOURS", "WRONG", "canvas", "shortened", "strip"]

# Okabe and Ito's palette, which stays apart under the common kinds of colour blindness. Its yellow is too faint for
# points on white and is left out; the last three are added and told apart from the others by lightness. Where points
# are drawn each colour has its own marker as well.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#7F5F00", "#5B2A86", "#B5BD00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
MUTED = "#B0B0B0"
RIGHT = "#009E73"
WRONG = "#CC3311"
SPLIT_COLOURS = {"train": "#0072B2", "validation": "#E69F00", "test": "#009E73"}

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#606060",
    "axes.grid": False,
    "axes.labelcolor": "#303030",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "figure.titlesize": 12,
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a label such as "$20 shirts" is text, not a formula
    "xtick.color": "#606060",
    "xtick.labelcolor": "#303030",
    "ytick.color": "#606060",
    "ytick.labelcolor": "#303030",
}


@contextlib.contextmanager
def canvas(path: str | os.PathLike[str], width: float, height: float, dpi: int = 140) -> Iterator[Figure]:
    """Yields a figure in our style; when the block ends well it is written to `path` as PNG.

    The figure draws with Agg and is not registered with pyplot: it works without a display, in any thread, and nothing
    stays behind to close.

    Args:
        path: the PNG to write, in one step.
        width: inches.
        height: inches.
        dpi: pixels per inch.

    Raises:
        InputError: the file cannot be written.
    """
    with matplotlib.rc_context(rc=_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(Path(path)) as aside:
            figure.savefig(aside, format="png", dpi=dpi)
        figure.clear()


def shortened(text: str, length: int = 24) -> str:
    """The text, cut with an ellipsis past `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def strip(axes: Axes) -> None:
    """Takes frame and ticks off axes that carry no scale."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
