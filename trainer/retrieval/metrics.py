"""How good a retrieval is. Every metric is a function of a `JudgedRanking` and answers one number per query.

A gallery row is *relevant* to a query when both carry the same label; R is how many relevant rows the gallery holds,
the query's own row left out. A query with R = 0 belongs to a *lone class*: nothing it could find is right.

| metric         | per query                                  | lone classes         |
| -------------- | ------------------------------------------ | -------------------- |
| hit_rate@K     | 1 if any of the K nearest is relevant      | 0, counted           |
| precision@K    | relevant among the K nearest / K           | 0, counted           |
| recall@K       | relevant among the K nearest / R           | left out of the mean |
| MAP@R          | 1/R * sum of precision@i at relevant i <= R | left out of the mean |
| MRR            | 1 / rank of the first relevant             | left out of the mean |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from trainer.errors import InputError
from trainer.retrieval.neighbours import RetrievalResult, own_rows
from trainer.retrieval.similarity import CosineBlocks, best_columns
from trainer.retrieval.table import EmbeddingTable

__all__ = [
    "JudgedRanking",
    "hit_rate",
    "map_at_r",
    "precision",
    "recall",
    "reciprocal_rank",
    "relevance",
    "retrieval_metrics",
]

CELLS = 8_388_608


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
    (R@K); neither is what `precision` and `recall` below measure. As in that table a query of a lone class is a miss,
    though it cannot be anything else.

    Args:
        judged: the ranking.
        k: how many neighbours count.

    Returns:
        `[Q]` float64, 0 or 1.
    """
    return np.asarray(judged.relevant[:, :k].any(axis=1), dtype=np.float64)


def precision(judged: JudgedRanking, k: int) -> np.ndarray:
    """precision@K: `(rel_1 + ... + rel_K) / K`.

    Departures: none from the usual; note that a query with R < K cannot reach 1, and that a query of a lone class
    counts as 0, as in `hit_rate`.

    Args:
        judged: the ranking.
        k: how many neighbours count; the divisor even where the gallery holds fewer.

    Returns:
        `[Q]` float64 in `[0, 1]`.
    """
    found: np.ndarray = judged.relevant[:, :k].sum(axis=1)
    return found / k


def recall(judged: JudgedRanking, k: int) -> np.ndarray:
    """recall@K: `(rel_1 + ... + rel_K) / R`.

    Departures: none from information retrieval; what metric learning calls Recall@K is `hit_rate`. A query with R > K
    cannot reach 1.

    Args:
        judged: the ranking.
        k: how many neighbours count.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a query of a lone class (R = 0), to be left out of the mean.
    """
    return _per_match(judged.relevant[:, :k].sum(axis=1), judged.total)


def map_at_r(judged: JudgedRanking) -> np.ndarray:
    """MAP@R: `1/R * sum over i = 1..R of rel_i * precision@i` (its mean over queries gives the name).

    It rewards every relevant row among the first R, the earlier the more, and is 1 exactly when the R nearest are the
    R relevant ones. K. Musgrave, S. Belongie, S.-N. Lim, "A Metric Learning Reality Check", ECCV 2020, section 3.2.

    Departures: average precision sums over the whole ranking; this stops at rank R.

    Args:
        judged: the ranking, of depth D at least the largest R.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN for a query of a lone class (R = 0), to be left out of the mean.

    Raises:
        ValueError: the ranking is shallower than R.
    """
    depth = judged.relevant.shape[1]
    if judged.total.max(initial=0) > depth:
        raise ValueError(f"expected a ranking of depth {judged.total.max()} (the largest R), received {depth}")
    rank = np.arange(1, depth + 1)
    counted = judged.relevant & (rank <= judged.total[:, None])
    return _per_match((counted * (counted.cumsum(axis=1) / rank)).sum(axis=1), judged.total)


def reciprocal_rank(judged: JudgedRanking) -> np.ndarray:
    """MRR's term: `1 / rank of the first relevant row`, over the whole gallery.

    Departures: no cut-off rank, where MRR@K would count 0 past rank K.

    Args:
        judged: the ranking.

    Returns:
        `[Q]` float64 in `(0, 1]`, NaN for a query of a lone class (R = 0), to be left out of the mean.
    """
    return _per_match(np.ones(len(judged.first)), judged.first)


def relevance(result: RetrievalResult, queries: EmbeddingTable, gallery: EmbeddingTable) -> np.ndarray:
    """`[Q, K]` booleans: whether each neighbour carries its query's label."""
    same: np.ndarray = gallery.labels[result.rows] == queries.labels[result.queries][:, None]
    return same


