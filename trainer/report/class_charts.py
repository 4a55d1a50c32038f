"""Charts of classes: which is taken for which, and where their pictures lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from trainer.evaluation.classification import PREDICTED_LABEL, ConfusionMatrix, confusion_matrix
from trainer.evaluation.sampling import sample_rows
from trainer.plots.embedding_map import project, unit
from trainer.report.blocks import Chart
from trainer.report.charts import figure_of, label_text
from trainer.report.theme import OTHER, PALETTE, SYMBOLS, WRONG
from trainer.retrieval import EmbeddingTable

__all__ = ["MOST_CLASSES", "MOST_POINTS", "confusion_chart", "map_chart"]

MOST_POINTS = 800
"""Points of a map, since every one of them brings its picture."""

MOST_CLASSES = 40
"""Classes of a confusion matrix."""

_NUMBERED = 20


def confusion_chart(model: str, table: EmbeddingTable) -> Chart | None:
    """Shares of the row's pictures that were taken for the column; None for a table without predictions."""
    if PREDICTED_LABEL not in table.attributes:
        return None
    confusion = confusion_matrix(table.labels, table.attributes[PREDICTED_LABEL])
    chosen = _most_mistaken(confusion)
    size, every = len(chosen), len(confusion.classes)
    ticks = {
        "tickvals": [*range(size)],
        "ticktext": [label_text(str(name), 18) for name in confusion.classes[chosen]],
        "showgrid": False,
        "ticks": "",
    }
    right = f"{int(np.trace(confusion.counts)):,} of {int(confusion.counts.sum()):,} pictures are right."
    some = "" if size == every else f" The {size} most mistaken of {every} classes."
    return Chart(
        f"{model}-confusion",
        "Which class is taken for which",
        f"A matrix of {size} classes, true ones down and predicted ones across, in percent of the true class. {right} "
        "The findings list the most frequent confusions.",
        figure_of(
            [_confusion_trace(confusion, chosen)],
            xaxis={**ticks, "tickangle": -90, "title": "predicted"},
            yaxis={**ticks, "autorange": "reversed"},
        ),
        height=200 + (30 if size <= _NUMBERED else 18) * size,
        least_width=140 + (20 if size <= _NUMBERED else 16) * size,
        cells=True,
        note=f"Percent of the true class, down; predicted, across. {right}{some}",
    )


def _confusion_trace(confusion: ConfusionMatrix, chosen: np.ndarray) -> Any:
    """Cells with `customdata` of the true class, the predicted one, and how many pictures."""
    counts = confusion.counts[np.ix_(chosen, chosen)]
    totals = confusion.counts.sum(axis=1)[chosen]
    percent = 100 * counts / np.maximum(totals, 1)[:, None]
    names = [str(name) for name in confusion.classes[chosen]]
    cells = [
        [[of, taken, count] for taken, count in zip(names, line, strict=True)]
        for of, line in zip(names, counts.tolist(), strict=True)
    ]
    return go.Heatmap(
        z=percent.round(2).tolist(),
        customdata=cells,
        x=[*range(len(names))],
        y=[*range(len(names))],
        text=[[f"{share:.0f}" if share >= 0.5 else "" for share in line] for line in percent.tolist()],
        texttemplate="%{text}" if len(names) <= _NUMBERED else None,
        hovertext=[
            [f"{label_text(of)} taken for {label_text(taken)}<br>{count:,} of {total:,}" for of, taken, count in line]
            for line, total in zip(cells, totals.tolist(), strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        zmin=0,
        zmax=100,
        xgap=1,
        ygap=1,
        showscale=False,
    )


def _most_mistaken(confusion: ConfusionMatrix) -> np.ndarray:
    """Rows of the classes that took or gave the most wrong predictions, in their own order."""
    counts = confusion.counts
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])


def map_chart(model: str, table: EmbeddingTable, *, tsne: bool, seed: int) -> Chart | None:
    """A point a picture, near ones meant to be similar; None where there are too few to lay out.

    The layout is that of `trainer.plots.plot_embedding_map`. A ring marks a wrong prediction.

    Args:
        model: its name.
        table: N items; of more than `MOST_POINTS` a sample is shown.
        tsne: whether t-SNE lays it out, else PCA.
        seed: of the sample and of t-SNE.
    """
    if len(table) < 4 or table.dimension < 2:
        return None
    shown = sample_rows(table, MOST_POINTS, seed)
    points, axis_names = project(unit(shown.vectors), "tsne" if tsne else "pca", 2, seed)
    method = "t-SNE" if tsne else "PCA"
    note = f"{method} of {len(shown):,} pictures."
    if len(shown) < len(table):
        note = f"{method} of {len(shown):,} of {len(table):,} pictures, drawn by chance."
    if tsne:
        note += " It keeps neighbourhoods; gaps and sizes of its clusters say little."
    note += " Point at a dot, tap it, or step through with the arrow keys to see its picture."
    axes: dict[str, Any] = {"xaxis_visible": False, "yaxis_visible": False}
    if axis_names:
        axes = {"xaxis_title": axis_names[0], "yaxis_title": axis_names[1], "yaxis_scaleanchor": "x"}
    return Chart(
        f"{model}-map",
        "Embeddings by class",
        "A point for every picture, one colour and marker a class; near points are meant to be similar pictures.",
        figure_of(_class_traces(shown, points), **axes, hovermode="closest", hoverdistance=30),
        height=640,
        products=True,
        note=note,
    )


def _class_traces(table: EmbeddingTable, points: np.ndarray) -> list[Any]:
    """A trace for each of the ten most frequent classes, one for the rest, and one of rings."""
    names, counts = np.unique(table.labels, return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]
    shown = names[: len(PALETTE)]
    groups = [(label_text(str(name)), table.labels == name) for name in shown]
    if len(names) > len(shown):
        groups.append((f"other ({len(names) - len(shown)})", ~np.isin(table.labels, shown)))
    predicted = table.attributes.get(PREDICTED_LABEL, np.full(len(table), ""))
    told = np.array([table.ids, table.labels, predicted], dtype=object).T
    markers = zip((*PALETTE, OTHER), (*SYMBOLS, "circle"), strict=True)
    traces = [
        _points(points[chosen], name, {"color": colour, "symbol": symbol, "size": 8, "opacity": 0.85}).update(
            customdata=told[chosen].tolist(), hoverinfo="none"
        )
        for (name, chosen), (colour, symbol) in zip(groups, markers, strict=False)
    ]
    wrong = (predicted != table.labels) & (predicted != "")
    if wrong.any():
        ring = {"color": WRONG, "symbol": "circle-open", "size": 15, "line": {"width": 2}}
        traces.append(_points(points[wrong], "wrong prediction", ring).update(hoverinfo="skip"))
    return traces


def _points(points: np.ndarray, name: str, marker: dict[str, Any]) -> Any:
    x, y = points.round(4).T.tolist()
    return go.Scatter(x=x, y=y, name=name, mode="markers", marker=marker)
