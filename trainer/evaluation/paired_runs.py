"""Runs side by side: the same queries asked of both, and what that says about which is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.items import SPLIT
from trainer.errors import InputError
from trainer.evaluation.classification import right_predictions
from trainer.evaluation.intervals import PairedTest, bootstrap_intervals, holm, paired_tests
from trainer.retrieval import EmbeddingTable, measure_queries

__all__ = [
    "SIGNIFICANT",
    "ComparedMetric",
    "MeasuredRun",
    "RunComparison",
    "SummarisedMetric",
    "compare_runs",
    "measure_run",
    "significantly_worse",
    "summarise_runs",
]

SIGNIFICANT = 0.05
"""A difference with a p-value below it is taken to be more than chance."""


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """What the queries of a run scored.

    Args:
        name: what it is called in messages.
        ids: `[N]` strings, of all items.
        labels: `[N]` strings, theirs.
        splits: `[N]` strings, theirs.
        gallery: `[G]` ids of the items that were searched.
        queries: `[Q]` ids.
        values: name of a metric to `[Q]` float64, NaN where a query does not count.
    """

    name: str
    ids: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    gallery: np.ndarray
    queries: np.ndarray
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of two sides.

    Args:
        metric: its name.
        a: mean of the first side over the pairs that count; of several runs, the mean of their means.
        b: mean of the second side.
        test: of b - a.
    """

    metric: str
    a: float
    b: float
    test: PairedTest

    @property
    def verdict(self) -> str:
        """What may be said of b, of this metric alone."""
        if self.test.p_value >= SIGNIFICANT:
            return "no difference shown"
        return "better" if self.test.difference > 0 else "worse"


@dataclass(frozen=True)
class RunComparison:
    """Two sides, metric by metric.

    Args:
        metrics: those compared.
        pairs: how many queries both sides have, in all runs together.
        only_a: how many queries only the first side has; they are left out.
        only_b: how many only the second side has.
        other_galleries: in how many pairs of runs the items searched are not the same ones.
    """

    metrics: tuple[ComparedMetric, ...]
    pairs: int
    only_a: int
    only_b: int
    other_galleries: int


