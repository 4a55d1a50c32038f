"""How training went, epoch by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from trainer.errors import InputError
from trainer.plots.style import MUTED, PALETTE, canvas, shortened

__all__ = ["plot_training_curves"]

_PANELS = (("loss", "loss"), ("accuracy", "accuracy"), ("learning_rate", "learning rate"))


def plot_training_curves(histories: Mapping[str, str | os.PathLike[str]], path: str | os.PathLike[str]) -> Path:
    """Loss, accuracy and learning rate over epochs: training dashed, validation solid, stages divided by lines.

    Args:
        histories: name of a run to its `history.csv`, with some of the columns `epoch`, `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, `learning_rate` and `stage`, a row an epoch. A panel whose columns no run has is left out.
            Epochs are counted through where a stage starts from the first again.
        path: the PNG to write.

    Returns:
        The path.

    Raises:
        InputError: no run is given, or a file is missing, not a CSV, empty, or has none of the columns.
    """
    if not histories:
        raise InputError("expected at least one history.csv to plot, received none; train a model first")
    runs = {name: _read(file) for name, file in histories.items()}
    panels = [(column, title) for column, title in _PANELS if any(_has(run, column) for run in runs.values())]
    with canvas(path, 4.4 * len(panels), 3.8) as figure:
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (column, title) in zip(all_axes, panels, strict=True):
            for (name, run), colour in zip(runs.items(), _colours(len(runs)), strict=True):
                _draw(axes, run, column, name if len(runs) > 1 else "", colour)
            _dress(axes, title, max(run["epoch"].max() for run in runs.values()))
            if column == "learning_rate":
                _scale_rates(axes, runs)
            if len(runs) == 1:
                _mark_stages(axes, next(iter(runs.values())))
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    return Path(path)


def _read(file: str | os.PathLike[str]) -> pd.DataFrame:
    try:
        run = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected a training history (CSV) at {os.fspath(file)}, received: {str(error).splitlines()[0]}; "
            "train the model again or leave it out"
        ) from error
    if run.empty or not any(_has(run, column) for column, _ in _PANELS):
        raise InputError(
            f"expected epochs with a loss, an accuracy or a learning_rate in {os.fspath(file)}, "
            f"received {len(run)} rows of {list(run.columns)}; train the model again or leave it out"
        )
    return run.assign(epoch=_counted_through(run))


def _counted_through(run: pd.DataFrame) -> np.ndarray:
    """Epochs from 1, rising by what the file says, and by 1 where it starts again."""
    if "epoch" not in run.columns:
        return np.arange(1, len(run) + 1)
    steps = np.diff(run["epoch"].to_numpy(dtype=np.float64))
    return np.cumsum(np.concatenate([[1.0], np.where(steps > 0, steps, 1.0)]))


def _has(run: pd.DataFrame, column: str) -> bool:
    return any(name in run.columns and run[name].notna().any() for name in (column, f"val_{column}"))


def _colours(runs: int) -> list[str]:
    return [PALETTE[at % len(PALETTE)] for at in range(runs)]


def _draw(axes: Axes, run: pd.DataFrame, column: str, name: str, colour: str) -> None:
    prefix = f"{shortened(name)}, " if name else ""
    # A single epoch is a line without length: a dot shows it.
    marker = "o" if len(run) == 1 else None
    for source, kind, dashes in ((column, "training", "--"), (f"val_{column}", "validation", "-")):
        if source in run.columns and run[source].notna().any():
            style = "-" if column == "learning_rate" else dashes
            axes.plot(run["epoch"], run[source], style, color=colour, marker=marker, label=f"{prefix}{kind}")


def _dress(axes: Axes, title: str, last: float) -> None:
    axes.set_title(title, pad=16)
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(axis="y")


def _scale_rates(axes: Axes, runs: Mapping[str, pd.DataFrame]) -> None:
    """A logarithmic scale with plain numbers; a rate of 0, which has no place on it, leaves a gap."""
    rates = np.concatenate(
        [run["learning_rate"].to_numpy(np.float64) for run in runs.values() if _has(run, "learning_rate")]
    )
    if not (rates > 0).any():
        return
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    # Labels between powers of ten only where the rates span less than two of them.
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))


def _mark_stages(axes: Axes, run: pd.DataFrame) -> None:
    """A line before the first epoch of each stage and its name at the top; only where there are several."""
    if "stage" not in run.columns:
        return
    stages = run["stage"].astype(str)
    starts = run.index[stages != stages.shift()]
    if len(starts) < 2:
        return
    for start in starts:
        edge = run["epoch"][start] - 0.5
        if start != starts[0]:
            axes.axvline(edge, color=MUTED, linewidth=0.9)
        axes.annotate(
            shortened(stages[start], 16),
            (edge, 1),
            (1, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color="#606060",
        )
