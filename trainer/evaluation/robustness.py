"""What spoilt pictures cost: the same queries, asked with clean pictures and with spoilt ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.evaluation.classification import right_predictions
from trainer.evaluation.comparison import format_table
from trainer.evaluation.intervals import bootstrap_intervals, paired_tests
from trainer.retrieval import EmbeddingTable, QueryMetrics

__all__ = ["CLEAN", "format_robustness", "robustness_row"]

CLEAN = "none"

Rows = list[dict[str, Any]]


def robustness_row(
    name: str,
    strength: int,
    setting: str,
    queries: EmbeddingTable,
    measured: QueryMetrics,
    clean: tuple[EmbeddingTable, QueryMetrics] | None,
    resamples: int,
) -> dict[str, Any]:
    """A row of `robustness.json`.

    Args:
        name: of the corruption.
        strength: 1 or 2; 0 for none.
        setting: the strength in words.
        queries: Q rows as embedded from the spoilt pictures, with the attribute `predicted_label` for the accuracy.
        measured: what they found in the clean gallery, each query's own clean picture left out.
        clean: the same queries in the same order with clean pictures, and what they found; None for the clean row.
        resamples: draws behind intervals and p-values; 0 for none of these.

    Returns:
        `corruption`, `strength`, `setting`, `queries`, `queries_without_match`, `accuracy`, the mean of every metric,
        `intervals` (95 %); and beside a clean row `change`, the mean of spoilt - clean over the same queries, below 0
        where it costs, `change_intervals` (95 %) and `p_value` (two-sided; each by itself, not corrected for there
        being several corruptions).
    """
    values = _values(queries, measured)
    means = measured.means()
    row: dict[str, Any] = {"corruption": name, "strength": strength, "setting": setting, "queries": means["queries"]}
    if "accuracy" in values:
        row["accuracy"] = float(values["accuracy"].mean())
    row |= {key: value for key, value in means.items() if key not in row}
    if resamples:
        row["intervals"] = bootstrap_intervals(values, resamples=resamples)
    if clean is None:
        return row
    before = _values(*clean)
    differences = {key: values[key] - before[key] for key in values}
    row["change"] = {key: float(np.nanmean(d)) for key, d in differences.items() if not np.isnan(d).all()}
    if resamples:
        tests = paired_tests(before, values, resamples=resamples)
        row["change_intervals"] = {key: test.interval for key, test in tests.items()}
        row["p_value"] = {key: test.p_value for key, test in tests.items()}
    return row


def format_robustness(model: str, rows: Rows, metrics: tuple[str, ...]) -> str:
    """Rows as lines of text: each metric, and by how much it changed, with interval and p-value where there are."""
    shown = []
    for row in rows:
        line: dict[str, Any] = {"model": model, "queries": row["queries"]}
        line["corruption"] = f"{row['corruption']}, {row['setting']}".rstrip(", ")
        for metric in metrics:
            line |= {metric: row.get(metric), f"change of {metric}": _change(row, metric)}
        shown.append(line)
    columns = ["corruption", "queries", *(name for metric in metrics for name in (metric, f"change of {metric}"))]
    return format_table(shown, columns=columns)


def _values(queries: EmbeddingTable, measured: QueryMetrics) -> dict[str, np.ndarray]:
    right = right_predictions(queries)
    return {**({} if right is None else {"accuracy": right}), **measured.values}


def _change(row: dict[str, Any], metric: str) -> str | None:
    if row.get("change", {}).get(metric) is None:
        return None
    text = f"{row['change'][metric]:+.3f}"
    if metric in row.get("p_value", {}):
        (low, high), p_value = row["change_intervals"][metric], row["p_value"][metric]
        text += f" [{low:+.3f}, {high:+.3f}] p " + (f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001")
    return text
