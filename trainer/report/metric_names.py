"""Metrics as the page names, orders and explains them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["DEFINITIONS", "as_number", "headline", "main_metrics", "metric_title", "metrics_in"]

DEFINITIONS: tuple[tuple[str, str], ...] = (
    ("accuracy", "share of pictures whose predicted label is their label"),
    ("hit rate@K", "share of queries with at least one right item among the K nearest"),
    ("precision@K", "share of right items among the K nearest, mean over queries"),
    ("recall@K", "share of all right items that are among the K nearest, mean over queries"),
    ("NDCG@K", "gain of the K nearest by their grade, discounted by rank, over that of the best order"),
    ("ceiling@K", "the highest precision@K that any ranking could have, as there may be fewer right items than K"),
    ("by item@K", "precision@K where a question in words counts as often as there are items that are just that"),
    ("R-precision", "precision at R, where R is how many right items there are"),
    ("MAP@R", "mean over ranks 1 to R of the precision at every rank that holds a right item, 0 at the others"),
    ("MRR", "mean of 1 / rank of the first right item"),
    ("macro", "mean over classes of the class's mean: every class weighs the same"),
    (
        "95 % interval",
        "where the value would lie in 95 of 100 repetitions with other queries: bootstrap over the queries; the model "
        "and the split stay the same",
    ),
)
"""What the numbers of the page mean; exactly in `trainer.retrieval` and `trainer.evaluation`."""

_TITLES = {
    "accuracy": "accuracy",
    "accuracy_macro": "accuracy, macro",
    "hit_rate": "hit rate",
    "precision": "precision",
    "recall": "recall",
    "ndcg": "NDCG",
    "r_precision": "R-precision",
    "map@r": "MAP@R",
    "mrr": "MRR",
    "f1": "F1",
    "answered_absent": "answered though absent",
}


def as_number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return float(value)


def metric_title(name: str) -> str:
    """`hit_rate@10` as "hit rate@10"; a name that is not known as it is."""
    if name in _TITLES:
        return _TITLES[name]
    family, at, depth = name.partition("@")
    return f"{_TITLES.get(family, family.replace('_', ' '))}{at}{depth}"


def metrics_in(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The known metrics that any of the rows has a number for, in reading order."""
    found = {name for row in rows for name, value in row.items() if _place(name) and as_number(value) is not None}
    return sorted(found, key=lambda name: _place(name) or (0, 0))


def headline(names: Sequence[str]) -> list[str]:
    """Of some metrics those that tell models apart at a glance: accuracy, every hit rate, precision and NDCG at the
    largest K, and MAP@R."""
    last = [max(at, key=_depth) for family in ("precision", "ndcg") if (at := _of(names, family))]
    return [name for name in names if name in ("accuracy", "map@r", *_of(names, "hit_rate"), *last)]


def main_metrics(names: Sequence[str]) -> list[str]:
    """Of some metrics the three that a summary leads with: accuracy, hit rate at the smallest K and precision at the
    largest."""
    first = [min(at, key=_depth) for at in [_of(names, "hit_rate")] if at]
    last = [max(at, key=_depth) for at in [_of(names, "precision")] if at]
    return [name for name in ("accuracy", *first, *last) if name in names]


def _of(names: Iterable[str], family: str) -> list[str]:
    return [name for name in names if name.partition("@")[0] == family and name.partition("@")[2].isdigit()]


def _depth(name: str) -> int:
    return int(name.partition("@")[2])


def _place(name: str) -> tuple[int, int] | None:
    """Where a metric stands among others; None for what is no metric."""
    order = list(_TITLES)
    if name in order:
        return (order.index(name), 0)
    family, _, depth = name.partition("@")
    return (order.index(family), int(depth)) if family in order and depth.isdigit() else None
