"""How good a ranking is. Every metric is a function of a `JudgedRanking` and answers one number per query.

A gallery row is *relevant* to a query when both carry the same label; R is how many relevant rows the gallery holds,
the query's own row left out. A query with R = 0 is *lone*: nothing it could find is right and nothing it could do is
wrong, so it has NaN in every metric, is left out of every mean, and is counted apart.

| metric      | per query                                   | not to be confused with                              |
| ----------- | ------------------------------------------- | ---------------------------------------------------- |
| hit_rate@K  | 1 if any of the K nearest is relevant       | metric learning calls it Recall@K, the published     |
|             |                                             | notebook Precision@K                                 |
| precision@K | relevant among the K nearest / K            | the notebook's Precision@K, which is hit_rate@K      |
| recall@K    | relevant among the K nearest / R            | metric learning's Recall@K, which is hit_rate@K      |
| r_precision | relevant among the R nearest / R            |                                                      |
| map@r       | 1/R * sum of precision@i at relevant i <= R | average precision, which goes on past rank R         |
| mrr         | 1 / rank of the first relevant              | MRR@K, which is 0 past rank K                        |
| ndcg@K      | DCG@K of grades / the best possible         | see `trainer.retrieval.graded`                       |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trainer.retrieval.neighbours import RetrievalResult
from trainer.retrieval.table import EmbeddingTable

__all__ = [
    "JudgedRanking",
    "hit_rate",
    "map_at_r",
    "precision",
    "r_precision",
    "recall",
    "reciprocal_rank",
    "relevance",
]


@dataclass(frozen=True, eq=False)
class JudgedRanking:
    """What some queries found, as right and wrong.

    Args:
        relevant: `[Q, D]` booleans, whether the neighbour at each rank is relevant, best first. The depth D may be less
            than the gallery; ranks past D count as wrong in `hit_rate`, `precision` and `recall`, which is exact as
            long as K is at most D or D is the whole gallery.
        total: `[Q]` int64, R: how many relevant rows the gallery holds for each query.
        first: `[Q]` int64, the rank from 1 of the first relevant row in the **whole** gallery, 0 when there is none.
    """

    relevant: np.ndarray
    total: np.ndarray
    first: np.ndarray

    def __post_init__(self) -> None:
        if self.relevant.ndim != 2 or not self.total.shape == self.first.shape == self.relevant.shape[:1]:
            raise ValueError(
                "expected relevant [Q, D], total [Q] and first [Q]; "
                f"received {self.relevant.shape}, {self.total.shape} and {self.first.shape}"
            )


def hit_rate(judged: JudgedRanking, k: int) -> np.ndarray:
    """hit_rate@K: `max(rel_1, ..., rel_K)`, where rel_i is 1 when the i-th nearest is relevant and 0 otherwise.

    Departures: the published notebook's table calls its mean "Precision@K", the metric learning literature "Recall@K"
    (R@K); neither is what `precision` and `recall` below measure. That table counts a lone query as a miss; here it
    does not count, so ours is the higher where a split has lone queries, and the same where it has none.

    Args:
        judged: the ranking.
        k: how many neighbours count.

    Returns:
        `[Q]` float64, 0 or 1, NaN for a lone query.
    """
    return _of_counted(judged, judged.relevant[:, :k].any(axis=1))


def precision(judged: JudgedRanking, k: int) -> np.ndarray:
    """precision@K: `(rel_1 + ... + rel_K) / K`.

    Departures: none, lone queries aside: it is scikit-learn's `precision_score` of the set of the K nearest. A query
    with R < K cannot reach 1.

    Args:
        judged: the ranking.
        k: how many neighbours count; the divisor even where the gallery holds fewer.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a lone query.
    """
    return _of_counted(judged, judged.relevant[:, :k].sum(axis=1) / k)


def recall(judged: JudgedRanking, k: int) -> np.ndarray:
    """recall@K: `(rel_1 + ... + rel_K) / R`.

    Departures: none from information retrieval, where it is scikit-learn's `recall_score` of the set of the K nearest;
    what metric learning calls Recall@K is `hit_rate`. A query with R > K cannot reach 1.

    Args:
        judged: the ranking.
        k: how many neighbours count.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a lone query.
    """
    return _per_match(judged.relevant[:, :k].sum(axis=1), judged.total)


def r_precision(judged: JudgedRanking) -> np.ndarray:
    """R-precision: `(rel_1 + ... + rel_R) / R`, the rank at which precision and recall are the same number.

    Departures: none. C. Buckley, E. Voorhees, "Evaluating Evaluation Measure Stability", SIGIR 2000.

    Args:
        judged: the ranking, of depth D at least the largest R.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a lone query.

    Raises:
        ValueError: the ranking is shallower than R.
    """
    return _per_match(_down_to_r(judged).sum(axis=1), judged.total)


def map_at_r(judged: JudgedRanking) -> np.ndarray:
    """MAP@R: `1/R * sum over i = 1..R of rel_i * precision@i` (its mean over queries gives the name).

    It rewards every relevant row among the first R, the earlier the more, and is 1 exactly when the R nearest are the
    R relevant ones. K. Musgrave, S. Belongie, S.-N. Lim, "A Metric Learning Reality Check", ECCV 2020, section 3.2.

    Departures: average precision, scikit-learn's `average_precision_score` for one, sums over the whole ranking; this
    stops at rank R, so it is the lower of the two, but for a perfect ranking, where both are 1. It equals the
    `average_precision_score` of the relevant rows among the first R alone, times R-precision.

    Args:
        judged: the ranking, of depth D at least the largest R.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a lone query.

    Raises:
        ValueError: the ranking is shallower than R.
    """
    counted = _down_to_r(judged)
    precision_at = counted.cumsum(axis=1, dtype=np.int32) / np.arange(1, counted.shape[1] + 1)
    return _per_match((counted * precision_at).sum(axis=1), judged.total)


def reciprocal_rank(judged: JudgedRanking) -> np.ndarray:
    """MRR's term: `1 / rank of the first relevant row`, over the whole gallery.

    Departures: no cut-off rank, where MRR@K would count 0 past rank K.

    Args:
        judged: the ranking.

    Returns:
        `[Q]` float64 in `(0, 1]`, NaN for a lone query.
    """
    return _per_match(np.ones(len(judged.first)), judged.first)


def relevance(result: RetrievalResult, queries: EmbeddingTable, gallery: EmbeddingTable) -> np.ndarray:
    """`[Q, K]` booleans: whether each neighbour carries its query's label."""
    same: np.ndarray = gallery.labels[result.rows] == queries.labels[result.queries][:, None]
    return same


def _down_to_r(judged: JudgedRanking) -> np.ndarray:
    """`[Q, max R]` booleans: the relevant ones among the R nearest."""
    deepest, depth = int(judged.total.max(initial=0)), judged.relevant.shape[1]
    if deepest > depth:
        raise ValueError(f"expected a ranking of depth {deepest} (the largest R), received {depth}")
    return judged.relevant[:, :deepest] & (np.arange(deepest) < judged.total[:, None])


def _of_counted(judged: JudgedRanking, values: ArrayLike) -> np.ndarray:
    return np.where(judged.total > 0, values, np.nan)


def _per_match(numerator: ArrayLike, denominator: np.ndarray) -> np.ndarray:
    shares = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=shares, where=denominator > 0)
    return shares
