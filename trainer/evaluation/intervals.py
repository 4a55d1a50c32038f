"""How sure a mean over queries is, and whether two of them differ: resampling of queries.

What is random here is which queries were asked. That a training run begins by chance, too, only several runs can show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from trainer.errors import InputError

__all__ = ["PairedTest", "Runs", "bootstrap_interval", "bootstrap_intervals", "holm", "paired_test", "paired_tests"]

Runs = np.ndarray | Sequence[np.ndarray]
"""Values of the queries of one run, `[Q]`, or of several runs, one array each."""

CELLS = 4_194_304
_ROUNDING = 1e-12
"""Means that differ by no more are the same mean, summed up in another order."""


@dataclass(frozen=True)
class PairedTest:
    """What the same queries say about two models.

    Args:
        difference: mean of b - a over the queries: above 0 where the second model is better.
        interval: of the difference: its low and its high end.
        p_value: two-sided, in `(0, 1]`.
        queries: how many pairs counted.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    queries: int


def bootstrap_interval(
    values: Runs, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of a mean over queries: a bias-corrected and accelerated bootstrap (BCa).

    As many queries as there are get drawn anew, with repeats, `resamples` times; the interval lies between two
    quantiles of the means. The quantiles are shifted for the skew of the values: a hit rate close to 1 can be wrong by
    more downwards than upwards, which plain percentiles miss. B. Efron, "Better Bootstrap Confidence Intervals", JASA
    82 (1987); for several samples: T. J. DiCiccio, B. Efron, "Bootstrap Confidence Intervals", Statistical Science 11
    (1996). `scipy.stats.bootstrap` does the same for one sample, in memory that grows with the square of it.

    Departures: where all values are the same, a resample cannot show what was not seen, and the bootstrap would answer
    an interval of width 0. Instead the unseen share of other queries is bounded as C. J. Clopper and E. S. Pearson do
    (Biometrika 26, 1934) when 0 of Q fail: 12 queries, all right, answer [0.74, 1], and not [1, 1].

    Args:
        values: `[Q]` numbers in [0, 1], NaN for a query that does not count; or one such array a run. The mean of
            several runs is the mean of their means, and queries are drawn inside each run.
        resamples: how many. Default 2000: the ends then vary with the seed by some 2 % of the interval's width.
        confidence: how often such an interval holds the true mean. Default 0.95.
        seed: of the draws.

    Returns:
        The low end and the high end.

    Raises:
        InputError: no value counts in one of the runs, or `resamples` or `confidence` is impossible.
    """
    found = bootstrap_intervals({"values": values}, resamples=resamples, confidence=confidence, seed=seed)
    if not found:
        raise InputError("expected at least one query that counts in every run, received none; an interval needs some")
    return found["values"]


def bootstrap_intervals(
    values: Mapping[str, Runs],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of several metrics over the same queries, which are drawn once for all of them.

    Args:
        values: name to values as in `bootstrap_interval`; of the same queries in the same order.
        resamples: see `bootstrap_interval`.
        confidence: see `bootstrap_interval`.
        seed: see `bootstrap_interval`.
        progress: whether to show a progress bar on standard error.

    Returns:
        Name to low and high end. A metric for which a run has no query that counts is left out.

    Raises:
        InputError: the numbers of queries differ, or `resamples` or `confidence` is impossible.
    """
    _check(resamples, confidence)
    intervals: dict[str, tuple[float, float]] = {}
    for names, runs in _alike(values):
        ends = _bca(runs, resamples, confidence, seed, progress)
        mean, spread = _mean(runs), _influence(runs).any(axis=0)
        unseen = 1 - ((1 - confidence) / 2) ** (1 / sum(map(len, runs)))
        ends = np.where(spread, ends, [mean - unseen * mean, mean + unseen * (1 - mean)])
        intervals |= {name: (float(ends[0, at]), float(ends[1, at])) for at, name in enumerate(names)}
    return {name: intervals[name] for name in values if name in intervals}


def paired_test(a: Runs, b: Runs, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0) -> PairedTest:
    """Whether one model is better than another, by the same queries asked of both.

    The p-value is that of a permutation test. If the models were equally good, it would be chance which of the two
    had which result for a query, so the signs of the differences are drawn at random, and the p-value is `(1 + how
    often the mean is at least as far from 0 as the one found) / (1 + resamples)`: counting the result itself keeps it
    from being 0 and the test from being too bold (B. Phipson, G. K. Smyth, "Permutation P-values Should Never Be
    Zero", 2010). For retrieval: M. D. Smucker, J. Allan, B. Carterette, "A Comparison of Statistical Significance Tests
    for Information Retrieval Evaluation", CIKM 2007. The interval is the bootstrap's (see `bootstrap_interval`), and
    where the p-value is above `1 - confidence` it is extended to 0: where few queries differ and all of them one way,
    no resample goes the other way, while the test knows how easily that comes about (four of 526 say p = 0.125).

    With several runs the difference is the mean of theirs. Queries are taken as independent, though runs of other seeds
    may ask the same item again: with many such the interval is a little too narrow.

    Args:
        a: `[Q]` values of the first model, NaN for a query that does not count; or one such array a run.
        b: values of the second model for the same queries in the same order. A pair counts when both of it do.
        resamples: how many draws, for the p-value and for the interval.
        confidence: of the interval.
        seed: of the draws.

    Returns:
        The difference b - a with its interval and p-value.

    Raises:
        InputError: the queries do not match, no pair counts in one of the runs, or `resamples` or `confidence` is
            impossible.
    """
    found = paired_tests({"values": a}, {"values": b}, resamples=resamples, confidence=confidence, seed=seed)
    if not found:
        raise InputError("expected at least one query that counts for both models in every run, received none")
    return found["values"]


def paired_tests(
    a: Mapping[str, Runs],
    b: Mapping[str, Runs],
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, PairedTest]:
    """`paired_test` of every metric that both have, over the same queries, which are drawn once for all of them.

    Args:
        a: name to values as in `paired_test`; of the same queries in the same order.
        b: the same of the second model.
        resamples: see `paired_test`.
        confidence: see `paired_test`.
        seed: see `paired_test`.
        progress: whether to show a progress bar on standard error.

    Returns:
        Name to test. A metric for which a run has no pair that counts is left out.

    Raises:
        InputError: the queries do not match, or `resamples` or `confidence` is impossible.
    """
    _check(resamples, confidence)
    differences = {name: _differences(a[name], b[name]) for name in a if name in b}
    tests = {}
    for names, runs in _alike(differences):
        mean, p_values = _mean(runs), _sign_flips(runs, resamples, seed, progress)
        ends = np.where(_influence(runs).any(axis=0), _bca(runs, resamples, confidence, seed, progress), mean)
        with_zero = [np.minimum(ends[0], 0), np.maximum(ends[1], 0)]
        low, high = np.where(p_values > 1 - confidence, with_zero, ends)
        for at, name in enumerate(names):
            interval = float(low[at]), float(high[at])
            tests[name] = PairedTest(float(mean[at]), interval, float(p_values[at]), sum(map(len, runs)))
    return {name: tests[name] for name in differences if name in tests}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for there being several: any of them below 0.05 by chance happens in 5 % of cases at most.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979): the
    i-th smallest of m (from 1) times `m - i + 1`, never below the one before it, at most 1.

    Args:
        p_values: name to p-value.

    Returns:
        The same names in the same order.
    """
    smallest = sorted(p_values, key=lambda name: p_values[name])
    scaled = [p_values[name] * (len(smallest) - place) for place, name in enumerate(smallest)]
    corrected = dict(zip(smallest, np.minimum(np.maximum.accumulate([0.0, *scaled])[1:], 1.0).tolist(), strict=True))
    return {name: corrected[name] for name in p_values}


def _check(resamples: int, confidence: float) -> None:
    if resamples < 1 or not 0 < confidence < 1:
        raise InputError(
            f"expected at least one resample and a confidence between 0 and 1, received {resamples} and {confidence}"
        )


def _listed(values: Runs) -> list[np.ndarray]:
    runs = [values] if isinstance(values, np.ndarray) else list(values)
    return [np.asarray(run, dtype=np.float64) for run in runs]


def _differences(a: Runs, b: Runs) -> list[np.ndarray]:
    first, second = _listed(a), _listed(b)
    if [run.shape for run in first] != [run.shape for run in second]:
        raise InputError(
            "expected values of the same queries from both models, "
            f"received {[len(run) for run in first]} and {[len(run) for run in second]}"
        )
    return [after - before for before, after in zip(first, second, strict=True)]


def _alike(values: Mapping[str, Runs]) -> list[tuple[list[str], list[np.ndarray]]]:
    """Metrics for which the same queries count, together: their names `[M]`, and for each run its values `[Q, M]`.

    Drawing among the queries that count is what the definition says, and one draw then serves all of these metrics.
    """
    groups: dict[bytes, tuple[list[str], list[np.ndarray], list[list[np.ndarray]]]] = {}
    for name, given in values.items():
        runs = _listed(given)
        counts = [~np.isnan(run) for run in runs]
        if not runs or not all(mask.any() for mask in counts):
            continue
        key = np.packbits(np.concatenate(counts)).tobytes()
        names, _, columns = groups.setdefault(key, ([], counts, []))
        names.append(name)
        columns.append([run[mask] for run, mask in zip(runs, counts, strict=True)])
    lengths = {tuple(map(len, counts)) for _, counts, _ in groups.values()}
    if len(lengths) > 1:
        raise InputError(f"expected values of the same queries for every metric, received {sorted(lengths)} of them")
    return [
        (names, [np.stack(run, axis=1) for run in zip(*columns, strict=True)]) for names, _, columns in groups.values()
    ]


def _mean(runs: list[np.ndarray]) -> np.ndarray:
    """`[M]`: the mean of the runs' means."""
    return np.mean([run.mean(axis=0) for run in runs], axis=0)


