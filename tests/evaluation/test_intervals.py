"""Intervals and tests hold what they promise, by simulation and by hand."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy import stats

from trainer.errors import InputError
from trainer.evaluation import intervals
from trainer.evaluation.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    paired_test,
    paired_tests,
)


def covered(values: dict[str, np.ndarray], truth: float, **settings: float) -> float:
    """The share of experiments, each of them a name, whose interval holds the truth."""
    ends = np.array(list(bootstrap_intervals(values, **settings).values()))
    assert len(ends) == len(values)
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


def experiments(draw, count: int) -> dict[str, np.ndarray]:
    return {str(at): draw() for at in range(count)}


@pytest.mark.parametrize(
    ("truth", "queries", "lowest"),
    [(0.5, 100, 0.93), (0.93, 200, 0.93), (0.98, 100, 0.93), (0.99, 30, 0.95)],
)
def test_95_of_100_intervals_hold_the_true_hit_rate(truth, queries, lowest):
    draw = np.random.default_rng(3)
    values = experiments(lambda: (draw.random(queries) < truth).astype(float), 600)
    share = covered(values, truth, resamples=1000)
    assert lowest <= share
    if truth == 0.5:
        assert share < 0.97, "an interval that always holds says nothing"


def test_percentiles_alone_would_not_do():
    """Why the interval is BCa: this is what its shift and its care for what was not seen are for."""
    draw = np.random.default_rng(3)
    values = np.stack([(draw.random(100) < 0.98).astype(float) for _ in range(600)], axis=1)
    means = intervals._resampled_means([values], 1000, seed=0, progress=False)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    assert ((low <= 0.98) & (high >= 0.98)).mean() < 0.9


def test_the_confidence_is_the_one_asked_for():
    draw = np.random.default_rng(4)
    values = experiments(lambda: draw.beta(8, 2, 200), 600)
    assert 0.77 <= covered(values, 0.8, confidence=0.8, resamples=1000) <= 0.83
    assert 0.92 <= covered(values, 0.8, confidence=0.95, resamples=1000) <= 0.98


def test_one_sample_is_as_scipy_has_it():
    values = np.random.default_rng(5).beta(5, 0.5, 30)
    ours = bootstrap_interval(values, resamples=40_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(0))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-3)
    plain = np.quantile(intervals._resampled_means([values[:, None]], 40_000, 0, False), [0.025, 0.975])
    assert abs(plain - theirs.confidence_interval).max() > 3e-3, "this sample does not tell BCa from percentiles"


def test_what_was_not_seen_may_be_there_all_the_same():
    # No failure in 12: the share f of failures for which that has a chance of 2.5 % is 1 - 0.025 ** (1 / 12).
    assert bootstrap_interval(np.ones(12)) == pytest.approx((0.735, 1.0), abs=5e-4)
    assert bootstrap_interval(np.zeros(12)) == pytest.approx((0.0, 0.265), abs=5e-4)
    assert bootstrap_interval(np.full(12, 0.4)) == pytest.approx((0.294, 0.559), abs=5e-4)
    assert bootstrap_interval(np.ones(1)) == pytest.approx((0.025, 1.0))
    assert bootstrap_interval(np.ones(12), confidence=0.9) == pytest.approx((0.05 ** (1 / 12), 1.0))
    assert bootstrap_interval([np.ones(6), np.ones(6)]) == bootstrap_interval(np.ones(12))


def test_queries_that_do_not_count_are_left_out():
    values = np.random.default_rng(6).random(50)
    holed = np.insert(values, [0, 10, 50], np.nan)
    assert bootstrap_interval(holed) == bootstrap_interval(values)
    found = bootstrap_intervals({"b": holed, "none": np.full(53, np.nan), "a": np.insert(values, [0, 0, 0], 0.5)})
    assert list(found) == ["b", "a"]
    assert found["b"] == bootstrap_interval(values)


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly_so():
    values = np.random.default_rng(7).random(100)
    first = bootstrap_interval(values)
    assert bootstrap_interval(values) == first
    other = bootstrap_interval(values, seed=1)
    assert other != first
    assert other == pytest.approx(first, abs=0.1 * (first[1] - first[0]))


def test_chunks_are_no_part_of_the_result(monkeypatch):
    values = np.random.default_rng(8).random(100)
    whole = bootstrap_interval(values), paired_test(values, values[::-1])
    monkeypatch.setattr(intervals, "CELLS", 1000)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx(whole[0], abs=0.1 * (high - low))
    assert paired_test(values, values[::-1]).p_value == pytest.approx(whole[1].p_value, abs=0.03)


def test_several_runs_weigh_the_same_and_are_drawn_apart():
    draw = np.random.default_rng(9)
    small, large = draw.normal(0.9, 0.02, 50), draw.normal(0.1, 0.02, 500)
    low, high = bootstrap_interval([small, large], resamples=4000)
    assert (low + high) / 2 == pytest.approx((small.mean() + large.mean()) / 2, abs=1e-3)
    # The error of a mean of means; drawn from one heap, the values' distance from each other would make it much wider.
    error = np.hypot(small.std() / np.sqrt(50), large.std() / np.sqrt(500)) / 2
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bootstrap_interval(np.array([np.nan])), "at least one query"),
        (lambda: bootstrap_interval([np.ones(3), np.full(2, np.nan)]), "in every run"),
        (lambda: bootstrap_interval([]), "at least one query"),
        (lambda: bootstrap_interval(np.ones(3), resamples=0), "at least one resample"),
        (lambda: bootstrap_interval(np.ones(3), confidence=1.0), "between 0 and 1"),
        (lambda: bootstrap_intervals({"a": np.ones(3), "b": np.ones(4)}), "same queries"),
        (lambda: paired_test(np.ones(3), np.ones(4)), "same queries"),
        (lambda: paired_test([np.ones(3)], [np.ones(3), np.ones(3)]), "same queries"),
        (lambda: paired_test(np.array([1, np.nan]), np.array([np.nan, 1])), "counts for both"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_a_paired_test_by_hand():
    # Of 2 ** 5 ways to set five equal signs, two have a mean as far from 0 as all of one sign.
    a, b = np.zeros(8), np.array([0.5] * 5 + [0, 0, 0])
    found = paired_test(a, b, resamples=40_000)
    assert found.difference == pytest.approx(2.5 / 8)
    assert found.p_value == pytest.approx(2 / 32, abs=0.005)
    assert found.queries == 8
    turned = paired_test(b, a, resamples=40_000)
    assert turned.difference == -found.difference
    assert turned.p_value == pytest.approx(found.p_value, abs=0.005)
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=0.03)
    # The smallest p-value that is possible: the result itself is one of the draws.
    assert paired_test(np.zeros(100), np.ones(100), resamples=99).p_value == 0.01


def test_a_permutation_test_as_scipy_has_it():
    draw = np.random.default_rng(10)
    a, b = draw.random(10), draw.random(10) + 0.15
    exact = stats.permutation_test((b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert 0.02 < exact.pvalue < 0.5
    assert paired_test(a, b, resamples=40_000).p_value == pytest.approx(exact.pvalue, abs=0.008)


def test_the_interval_does_not_claim_what_the_test_denies():
    # Four queries of 526 are better and none is worse: 2 of 16 ways to set four signs are as far from 0.
    a, b = np.zeros(526), np.r_[np.ones(4), np.zeros(522)]
    found = paired_test(a, b)
    assert found.p_value == pytest.approx(0.125, abs=0.02)
    assert found.interval[0] == 0.0
    assert found.interval[1] > 4 / 526
    turned = paired_test(b, a)
    assert turned.interval[1] == 0.0
    surer = paired_test(a, np.r_[np.ones(8), np.zeros(518)])
    assert surer.p_value < 0.05
    assert 0 < surer.interval[0] < 8 / 526 < surer.interval[1]


def test_equal_models_do_not_differ():
    values = np.random.default_rng(11).random(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_test(values, values)
    assert (found.difference, found.interval, found.p_value, found.queries) == (0.0, (0.0, 0.0), 1.0, 30)
    shifted = paired_test(values, values + 0.25)
    assert shifted.interval == pytest.approx((0.25, 0.25))


def test_a_pair_counts_when_both_do():
    nan = np.nan
    found = paired_test(np.array([nan, 1, 0, 0]), np.array([1, nan, 1, 0]))
    assert (found.difference, found.queries) == (0.5, 2)
    several = paired_tests(
        {"x": np.zeros(4), "none": np.full(4, nan), "only a": np.ones(4)}, {"none": np.ones(4), "x": np.ones(4)}
    )
    assert list(several) == ["x"]


def null_p_values(share: float, count: int, queries: int, gain: float = 0.0) -> np.ndarray:
    """p-values of hit rates of two models that are right independently, the second one more often by `gain`."""
    draw = np.random.default_rng(12)
    a = experiments(lambda: (draw.random(queries) < share).astype(float), count)
    b = experiments(lambda: (draw.random(queries) < share + gain).astype(float), count)
    return np.array([test.p_value for test in paired_tests(a, b, resamples=1000).values()])


def test_where_there_is_no_difference_5_of_100_tests_find_one_at_most():
    p_values = null_p_values(0.9, 800, 150)
    assert 0.02 <= (p_values < 0.05).mean() <= 0.065
    assert 0.13 <= (p_values < 0.2).mean() <= 0.23


def test_where_there_is_a_difference_the_test_finds_it():
    assert (null_p_values(0.8, 200, 300, gain=0.12) < 0.05).mean() > 0.95


def test_several_runs_are_surer_than_one():
    draw = np.random.default_rng(13)
    a = [draw.random(60) for _ in range(4)]
    b = [run + draw.normal(0.03, 0.12, 60) for run in a]
    one, all_of_them = paired_test(a[0], b[0]), paired_test(a, b)
    assert all_of_them.queries == 240
    assert all_of_them.difference == pytest.approx(np.mean([np.mean(y - x) for x, y in zip(a, b, strict=True)]))
    assert all_of_them.p_value < one.p_value
    assert np.ptp(all_of_them.interval) < 0.7 * np.ptp(one.interval)


def test_runs_of_different_sizes_weigh_the_same():
    runs = [np.array([0.5, 0.4]), np.array([-0.2, -0.25, -0.3, 0.1])]
    weights = np.repeat([1 / 2 / 2, 1 / 2 / 4], [2, 4])
    shares = weights * np.concatenate(runs)
    means = np.abs([np.dot(signs, shares) for signs in itertools.product([-1, 1], repeat=6)])
    exact = (means >= abs(shares.sum()) - 1e-12).mean()
    found = paired_test([np.zeros(2), np.zeros(4)], runs, resamples=20_000)
    assert found.difference == pytest.approx(shares.sum())
    assert found.p_value == pytest.approx(exact, abs=0.012)
    pooled = paired_test(np.zeros(6), np.concatenate(runs), resamples=20_000)
    assert abs(pooled.p_value - exact) > 0.05, "these runs do not tell"


def test_several_metrics_are_tested_as_each_alone():
    draw = np.random.default_rng(14)
    a = {name: draw.random(40) for name in "xyz"}
    b = {name: values + draw.normal(0, 0.1, 40) for name, values in a.items()}
    together = paired_tests(a, b)
    for name, test in together.items():
        assert test.p_value == pytest.approx(paired_test(a[name], b[name]).p_value, abs=0.02)
        assert test.interval == pytest.approx(paired_test(a[name], b[name]).interval)


def test_holm_by_hand():
    # Smallest of three times 3; the next times 2; the last times 1, but not below the one before.
    assert holm({"c": 0.03, "a": 0.01, "d": 0.04}) == pytest.approx({"c": 0.06, "a": 0.03, "d": 0.06})
    assert holm({"a": 0.5, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.04}) == {"a": 0.04}
    assert holm({}) == {}
