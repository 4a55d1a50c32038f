"""Graded relevance: how much an item is what the query asked for, where a label alone says only yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from trainer.errors import InputError
from trainer.retrieval.table import EmbeddingTable

__all__ = ["Grades", "ndcg"]

MOST_ATTRIBUTES = 8
COLUMNS = 4096


class Grades:
    """Grades of gallery rows for queries, from the attributes on which the two agree.

    `grade(query, item) = sum of the weights of the attributes on which both agree / sum of all weights`, so it is 1 for
    an item that agrees on all and 0 for one that agrees on none. An empty value (`""`, NaN) agrees with nothing, not
    even with another empty one.

    Args:
        queries: Q rows.
        gallery: N rows.
        weights: attribute to weight, each more than 0, at most 8 of them; both tables must have them all.
        own: `[Q]` int64, the gallery row that each query must not find, -1 for none; None where nothing is left out.

    Raises:
        InputError: there is no attribute or more than 8, a weight is not a finite number above 0, a table lacks an
            attribute, or one has it as text and the other as numbers.
    """

    def __init__(
        self,
        queries: EmbeddingTable,
        gallery: EmbeddingTable,
        weights: Mapping[str, float],
        own: np.ndarray | None = None,
    ) -> None:
        if not 1 <= len(weights) <= MOST_ATTRIBUTES:
            raise InputError(
                f"expected weights of 1 to {MOST_ATTRIBUTES} attributes for graded relevance, received {len(weights)}; "
                "name those that a shopper would notice"
            )
        if not all(np.isfinite(weight) and weight > 0 for weight in weights.values()):
            raise InputError(f"expected finite weights above 0 for graded relevance, received {dict(weights)}")
        total = float(sum(weights.values()))
        self._weights = np.array([weight / total for weight in weights.values()])
        pairs = [_codes(name, queries, gallery) for name in weights]
        self._query = np.stack([query for query, _ in pairs])
        self._gallery = np.stack([item for _, item in pairs])
        self._own = own

    def of(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Grades of the items found.

        Args:
            queries: `[q]` integers, rows of the query table.
            rows: `[q, K]` integers, rows of the gallery.

        Returns:
            `[q, K]` float64 in `[0, 1]`.
        """
        grades = np.zeros(rows.shape)
        for weight, query, item in zip(self._weights, self._query, self._gallery, strict=True):
            grades += weight * (item[rows] == query[queries, None])
        return np.minimum(grades, 1.0)

    def ideal_gain(self, ks: Sequence[int]) -> np.ndarray:
        """The highest DCG@K that any ranking of the gallery, the query's own row left out, can have.

        It depends only on how many items agree with the query on exactly which attributes. That is counted for each
        distinct combination of attributes, by inclusion and exclusion over the subsets of attributes: time and memory
        grow with 2^attributes x rows, never with queries x gallery.

        Args:
            ks: the K.

        Returns:
            `[len(ks), Q]` float64; 0 where nothing has a grade above 0.
        """
        combinations, which = self._combinations()
        counts = self._agreeing_exactly(combinations)
        members = np.arange(len(counts))[:, None] >> np.arange(len(self._weights)) & 1
        grade_of = np.minimum(members @ self._weights, 1.0)
        order = np.argsort(-grade_of, kind="stable")
        discounts = [np.concatenate([[0.0], _discounts(k).cumsum()]) for k in ks]
        ideal = np.empty((len(ks), counts.shape[1]))
        for start in range(0, counts.shape[1], COLUMNS):
            held = counts[order, start : start + COLUMNS]
            # Items of one grade fill the ranks from `before` to `after`, and gain that grade on each of them.
            after = held.cumsum(axis=0)
            before = after - held
            for row, (k, of_rank) in enumerate(zip(ks, discounts, strict=True)):
                gains = of_rank[np.minimum(after, k)] - of_rank[np.minimum(before, k)]
                ideal[row, start : start + COLUMNS] = grade_of[order] @ gains
        return ideal[:, which]

    def _combinations(self) -> tuple[np.ndarray, np.ndarray]:
        """`[A + 1, U]` distinct columns of query codes, and `[Q]` which of them is each query's.

        The last row tells on which attributes the row left out agrees with the query, as bits, or -1 for no such row:
        what is left out of the counts differs where that does.
        """
        left_out = np.full(self._query.shape[1], -1)
        if self._own is not None:
            agrees = (self._gallery[:, self._own] == self._query).T @ (1 << np.arange(len(self._weights)))
            left_out = np.where(self._own >= 0, agrees, -1)
        unique, which = np.unique(np.vstack([self._query, left_out]), axis=1, return_inverse=True)
        return unique, which.reshape(-1)

    def _agreeing_exactly(self, combinations: np.ndarray) -> np.ndarray:
        """`[2^A, U]`: how many gallery rows, the own left out, agree on exactly the attributes whose bits are set."""
        attributes, asked = combinations[:-1], combinations.shape[1]
        counts = np.empty((1 << len(attributes), asked), dtype=np.int32)
        # Codes from 0, the combinations first: those that agree on a subset of the attributes get the same key.
        codes = np.concatenate([attributes, self._gallery], axis=1) + 2

        def count(place: int, subset: int, keys: np.ndarray) -> None:
            if place == len(codes):
                counts[subset] = np.bincount(keys[asked:], minlength=int(keys.max()) + 1)[keys[:asked]]
                return
            count(place + 1, subset, keys)
            # Numbered anew each time, so that a key stays below rows squared.
            _, narrower = np.unique(keys * (codes[place].max() + 1) + codes[place], return_inverse=True)
            count(place + 1, subset | 1 << place, narrower)

        count(0, 0, np.zeros(codes.shape[1], dtype=np.int64))
        # So far a subset counts those who agree on it *at least*; take off those who agree on more.
        for bit in range(len(attributes)):
            without = np.flatnonzero(~np.arange(len(counts)) >> bit & 1)
            counts[without] -= counts[without | 1 << bit]
        left_out = np.flatnonzero(combinations[-1] >= 0)
        counts[combinations[-1, left_out], left_out] -= 1
        return counts


