"""Lines over something: what plotly is asked to draw, without colours of the theme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trainer.report.blocks import Chart
from trainer.report.metric_names import as_number, main_metrics, metric_title, metrics_in
from trainer.report.results import NoMatch, Row
from trainer.report.theme import OTHER, PALETTE, SYMBOLS

__all__ = [
    "composed_chart",
    "curve_chart",
    "dimensions_chart",
    "figure_of",
    "label_text",
    "no_match_chart",
    "training_charts",
]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_CURVES = ("hit_rate", "precision", "recall", "ndcg")
_HISTORY = (("loss", "Loss"), ("accuracy", "Accuracy"), ("learning_rate", "Learning rate"))


def figure_of(traces: Iterable[Any], **layout: Any) -> dict[str, Any]:
    """`data` and `layout` as plotly.js wants them, checked by plotly."""
    return {"data": [trace.to_plotly_json() for trace in traces], "layout": go.Layout(**layout).to_plotly_json()}


def label_text(text: str, length: int = 24) -> str:
    """A text from the catalogue as plotly may show it: shortened, and without markup, which plotly would obey."""
    return escape(text if len(text) <= length else text[: length - 1].rstrip() + "…", quote=False)


def curve_chart(model: str, rows: Sequence[Row]) -> Chart | None:
    """Metrics by how many items are shown; None where the rows hold none."""
    ks = [row.get("k") for row in rows]
    traces = []
    for at, name in enumerate(_CURVES):
        values = [as_number(row.get(name)) for row in rows]
        if any(value is not None for value in values):
            traces.append(_line(ks, values, metric_title(name), at, f"{metric_title(name)}@%{{x}}: %{{y:.3f}}"))
    if not traces:
        return None
    return Chart(
        f"{model}-curve",
        "Quality by how many items are shown",
        "Lines of hit rate, precision, recall and NDCG over K, the number of nearest items that count.",
        figure_of(traces, xaxis_title="K", yaxis_rangemode="tozero", hovermode="x unified"),
    )


def dimensions_chart(model: str, rows: Sequence[Row]) -> Chart | None:
    """Metrics by how many numbers of the embedding are kept; None where there is nothing to compare."""
    if len({row.get("dimension") for row in rows}) < 2:
        return None
    methods = list(dict.fromkeys(str(row.get("method") or "truncation") for row in rows))
    traces = []
    for colour, metric in enumerate(name for name in main_metrics(metrics_in(rows)) if name != "accuracy"):
        for dash, method in enumerate(methods):
            chosen = [row for row in rows if str(row.get("method") or "truncation") == method]
            chosen.sort(key=lambda row: as_number(row.get("dimension")) or 0)
            name = f"{metric_title(metric)}, {label_text(method)}" if len(methods) > 1 else metric_title(metric)
            line = _line(
                [row.get("dimension") for row in chosen],
                [as_number(row.get(metric)) for row in chosen],
                name,
                colour,
                f"{name}: %{{y:.4f}}",
                dash=dash,
            )
            traces.append(line.update(mode="lines+markers", marker_symbol=SYMBOLS[dash % len(SYMBOLS)], marker_size=8))
    widths = sorted({number for row in rows if (number := as_number(row.get("dimension")))})
    axis = {"type": "log", "tickvals": widths, "ticktext": [f"{width:g}" for width in widths], "title": "dimensions"}
    return Chart(
        f"{model}-dimensions",
        "Quality by dimension of the embedding",
        "Lines over the number of dimensions kept, on a logarithmic axis.",
        figure_of(traces, xaxis=axis, hovermode="x unified"),
    )


def composed_chart(model: str, rows: Sequence[Row]) -> Chart | None:
    """What a picture and words find together, by the weight of the words; None where there is nothing to compare."""
    if len({row.get("weight") for row in rows}) < 2:
        return None
    forms = list(dict.fromkeys(str(row.get("text", "")) for row in rows))
    traces = []
    for colour, name in enumerate(("label", "asked", "both")):
        for dash, form in enumerate(forms):
            chosen = [row for row in rows if str(row.get("text", "")) == form]
            chosen.sort(key=lambda row: as_number(row.get("weight")) or 0.0)
            title = f"{name}, {label_text(form, 40)}" if len(forms) > 1 else name
            values = [as_number(row.get(name)) for row in chosen]
            weights = [row.get("weight") for row in chosen]
            line = _line(weights, values, title, colour, f"{title}: %{{y:.3f}}", dash=dash)
            traces.append(line.update(mode="lines+markers", marker_symbol=SYMBOLS[dash % len(SYMBOLS)], marker_size=8))
    return Chart(
        f"{model}-composed",
        "A picture, but with another value",
        "Lines over the weight of the words: shares of the nearest with the picture's label, with the value asked for, "
        "and with both.",
        figure_of(traces, xaxis_title="weight of the words", yaxis_rangemode="tozero", hovermode="x unified"),
        note="At 0 the picture alone is asked with, at 1 the words alone. Where both is highest is the weight to take.",
    )


def no_match_chart(model: str, found: NoMatch) -> Chart | None:
    """Precision and recall by threshold, the chosen one marked; None without a curve."""
    thresholds = [as_number(row.get("threshold")) for row in found.curve]
    traces = []
    for at, name in enumerate(("precision", "recall")):
        values = [as_number(row.get(name)) for row in found.curve]
        if any(value is not None for value in values):
            traces.append(_line(thresholds, values, name, at, f"{name}: %{{y:.3f}}"))
    if not traces:
        return None
    marks = {}
    if found.threshold is not None:
        marks = {
            "shapes": [_upright(found.threshold)],
            "annotations": [
                {
                    "x": found.threshold,
                    "y": 0,
                    "yref": "paper",
                    "xanchor": "right",
                    "xshift": -6,
                    "yanchor": "bottom",
                    "showarrow": False,
                    "text": f"threshold {found.threshold:.3f}",
                }
            ],
        }
    return Chart(
        f"{model}-no-match",
        "Precision and recall by threshold",
        "Lines of precision and recall over the lowest similarity that counts as a match; an upright line marks the "
        "chosen threshold.",
        figure_of(traces, xaxis_title="lowest similarity that counts", hovermode="x unified", **marks),
    )


def training_charts(histories: Mapping[str, pd.DataFrame]) -> list[Chart]:
    """Loss, accuracy and learning rate over epochs where any history has them: validation solid, training dashed."""
    charts = []
    for column, title in _HISTORY:
        traces: list[Any] = []
        for at, (name, history) in enumerate(histories.items()):
            for source, kind, dash in ((f"val_{column}", "validation", 0), (column, "training", 1)):
                if source not in history.columns or history[source].isna().all():
                    continue
                single = column == "learning_rate"
                label = label_text(name, 40) if single else f"{label_text(name, 40)}, {kind}"
                values = [as_number(value) for value in pd.to_numeric(history[source], errors="coerce").tolist()]
                hover = f"{label}: %{{y:.4g}}"
                traces.append(_line(_epochs(history), values, label, at, hover, dash=0 if single else dash))
        if traces:
            scale = {"type": "log", "tickformat": ".0e"} if column == "learning_rate" else {}
            figure = figure_of(traces, xaxis_title="epoch", yaxis=scale, hovermode="x unified")
            description = f"{title} of every training stage over its epochs, validation solid and training dashed."
            charts.append(Chart(f"training-{column}", title, description, figure, height=320, half=True))
    return charts


def _epochs(history: pd.DataFrame) -> list[Any]:
    return history["epoch"].tolist() if "epoch" in history.columns else list(range(1, len(history) + 1))


def _line(x: Sequence[Any], y: Sequence[Any], name: str, colour: int, hover: str, *, dash: int | None = None) -> Any:
    shown = _DASHES[(colour if dash is None else dash) % len(_DASHES)]
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=name,
        # A single value is a line without length: a dot shows it.
        mode="lines+markers" if len(x) == 1 else "lines",
        line={"color": PALETTE[colour % len(PALETTE)], "dash": shown, "width": 2},
        hovertemplate=hover + "<extra></extra>",
    )


def _upright(at: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": at,
        "x1": at,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": OTHER, "dash": "dot", "width": 2},
    }