def _influence(runs: list[np.ndarray]) -> np.ndarray:
    """`[Q, M]`: by how much each query moves the mean; all 0 where the values of each run are the same."""
    parts = [(run - run.mean(axis=0)) / (len(runs) * len(run)) for run in runs]
    influence = np.concatenate(parts)
    influence[np.abs(influence) < _ROUNDING / len(influence)] = 0
    return influence


def _bca(runs: list[np.ndarray], resamples: int, confidence: float, seed: int, progress: bool) -> np.ndarray:
    """`[2, M]`: low and high ends; NaN or nonsense where there is no spread."""
    means, mean, influence = _resampled_means(runs, resamples, seed, progress), _mean(runs), _influence(runs)
    below = (means < mean - _ROUNDING).mean(axis=0)
    ties = (np.abs(means - mean) <= _ROUNDING).mean(axis=0)
    # Half a resample keeps the shift finite where all of them lie on one side.
    bias = norm.ppf(np.clip(below + ties / 2, 0.5 / resamples, 1 - 0.5 / resamples))
    squares = (influence**2).sum(axis=0)
    skew = (influence**3).sum(axis=0) / np.where(squares > 0, 6 * squares**1.5, 1)
    tail = np.array([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    shifted = bias + norm.ppf(tail)
    levels = norm.cdf(bias + shifted / (1 - skew * shifted))
    return np.stack([np.quantile(means[:, at], levels[:, at]) for at in range(means.shape[1])], axis=1)


def _resampled_means(runs: list[np.ndarray], resamples: int, seed: int, progress: bool) -> np.ndarray:
    """`[B, M]`: means of queries drawn anew inside each run. Memory does not grow with B x Q."""
    draw = np.random.default_rng(seed)
    means = np.zeros((resamples, runs[0].shape[1]))
    with tqdm(total=resamples * len(runs), desc="bootstrap", unit="resample", disable=not progress, leave=False) as bar:
        for run in runs:
            size = len(run)
            for rows in _chunks(resamples, size):
                count = rows.stop - rows.start
                drawn = draw.integers(0, size, size=(count, size)) + np.arange(count)[:, None] * size
                times = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
                means[rows] += times.astype(np.float64) @ run / (size * len(runs))
                bar.update(count)
    return means


def _sign_flips(runs: list[np.ndarray], resamples: int, seed: int, progress: bool) -> np.ndarray:
    """`[M]` p-values of the mean of the runs' means being 0."""
    shares = np.concatenate([run / (len(runs) * len(run)) for run in runs])
    found = np.abs(shares.sum(axis=0))
    shares = shares[(shares != 0).any(axis=1)]  # the sign of 0 does not matter
    draw = np.random.default_rng(seed)
    as_far = np.zeros(shares.shape[1], dtype=np.int64)
    with tqdm(total=resamples, desc="permutations", unit="resample", disable=not progress, leave=False) as bar:
        for rows in _chunks(resamples, len(shares)):
            count = rows.stop - rows.start
            signs = draw.integers(0, 2, size=(count, len(shares)), dtype=np.int8) * 2.0 - 1.0
            as_far += (np.abs(signs @ shares) >= found - _ROUNDING).sum(axis=0)
            bar.update(count)
    return (1 + as_far) / (1 + resamples)


def _chunks(resamples: int, size: int) -> list[slice]:
    step = max(1, CELLS // max(1, size))
    return [slice(start, min(start + step, resamples)) for start in range(0, resamples, step)]