def ndcg(grades: np.ndarray, ideal: np.ndarray, k: int) -> np.ndarray:
    """NDCG@K: `DCG@K / IDCG@K` with `DCG@K = sum over i = 1..K of grade_i / log2(i + 1)`.

    IDCG@K is the DCG@K of the best order of the whole gallery, so a query reaches 1 exactly when no order could have
    served it better. K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002.

    Departures: the gain is the grade itself (linear), where web search often takes `2^grade - 1`; the discount starts
    at rank 2 (Burges et al., ICML 2005), where the paper's lets the first two ranks count alike. It equals
    `sklearn.metrics.ndcg_score` where no two scores are equal; where some are, scikit-learn takes the mean over their
    orders, and here they rank by gallery row.

    Args:
        grades: `[Q, D]` grades of the neighbours, best neighbour first. Ranks past D count as 0.
        ideal: `[Q]` IDCG@K, as `Grades.ideal_gain` gives it.
        k: how many neighbours count.

    Returns:
        `[Q]` float64 in `[0, 1]`, NaN where the ideal is 0: nothing in the gallery has a grade.
    """
    top = grades[:, :k]
    gain = top @ _discounts(k)[: top.shape[1]]
    found = np.full(len(grades), np.nan)
    np.divide(gain, ideal, out=found, where=ideal > 0)
    # The ideal is summed in another order, so a perfect ranking may pass it by a rounding.
    return np.minimum(found, 1.0)


def _discounts(k: int) -> np.ndarray:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _codes(name: str, queries: EmbeddingTable, gallery: EmbeddingTable) -> tuple[np.ndarray, np.ndarray]:
    """`[Q]` and `[N]` int64 that are equal where the attribute agrees: a missing value has a code of its side alone."""
    for table, role in ((queries, "queries"), (gallery, "gallery")):
        if name not in table.attributes:
            close = get_close_matches(name, table.attributes, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(sorted(table.attributes))}"
            raise InputError(f"expected the attribute {name!r}, which relevance weighs, in the {role}{meant}")
    values = [table.attributes[name] for table in (queries, gallery)]
    if len({value.dtype.kind == "U" for value in values}) > 1:
        raise InputError(
            f"expected {name!r} as text or as numbers in both tables, received {values[0].dtype} in the queries and "
            f"{values[1].dtype} in the gallery; write both tables from the same configuration"
        )
    joined = np.concatenate(values)
    missing = joined == "" if joined.dtype.kind == "U" else np.isnan(joined)
    _, codes = np.unique(joined, return_inverse=True)
    codes[missing] = -1
    query, item = codes[: len(queries)], codes[len(queries) :]
    return query, np.where(item < 0, -2, item)