def retrieval_metrics(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    ks: Sequence[int] = (1, 5, 10),
    *,
    same_table: bool,
    cells: int = CELLS,
    progress: bool = False,
) -> dict[str, int | float | None]:
    """All metrics of one query table against one gallery, exactly, by cosine similarity.

    Equal similarities rank by gallery row. Memory beside the tables is about 16 bytes x `cells` (128 MiB), or one row
    of the gallery where that is more: it does not grow with queries x gallery.

    Args:
        queries: Q rows.
        gallery: N rows.
        ks: the K of hit_rate@K, precision@K and recall@K. Where the gallery holds fewer than K other rows, the ranks it
            lacks count as wrong.
        same_table: True when the queries are rows of the gallery (all of it, or some): each query's own row, found by
            its id, is left out. False when they are other pictures: nothing is left out, even where ids agree.
        cells: how many similarities to hold at a time.
        progress: whether to show a progress bar on standard error.

    Returns:
        `queries` and `queries_without_match` (those of lone classes) as counts, then the means over queries as
        `hit_rate@K`, `precision@K` and `recall@K` for each K, `map@r` and `mrr`. None where no query counts.

    Raises:
        InputError: a K is less than 1, the dimensions differ, `same_table` is set and a query is not in the gallery, or
            the gallery holds nothing to find.
    """
    if not ks or min(ks) < 1:
        raise InputError(f"expected one or more K of at least 1, received {list(ks)}; give for example 1, 5 and 10")
    exclude = _excluded(queries, gallery) if same_table else None
    blocks = CosineBlocks(queries, gallery, exclude)
    if blocks.available < 1:
        raise InputError(f"expected a gallery with another row than the query, received {len(gallery)} row in all")
    query_codes, gallery_codes = _codes(queries, gallery)
    total = np.bincount(gallery_codes, minlength=query_codes.max() + 1)[query_codes]
    if exclude is not None:
        total = total - (gallery_codes[exclude] == query_codes)

    values: dict[str, np.ndarray] = {}
    chunk = max(1, cells // len(gallery))
    # By R, so that a chunk is ranked no deeper than its own queries need.
    by_total = np.argsort(total, kind="stable")
    with tqdm(total=len(queries), desc="retrieval metrics", unit="query", disable=not progress) as bar:
        for start in range(0, len(queries), chunk):
            asked = by_total[start : start + chunk]
            depth = min(max(*ks, int(total[asked].max())), blocks.available)
            scores = blocks.scores(blocks.unit_queries(asked), asked, 0, len(gallery))
            judged = _judge(scores, query_codes[asked], gallery_codes, total[asked], depth)
            for name, value in _per_query(judged, ks).items():
                values.setdefault(name, np.empty(len(queries)))[asked] = value
            bar.update(len(asked))
    counts = {"queries": len(queries), "queries_without_match": int((total == 0).sum())}
    return counts | {name: _mean(value) for name, value in values.items()}


def _per_query(judged: JudgedRanking, ks: Sequence[int]) -> dict[str, np.ndarray]:
    at_k = {"hit_rate": hit_rate, "precision": precision, "recall": recall}
    values = {f"{name}@{k}": metric(judged, k) for name, metric in at_k.items() for k in ks}
    return values | {"map@r": map_at_r(judged), "mrr": reciprocal_rank(judged)}


def _judge(scores: np.ndarray, query: np.ndarray, gallery: np.ndarray, total: np.ndarray, depth: int) -> JudgedRanking:
    """Ranks whole rows of scores `[q, N]` down to `depth`; `query` `[q]` and `gallery` `[N]` are codes of labels."""
    columns, _ = best_columns(scores, depth)
    relevant = gallery[columns] == query[:, None]
    first = np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1, 0)
    for row in np.flatnonzero((first == 0) & (total > 0)):
        own = np.where(gallery == query[row], scores[row], -np.inf)
        best = int(own.argmax())
        before = (scores[row] > own[best]).sum() + (scores[row, :best] == own[best]).sum()
        first[row] = 1 + before
    return JudgedRanking(relevant=relevant, total=total, first=first)


def _codes(queries: EmbeddingTable, gallery: EmbeddingTable) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both tables as int64 that are equal where the labels are."""
    _, codes = np.unique(np.concatenate([queries.labels, gallery.labels]), return_inverse=True)
    return codes[: len(queries)], codes[len(queries) :]


def _excluded(queries: EmbeddingTable, gallery: EmbeddingTable) -> np.ndarray:
    rows = own_rows(queries, gallery)
    if (rows < 0).any():
        strange = str(queries.ids[int(rows.argmin())])
        raise InputError(
            f"expected every query to be a row of the gallery (same_table), received {int((rows < 0).sum())} that are "
            f"not, such as {strange!r}; give the gallery that holds them, or same_table=False"
        )
    return rows


def _per_match(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    shares = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=shares, where=denominator > 0)
    return shares


def _mean(values: np.ndarray) -> float | None:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else None
