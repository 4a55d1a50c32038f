"""The metrics of every query of a table, and what they are on the whole, by class, and for some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from trainer.errors import InputError
from trainer.retrieval import metrics
from trainer.retrieval.graded import Grades, ndcg
from trainer.retrieval.metrics import JudgedRanking
from trainer.retrieval.neighbours import RetrievalResult, own_rows
from trainer.retrieval.similarity import CosineBlocks, best_columns
from trainer.retrieval.table import EmbeddingTable

__all__ = ["QueryMetrics", "judge_result", "measure_queries", "retrieval_metrics"]

CELLS = 16_777_216
RANKED_CELLS = 1_048_576
"""So many similarities are ranked and judged at a time: few enough to stay in the processor's cache."""
BY_LABEL: Mapping[str, float] = {"label": 1.0}


@dataclass(frozen=True, eq=False)
class QueryMetrics:
    """What each of Q queries scored.

    Args:
        ids: `[Q]` strings, of the queries.
        labels: `[Q]` strings, theirs.
        lone: `[Q]` booleans, True where the gallery holds nothing relevant to find (R = 0). Such a query has NaN in
            every value and is counted apart.
        values: name of a metric to `[Q]` float64, NaN where the query does not count.
    """

    ids: np.ndarray
    labels: np.ndarray
    lone: np.ndarray
    values: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        shapes = {name: value.shape for name, value in [("labels", self.labels), ("lone", self.lone)]}
        shapes |= {name: value.shape for name, value in self.values.items()}
        wrong = {name: shape for name, shape in shapes.items() if shape != (len(self.ids),)}
        if wrong:
            raise ValueError(f"expected one value for each of {len(self.ids)} queries, received shapes {wrong}")

    def __len__(self) -> int:
        return len(self.ids)

    def means(self) -> dict[str, int | float | None]:
        """The micro means: every query that counts weighs the same.

        Returns:
            `queries` and `queries_without_match` as counts, then each metric's mean, None where no query counts.
        """
        counts: dict[str, int | float | None] = {
            "queries": len(self),
            "queries_without_match": int(self.lone.sum()),
        }
        return counts | {name: _mean(value) for name, value in self.values.items()}

    def macro(self) -> dict[str, float | None]:
        """The macro means: the mean over classes of each class's own mean, so every class weighs the same.

        A class none of whose queries counts is left out.

        Returns:
            Each metric's mean, None where no query counts.
        """
        _, of_class = self._classes()
        return {name: _mean(_class_means(value, of_class)) for name, value in self.values.items()}

    def per_class(self) -> list[dict[str, str | int | float | None]]:
        """A row a class, by label: `label`, `queries`, `queries_without_match`, then each metric's mean or None."""
        classes, of_class = self._classes()
        means = {name: _class_means(value, of_class) for name, value in self.values.items()}
        counts = np.bincount(of_class, minlength=len(classes))
        lone = np.bincount(of_class[self.lone], minlength=len(classes))
        rows: list[dict[str, str | int | float | None]] = []
        for row, label in enumerate(classes.tolist()):
            rows.append({"label": label, "queries": int(counts[row]), "queries_without_match": int(lone[row])})
            rows[-1] |= {name: _mean(value[row : row + 1]) for name, value in means.items()}
        return rows

    def select(self, mask_or_rows: np.ndarray) -> QueryMetrics:
        """Some of the queries: `[Q]` booleans, or `[M]` integers in the order wanted."""
        values = {name: value[mask_or_rows] for name, value in self.values.items()}
        return QueryMetrics(self.ids[mask_or_rows], self.labels[mask_or_rows], self.lone[mask_or_rows], values)

    def _classes(self) -> tuple[np.ndarray, np.ndarray]:
        classes, of_class = np.unique(self.labels, return_inverse=True)
        return classes, of_class


def retrieval_metrics(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    ks: Sequence[int] = (1, 5, 10),
    *,
    same_table: bool,
    relevance: Mapping[str, float] | None = None,
    progress: bool = False,
) -> dict[str, int | float | None]:
    """The means of `measure_queries`, which tells arguments and errors: `QueryMetrics.means`."""
    measured = measure_queries(queries, gallery, ks, same_table=same_table, relevance=relevance, progress=progress)
    return measured.means()


