"""A row says what spoilt pictures cost the same queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.evaluation.robustness import CLEAN, format_robustness, robustness_row
from trainer.retrieval import EmbeddingTable, QueryMetrics

NAN = np.nan


def queries(predicted: list[str]) -> EmbeddingTable:
    size = len(predicted)
    labels = np.array(["a"] * size)
    attributes = {"label": labels, "predicted_label": np.array(predicted)}
    return EmbeddingTable(np.array([str(i) for i in range(size)]), np.ones((size, 2)), attributes)


def scored(hits: list[float]) -> QueryMetrics:
    values = np.array(hits)
    labels = np.array(["a"] * len(hits))
    return QueryMetrics(np.array([str(i) for i in range(len(hits))]), labels, np.isnan(values), {"hit_rate@1": values})


def rows(resamples: int = 500) -> list[dict[str, Any]]:
    before = queries(["a"] * 39 + ["b"]), scored([1.0] * 30 + [0.0] * 9 + [NAN])
    after = queries(["a"] * 20 + ["b"] * 20), scored([1.0] * 10 + [0.0] * 28 + [1.0, NAN])
    clean = robustness_row(CLEAN, 0, "", *before, None, resamples)
    return [clean, robustness_row("blur", 2, "sigma 2 %", *after, before, resamples)]


def test_a_row_holds_means_and_paired_changes() -> None:
    clean, blurred = rows()
    assert clean["corruption"] == CLEAN
    assert "change" not in clean
    assert (clean["accuracy"], clean["hit_rate@1"]) == (39 / 40, 30 / 39)
    assert (blurred["corruption"], blurred["strength"], blurred["setting"]) == ("blur", 2, "sigma 2 %")
    assert (blurred["queries"], blurred["queries_without_match"]) == (40, 1)
    assert (blurred["accuracy"], blurred["hit_rate@1"]) == (20 / 40, 11 / 39)
    assert blurred["change"] == pytest.approx({"accuracy": -19 / 40, "hit_rate@1": -19 / 39})
    for metric, change in blurred["change"].items():
        low, high = blurred["change_intervals"][metric]
        assert low < change < high < 0
        assert blurred["p_value"][metric] < 0.01
        low, high = blurred["intervals"][metric]
        assert low < blurred[metric] < high


def test_pictures_that_change_nothing_cost_nothing() -> None:
    same = queries(["a", "b"] * 20), scored([1.0, 0.0] * 20)
    row = robustness_row("jpeg", 1, "quality 30", *same, same, 200)
    assert row["change"] == {"accuracy": 0.0, "hit_rate@1": 0.0}
    assert row["p_value"] == {"accuracy": 1.0, "hit_rate@1": 1.0}


def test_without_resamples_there_are_changes_alone() -> None:
    clean, blurred = rows(resamples=0)
    assert "intervals" not in clean
    assert blurred["change"]["accuracy"] == pytest.approx(-19 / 40)
    assert not {"intervals", "change_intervals", "p_value"} & set(blurred)
    assert "-0.475\n" in format_robustness("fused", [clean, blurred], ("accuracy",)) + "\n"


def test_the_table_tells_the_cost() -> None:
    text = format_robustness("fused", rows(), ("accuracy", "hit_rate@1")).splitlines()
    assert [line.split("  ")[0] for line in text[2:]] == ["none", "blur, sigma 2 %"]
    assert "-0.475 [-" in text[3]
    assert "p 0.00" in text[3]
