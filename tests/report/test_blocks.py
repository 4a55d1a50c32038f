"""Tables, grids and charts, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.report.blocks import Whisker
from trainer.report.charts import (
    curve_chart,
    dimensions_chart,
    label_text,
    no_match_chart,
    training_charts,
)
from trainer.report.class_charts import MOST_CLASSES, confusion_chart, map_chart
from trainer.report.metric_names import headline, main_metrics, metric_title, metrics_in
from trainer.report.products import Products
from trainer.report.queries import query_grids
from trainer.report.results import Findings, ModelResults, NoMatch
from trainer.report.tables import metric_table, plain_table, shown_number
from trainer.report.theme import OTHER, PALETTE, SURFACES, WRONG
from trainer.retrieval import EmbeddingTable


def table_of(labels: str, vectors: Any, predicted: str | None = None) -> EmbeddingTable:
    ids = np.array([f"p{at}" for at in range(len(labels))])
    attributes = {"label": np.array(list(labels)), "image_path": np.array(["/nowhere.jpg"] * len(labels))}
    if predicted is not None:
        attributes["predicted_label"] = np.array(list(predicted))
    return EmbeddingTable(ids, np.asarray(vectors, np.float32), attributes)


def results_of(table: EmbeddingTable, findings: Findings | None = None) -> ModelResults:
    nothing = dict.fromkeys(
        ("per_class", "curve", "slices", "robustness", "ablations", "dimensions", "no_match", "words")
    )
    return ModelResults(name="m", table=table, findings=findings, **nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1,234"), (0.9876, "0.988"), (1.0, "1.000"), (None, "–"), (math.nan, "–"), ("", "–"), ("a", "a")],
)
def test_numbers_are_written_so(value: Any, text: str) -> None:
    assert shown_number(value) == text


def test_metrics_are_ordered_and_chosen() -> None:
    row = {"precision@10": 1.0, "mrr": 1.0, "hit_rate@10": 1.0, "hit_rate@5": 1.0, "accuracy": 1.0, "precision@1": 0.5}
    names = metrics_in([{**row, "queries": 3, "map@r": None, "ndcg@x": 1.0, "model": "m"}])
    assert names == ["accuracy", "hit_rate@5", "hit_rate@10", "precision@1", "precision@10", "mrr"]
    assert headline(names) == ["accuracy", "hit_rate@5", "hit_rate@10", "precision@10"]
    assert main_metrics(names) == ["accuracy", "hit_rate@5", "precision@10"]
    assert [metric_title(name) for name in ("hit_rate@5", "map@r", "ndcg@3", "new_one")] == [
        "hit rate@5",
        "MAP@R",
        "NDCG@3",
        "new one",
    ]


def test_intervals_are_drawn_on_one_scale() -> None:
    rows = [
        {"model": "a", "hit_rate@1": 0.5, "intervals": {"hit_rate@1": [0.4, 0.6]}},
        {"model": "b", "hit_rate@1": 0.8, "intervals": {"hit_rate@1": [0.7, 0.9]}},
        {"model": "c", "hit_rate@1": 0.1},
    ]
    table = metric_table(rows, {"model": "model", "queries": "queries"}, ["hit_rate@1", "mrr"], "of all", best=True)
    assert table.columns == ("model", "hit rate@1")
    assert table.numeric == (False, True)
    cells = [row[1] for row in table.rows]
    # The track reaches from 0.4 - 0.025 to 0.9 + 0.025, so that 0.4 is at 0.025 / 0.55 of it.
    assert [cell.whisker for cell in cells] == [Whisker(4.5, 22.7, 40.9), Whisker(59.1, 77.3, 95.5), None]
    assert [cell.small for cell in cells] == ["0.400–0.600", "0.700–0.900", ""]
    assert [cell.best for cell in cells] == [False, True, False]


def test_intervals_of_no_width_are_drawn_too() -> None:
    rows = [{"hit_rate@1": 1.0, "intervals": {"hit_rate@1": [1.0, 1.0]}}]
    ((cell,),) = metric_table(rows, {}, ["hit_rate@1"], "").rows
    assert cell.whisker is not None
    assert 0 <= cell.whisker.low <= cell.whisker.high <= 100


def test_changes_stand_beside_their_metric() -> None:
    change = {"change": {"mrr": -0.25}, "change_intervals": {"mrr": [-0.3, 0.1]}, "p_value": {"mrr": 0.0004}}
    table = metric_table([{"mrr": 0.9}, {"mrr": 0.65, **change}], {}, ["mrr"], "", changes=True)
    assert table.columns == ("MRR", "change of MRR")
    assert [row[1].text for row in table.rows] == ["–", "−0.250"]
    assert table.rows[1][1].small == "−0.300 to +0.100\np < 0.001"
    assert table.rows[1][1].sort == -0.25


def test_counts_of_nothing_wrong_are_left_out() -> None:
    columns = {"split": "split", "queries_without_match": "without match"}
    assert plain_table([{"split": "test", "queries_without_match": 0}], columns, "").columns == ("split",)
    assert plain_table([{"split": "test", "queries_without_match": 2}], columns, "").columns == (
        "split",
        "without match",
    )


def test_the_best_and_the_worst_queries_are_found() -> None:
    # Two tight groups, a and b; p2 is labelled a but lies among b, nearest to p3.
    vectors = [[1, 0], [1, 0.01], [0.05, 1], [0, 1], [-0.02, 1], [-0.03, 1]]
    grids = query_grids(results_of(table_of("aaabbb", vectors)), Products(pd.DataFrame(index=[])), 0)
    named = {grid.caption: grid for grid in grids}
    worst = [row.query.product for row in named["Worst"].rows]
    assert worst[0] == "p2"
    found = named["Worst"].rows[0].found
    assert found[0].product == "p3"
    assert found[0].lines == ("b", "0.999")
    assert [picture.right for picture in found] == [False, False, False, True, True]
    assert {row.query.alt[0] for row in named["Best"].rows[:2]} == {"a", "b"}
    assert len(named["By chance"].rows) == 4
    assert all(row.query.product not in {picture.product for picture in row.found} for row in named["By chance"].rows)


def test_the_worst_queries_are_those_of_the_findings() -> None:
    findings = Findings.model_validate(
        {"worst_queries": [{"id": "p1", "label": "a", "neighbours": [{"id": "p5", "label": "b", "score": 0.25}]}]}
    )
    grids = query_grids(results_of(table_of("aabb", np.eye(4)), findings), Products(pd.DataFrame(index=[])), 0)
    (row,) = next(grid for grid in grids if grid.caption == "Worst").rows
    assert row.query.product == "p1"
    assert [(picture.product, picture.lines, picture.right) for picture in row.found] == [("p5", ("b", "0.250"), False)]


def test_the_confusion_matrix_counts() -> None:
    chart = confusion_chart("m", table_of("aaab", np.eye(4), "aabb"))
    assert chart is not None
    (trace,) = chart.figure["data"]
    assert trace["z"] == [[66.67, 33.33], [0.0, 100.0]]
    assert trace["customdata"][0][1] == ["a", "b", 1]
    assert "3 of 4 pictures are right" in chart.note
    assert confusion_chart("m", table_of("ab", np.eye(2))) is None


def test_of_many_classes_the_most_mistaken_are_shown() -> None:
    labels = "".join(chr(0x4E00 + at) for at in range(MOST_CLASSES + 5))
    predicted = labels[:-2] + labels[-1] + labels[-2]
    chart = confusion_chart("m", table_of(labels, np.eye(len(labels)), predicted))
    assert chart is not None
    assert len(chart.figure["data"][0]["z"]) == MOST_CLASSES
    assert {labels[-1], labels[-2]} <= set(chart.figure["layout"]["yaxis"]["ticktext"])
    assert f"The {MOST_CLASSES} most mistaken of {len(labels)} classes" in chart.note


def test_the_map_has_every_picture_once_and_rings_around_mistakes() -> None:
    labels = "".join(chr(97 + at % 12) for at in range(36))
    chart = map_chart(
        "m", table_of(labels, np.random.default_rng(0).normal(size=(36, 4)), "a" * 36), tsne=False, seed=0
    )
    assert chart is not None
    *classes, rings = chart.figure["data"]
    assert [trace["name"] for trace in classes[:2]] == ["a", "b"]
    assert classes[-1]["name"] == "other (2)"
    assert sorted(point[0] for trace in classes for point in trace["customdata"]) == sorted(
        f"p{at}" for at in range(36)
    )
    assert len(rings["x"]) == 33
    assert map_chart("m", table_of("aab", np.eye(3)), tsne=True, seed=0) is None


def test_curves_leave_out_what_is_not_there() -> None:
    chart = curve_chart("m", [{"k": 1, "hit_rate": 0.5, "recall": None}, {"k": 2, "hit_rate": math.nan}])
    assert chart is not None
    (trace,) = chart.figure["data"]
    assert (trace["x"], trace["y"]) == ([1, 2], [0.5, None])
    assert curve_chart("m", []) is None


def test_dimensions_are_lines_by_method() -> None:
    rows = [
        {"dimension": 64, "method": "pca", "hit_rate@1": 0.8},
        {"dimension": 64, "method": "truncation", "hit_rate@1": 0.7},
        {"dimension": 32, "method": "pca", "hit_rate@1": 0.6},
    ]
    chart = dimensions_chart("m", rows)
    assert chart is not None
    assert [(trace["name"], trace["x"]) for trace in chart.figure["data"]] == [
        ("hit rate@1, pca", [32, 64]),
        ("hit rate@1, truncation", [64]),
    ]
    assert dimensions_chart("m", rows[:2]) is None


def test_the_threshold_is_marked() -> None:
    chart = no_match_chart("m", NoMatch(threshold=0.5, curve=[{"threshold": 0.5, "precision": 0.9}]))
    assert chart is not None
    assert chart.figure["layout"]["shapes"][0]["x0"] == 0.5
    assert no_match_chart("m", NoMatch(threshold=0.5)) is None


def test_training_is_drawn_where_there_is_some() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.5, None]})
    (chart,) = training_charts({"fused/head": history, "empty": history.iloc[:0]})
    assert [(trace["name"], trace["y"]) for trace in chart.figure["data"]] == [
        ("fused/head, validation", [2.5, None]),
        ("fused/head, training", [2.0, 1.0]),
    ]


def test_plotly_gets_no_markup() -> None:
    assert label_text("<b>T&C</b>") == "&lt;b&gt;T&amp;C&lt;/b&gt;"
    assert label_text("x" * 30, 10) == "x" * 9 + "…"


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_from_the_page(theme: str) -> None:
    """WCAG 2.2, AA: 4.5 for text, 3 for parts of charts."""
    surface = SURFACES[theme]["surface"]
    assert min(contrast(SURFACES[theme][name], surface) for name in ("ink", "muted")) >= 4.5
    assert min(contrast(colour, surface) for colour in (*PALETTE, OTHER, WRONG)) >= 3