def measure_queries(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    ks: Sequence[int] = (1, 5, 10),
    *,
    same_table: bool,
    relevance: Mapping[str, float] | None = None,
    cells: int = CELLS,
    progress: bool = False,
) -> QueryMetrics:
    """All metrics of one query table against one gallery, exactly, by cosine similarity.

    Equal similarities rank by gallery row. All cores are used, and how many there are changes nothing in the answer.
    Beside the tables each core holds 4 bytes x `cells` (64 MiB) and, while it ranks, at most 64 MiB more; or a few rows
    of the gallery where that is more. It does not grow with queries x gallery.

    Args:
        queries: Q rows.
        gallery: N rows.
        ks: the K of hit_rate@K, precision@K, recall@K and ndcg@K. Where the gallery holds fewer than K other rows, the
            ranks it lacks count as wrong.
        same_table: True when the queries are rows of the gallery (all of it, or some): each query's own row, found by
            its id, is left out. False when they are other pictures: nothing is left out, even where ids agree.
        relevance: attribute to weight, for ndcg@K (see `Grades`). None, the default, grades by label alone: 1 for the
            query's label, 0 for any other. The other metrics always go by label.
        cells: how many similarities a core holds at a time.
        progress: whether to show a progress bar on standard error.

    Returns:
        The values `hit_rate@K`, `precision@K`, `recall@K` and `ndcg@K` for each K, `r_precision`, `map@r` and `mrr` of
        every query, in the order of `queries`.

    Raises:
        InputError: a K is less than 1, the dimensions differ, `same_table` is set and a query is not in the gallery,
            the gallery holds nothing to find, or `relevance` does not fit the tables.
    """
    judge = _Judge(queries, gallery, _checked(ks), _own(queries, gallery, same_table), relevance)
    blocks = CosineBlocks(queries, gallery, judge.own)
    if blocks.available < 1:
        raise InputError(f"expected a gallery with another row than the query, received {len(gallery)} row in all")
    size = max(1, cells // len(gallery))
    # By R, so that queries are ranked no deeper than those beside them need.
    by_total = np.argsort(judge.total, kind="stable")
    chunks = [by_total[start : start + size] for start in range(0, len(queries), size)]
    values: dict[str, np.ndarray] = {}
    # A chunk for each core rather than each product on all cores: ranking and judging take as long as the products.
    parallel = Parallel(n_jobs=-1, require="sharedmem", return_as="generator")
    with (
        tqdm(total=len(queries), desc="retrieval metrics", unit="query", disable=not progress) as bar,
        threadpool_limits(1, user_api="blas"),
    ):
        measured = parallel(delayed(_measure_chunk)(judge, blocks, asked) for asked in chunks)
        for asked, found in zip(chunks, measured, strict=True):
            for name, value in found.items():
                values.setdefault(name, np.empty(len(queries)))[asked] = value
            bar.update(len(asked))
    return QueryMetrics(queries.ids, queries.labels, judge.total == 0, values)


def judge_result(
    result: RetrievalResult,
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    ks: Sequence[int] = (1, 5, 10),
    *,
    same_table: bool,
    relevance: Mapping[str, float] | None = None,
) -> QueryMetrics:
    """The metrics of a ranking as given, such as one that post-processing has changed.

    A metric that would need ranks past the ranking's depth D is left out, for all queries, rather than be told wrong:
    those at a K above D, `r_precision` and `map@r` where some R is above D, `mrr` where a query that has something to
    find finds none of it. A ranking of the whole gallery has them all.

    Args:
        result: the ranking; it need not hold all queries. Its scores are not read.
        queries: the query table that `result.queries` are rows of.
        gallery: the gallery that `result.rows` are rows of.
        ks: as in `measure_queries`.
        same_table: as in `measure_queries`; then the ranking must not hold a query's own row.
        relevance: as in `measure_queries`.

    Returns:
        The values of the queries in `result`, in its order.

    Raises:
        InputError: as in `measure_queries`, or a query finds its own row although `same_table` is set.
    """
    asked, depth = result.queries, result.rows.shape[1]
    own = _own(queries, gallery, same_table)
    if own is not None and (result.rows == own[asked, None]).any():
        raise InputError(
            "expected a ranking without the queries' own rows (same_table), received one that holds some; leave them "
            "out of the search"
        )
    whole = depth >= len(gallery) - (own is not None)
    judge = _Judge(queries, gallery, [k for k in _checked(ks) if k <= depth or whole], own, relevance)
    total = judge.total[asked]
    to_r = int(total.max(initial=0)) <= depth
    parts = []
    for part in _groups(len(asked), depth):
        first = judge.first_found(asked[part], result.rows[part])
        parts.append(judge.values(asked[part], result.rows[part], first, to_r=to_r))
    values = _joined(parts)
    if np.isnan(values["mrr"][total > 0]).any():
        del values["mrr"]
    return QueryMetrics(queries.ids[asked], queries.labels[asked], total == 0, values)


class _Judge:
    """Tells right from wrong for one pair of tables, and scores rankings by it."""

    def __init__(
        self,
        queries: EmbeddingTable,
        gallery: EmbeddingTable,
        ks: Sequence[int],
        own: np.ndarray | None,
        relevance: Mapping[str, float] | None,
    ) -> None:
        self.ks = ks
        self.own = own
        self.gallery_size = len(gallery)
        _, codes = np.unique(np.concatenate([queries.labels, gallery.labels]), return_inverse=True)
        self._query, self._gallery = codes[: len(queries)], codes[len(queries) :]
        held = np.bincount(self._gallery, minlength=int(codes.max()) + 1)
        self._by_class = np.split(np.argsort(self._gallery, kind="stable"), held.cumsum()[:-1])
        self.total = held[self._query]
        if own is not None:
            self.total = self.total - (self._gallery[own] == self._query)
        self._grades = Grades(queries, gallery, BY_LABEL if relevance is None else relevance, own)
        self._ideal = dict(zip(ks, self._grades.ideal_gain(ks), strict=True))

    def first_found(self, asked: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`[q]` the rank from 1 of the first relevant of the gallery rows `[q, D]` found, 0 for none."""
        relevant = self._relevant(asked, rows)
        return np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1, 0)

    def first_of_all(self, asked: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The same with the whole gallery to find it in: `scores` are `[q, N]`."""
        first = self.first_found(asked, rows)
        for row in np.flatnonzero((first == 0) & (self.total[asked] > 0)):
            relevant = self._by_class[self._query[asked[row]]]
            best = relevant[scores[row, relevant].argmax()]
            score = scores[row, best]
            better = np.count_nonzero(scores[row] > score)
            first[row] = 1 + better + np.count_nonzero(scores[row, :best] == score)
        return first

    def values(
        self, asked: np.ndarray, rows: np.ndarray, first: np.ndarray, *, to_r: bool = True
    ) -> dict[str, np.ndarray]:
        """Name to `[q]`: the metrics of queries that found gallery rows `[q, D]`; those down to rank R if `to_r`."""
        judged = JudgedRanking(self._relevant(asked, rows), self.total[asked], first)
        at_k = {"hit_rate": metrics.hit_rate, "precision": metrics.precision, "recall": metrics.recall}
        values = {f"{name}@{k}": metric(judged, k) for name, metric in at_k.items() for k in self.ks}
        grades = self._grades.of(asked, rows[:, : max(self.ks, default=0)])
        for k in self.ks:
            values[f"ndcg@{k}"] = np.where(judged.total > 0, ndcg(grades, self._ideal[k][asked], k), np.nan)
        if to_r:
            values |= {"r_precision": metrics.r_precision(judged), "map@r": metrics.map_at_r(judged)}
        return values | {"mrr": metrics.reciprocal_rank(judged)}

    def _relevant(self, asked: np.ndarray, rows: np.ndarray) -> np.ndarray:
        same: np.ndarray = self._gallery[rows] == self._query[asked, None]
        return same


def _measure_chunk(judge: _Judge, blocks: CosineBlocks, asked: np.ndarray) -> dict[str, np.ndarray]:
    size = judge.gallery_size
    scores = blocks.scores(blocks.unit_queries(asked), asked, 0, size)
    parts = []
    for part in _groups(len(asked), size):
        depth = min(max(*judge.ks, int(judge.total[asked[part]].max())), blocks.available)
        rows, _ = best_columns(scores[part], depth)
        parts.append(judge.values(asked[part], rows, judge.first_of_all(asked[part], rows, scores[part])))
    return _joined(parts)


def _groups(rows: int, width: int) -> Iterator[slice]:
    """All of `rows`, as few at a time as `RANKED_CELLS` tells."""
    size = max(1, RANKED_CELLS // width)
    return (slice(start, start + size) for start in range(0, max(1, rows), size))


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _checked(ks: Sequence[int]) -> tuple[int, ...]:
    if not len(ks) or min(ks) < 1:
        raise InputError(f"expected one or more K of at least 1, received {list(ks)}; give for example 1, 5 and 10")
    return tuple(ks)


def _own(queries: EmbeddingTable, gallery: EmbeddingTable, same_table: bool) -> np.ndarray | None:
    """`[Q]` the gallery row that each query must not find; None where the tables hold other pictures."""
    if not same_table:
        return None
    rows = own_rows(queries, gallery)
    if (rows < 0).any():
        strange = str(queries.ids[int(rows.argmin())])
        raise InputError(
            f"expected every query to be a row of the gallery (same_table), received {int((rows < 0).sum())} that are "
            f"not, such as {strange!r}; give the gallery that holds them, or same_table=False"
        )
    return rows


def _class_means(values: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """`[C]` means by class of what is not NaN; NaN for a class that has nothing else."""
    counted = ~np.isnan(values)
    size = int(of_class.max(initial=-1)) + 1
    sums = np.bincount(of_class[counted], values[counted], minlength=size)
    counts = np.bincount(of_class[counted], minlength=size)
    means = np.full(size, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _mean(values: np.ndarray) -> float | None:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else None