@dataclass(frozen=True)
class SummarisedMetric:
    """One metric of one or several runs.

    Args:
        metric: its name.
        mean: of the runs' means.
        interval: 95 %, for the chance of which queries were asked.
        runs: the mean of each run.
    """

    metric: str
    mean: float
    interval: tuple[float, float]
    runs: tuple[float, ...]

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the runs, for the chance of splits and training; None for a single one."""
        return float(np.std(self.runs, ddof=1)) if len(self.runs) > 1 else None


def measure_run(
    name: str,
    table: EmbeddingTable,
    split: str,
    gallery: str,
    ks: Sequence[int],
    relevance: Mapping[str, float],
    *,
    progress: bool = False,
) -> MeasuredRun:
    """Measures one model of one run.

    Args:
        name: what it is called in messages.
        table: all items, as `evaluate` wrote them.
        split: whose items are queries.
        gallery: the split whose items are searched; where it is the same, queries leave themselves out.
        ks: as in `measure_queries`.
        relevance: as in `measure_queries`.
        progress: whether to show a progress bar on standard error.

    Returns:
        The metrics of `measure_queries`, and `accuracy` where the table has predictions.

    Raises:
        InputError: the table has no splits or none of this name, or `measure_queries` cannot measure it.
    """
    splits = table.attributes.get(SPLIT, np.empty(0, np.str_))
    for wanted in (split, gallery):
        if not (splits == wanted).any():
            present = ", ".join(np.unique(splits).tolist()) or "no splits"
            raise InputError(f"{name}: expected items of the split {wanted}, received a table of {present}")
    queries = table.select(splits == split)
    searched = queries if split == gallery else table.select(splits == gallery)
    measured = measure_queries(
        queries, searched, ks, same_table=split == gallery, relevance=relevance, progress=progress
    )
    right = right_predictions(queries)
    return MeasuredRun(
        name=name,
        ids=table.ids,
        labels=table.labels,
        splits=splits,
        gallery=searched.ids,
        queries=queries.ids,
        values=({} if right is None else {"accuracy": right}) | dict(measured.values),
    )


def compare_runs(
    a: Sequence[MeasuredRun],
    b: Sequence[MeasuredRun],
    metrics: Sequence[str],
    *,
    resamples: int = 10_000,
    progress: bool = False,
) -> RunComparison:
    """Compares two sides by the queries that both have, paired by id.

    Args:
        a: runs of the first side.
        b: runs of the second side, in the same order: the first is paired with the first, and so on.
        metrics: which to compare.
        resamples: see `paired_test`.
        progress: whether to show progress bars on standard error.

    Returns:
        The comparison. A metric for which some run has no pair that counts is left out.

    Raises:
        InputError: the sides have different numbers of runs or a run twice, a run lacks a metric, two paired runs have
            no query in common, or an item has one label or split here and another there.
    """
    _check_sides(a, b)
    _check_metrics([*a, *b], metrics)
    common = [_common(first, second) for first, second in zip(a, b, strict=True)]
    sides = [
        {name: [run.values[name][rows[at]] for run, rows in zip(side, common, strict=True)] for name in metrics}
        for at, side in enumerate((a, b))
    ]
    tests = paired_tests(*sides, resamples=resamples, progress=progress)
    pairs = sum(len(rows) for rows, _ in common)
    return RunComparison(
        metrics=tuple(
            ComparedMetric(name, *_paired_means(sides[0][name], sides[1][name]), test) for name, test in tests.items()
        ),
        pairs=pairs,
        only_a=sum(len(run.queries) for run in a) - pairs,
        only_b=sum(len(run.queries) for run in b) - pairs,
        other_galleries=sum(
            not np.array_equal(np.sort(first.gallery), np.sort(second.gallery))
            for first, second in zip(a, b, strict=True)
        ),
    )


def summarise_runs(
    runs: Sequence[MeasuredRun], metrics: Sequence[str], *, resamples: int = 2000, progress: bool = False
) -> tuple[SummarisedMetric, ...]:
    """Means over runs with intervals.

    Args:
        runs: of one configuration with several seeds, or a single one.
        metrics: which to summarise.
        resamples: see `bootstrap_interval`.
        progress: whether to show a progress bar on standard error.

    Returns:
        One a metric. A metric for which some run has no query that counts is left out.

    Raises:
        InputError: a run lacks a metric or is there twice.
    """
    _check_sides(runs, runs)
    _check_metrics(runs, metrics)
    values = {name: [run.values[name] for run in runs] for name in metrics}
    intervals = bootstrap_intervals(values, resamples=resamples, progress=progress)
    means = {name: tuple(float(np.nanmean(run)) for run in values[name]) for name in intervals}
    return tuple(
        SummarisedMetric(name, float(np.mean(means[name])), interval, means[name])
        for name, interval in intervals.items()
    )


def significantly_worse(comparison: RunComparison, metrics: Sequence[str]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Whether the second side is worse than the first one, beyond chance.

    Args:
        comparison: the two sides.
        metrics: any of which decides.

    Returns:
        Each metric's p-value, corrected for there being several of them (see `holm`), and the metrics in which the
        second side is worse with such a p-value below `SIGNIFICANT`.

    Raises:
        InputError: a metric was not compared, for no query counts in it.
    """
    compared = {row.metric: row.test for row in comparison.metrics}
    absent = [name for name in metrics if name not in compared]
    if absent:
        raise InputError(f"expected queries that count in {', '.join(absent)}, received none; give other gate metrics")
    corrected = holm({name: compared[name].p_value for name in metrics})
    worse = [name for name, p in corrected.items() if p < SIGNIFICANT and compared[name].difference < 0]
    return corrected, tuple(worse)


def _check_sides(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> None:
    if not a or len(a) != len(b):
        raise InputError(
            f"expected as many runs on one side as on the other, paired in order, received {len(a)} and {len(b)}"
        )
    for side in (a, b):
        names = [run.name for run in side]
        if len(set(names)) < len(names):
            raise InputError(f"expected each run of a side once, received {', '.join(names)}")


def _check_metrics(runs: Sequence[MeasuredRun], metrics: Sequence[str]) -> None:
    for run in runs:
        absent = [name for name in metrics if name not in run.values]
        if absent:
            raise InputError(
                f"{run.name}: expected metrics among {', '.join(run.values)}; received {', '.join(absent)}"
            )


def _common(a: MeasuredRun, b: MeasuredRun) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the queries that both have, in the same order."""
    shared, rows_a, rows_b = np.intersect1d(a.ids, b.ids, assume_unique=True, return_indices=True)
    described = {"labels": (a.labels[rows_a], b.labels[rows_b]), "splits": (a.splits[rows_a], b.splits[rows_b])}
    for what, (here, there) in described.items():
        other = np.flatnonzero(here != there)
        if other.size:
            at = other[0]
            raise InputError(
                f"expected items with the same {what} in both runs, received {len(other)} that differ, such as "
                f"{shared[at]}: {str(here[at])!r} in {a.name}, {str(there[at])!r} in {b.name}; "
                "compare runs of the same data and seed"
            )
    _, rows_a, rows_b = np.intersect1d(a.queries, b.queries, assume_unique=True, return_indices=True)
    if not len(rows_a):
        raise InputError(
            f"expected queries that both {a.name} and {b.name} have, received none in common among "
            f"{len(a.queries)} and {len(b.queries)}; compare runs of the same data"
        )
    return rows_a, rows_b


def _paired_means(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[float, float]:
    """Means over the pairs in which both count, so that their difference is the difference of the test."""
    both = [~np.isnan(first + second) for first, second in zip(a, b, strict=True)]
    first, second = (np.mean([run[mask].mean() for run, mask in zip(side, both, strict=True)]) for side in (a, b))
    return float(first), float(second)
