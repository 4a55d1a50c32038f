"""A search as a value: what was asked, of which gallery, and the ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from sklearn.preprocessing import normalize

from trainer.errors import InputError
from trainer.retrieval.neighbours import RetrievalResult, find_neighbours, own_rows
from trainer.retrieval.query_metrics import QueryMetrics, judge_result, measure_queries
from trainer.retrieval.table import EmbeddingTable

__all__ = ["MANY", "Search", "Step", "apply_steps"]

MANY = 10_000
"""Work on more queries or points than this shows its progress."""


@dataclass(frozen=True, eq=False)
class Search:
    """Queries, a gallery, and what the queries find there. Post-processing maps one such value to another.

    Nothing is searched before `result` is asked for, so steps that only change the tables cost no search of their own.

    Args:
        queries: Q rows of dimension D.
        gallery: N rows of dimension D; the same object as `queries` where all rows query each other.
        same_table: whether the queries are rows of the gallery (all of it, or some): then each query's own row, found
            by its id, is left out.
        depth: how many neighbours of each query are ranked, at most what the gallery holds.
        ranked: the ranking of `depth` neighbours, where it is another than that of the cosine similarities; None else.
        side_bytes: bytes a gallery row that the ranking needs beside the row's vector. Default 0.

    Raises:
        InputError: `depth` is less than 1, or the gallery holds nothing to find.
    """

    queries: EmbeddingTable
    gallery: EmbeddingTable
    same_table: bool
    depth: int
    ranked: RetrievalResult | None = None
    side_bytes: float = 0.0

    def __post_init__(self) -> None:
        available = len(self.gallery) - self.same_table
        if self.depth < 1 or available < 1:
            raise InputError(
                "expected a depth of at least 1 and a gallery with another row than the query, "
                f"received {self.depth} and {len(self.gallery)} row(s)"
            )
        object.__setattr__(self, "depth", min(self.depth, available))

    @cached_property
    def result(self) -> RetrievalResult:
        """The `depth` best of every query; by exact search, where no step has ranked otherwise."""
        return self.nearest(self.depth)

    @cached_property
    def own(self) -> np.ndarray:
        """`[Q]` int64: with `same_table`, the gallery row of each query.

        Raises:
            InputError: a query is not in the gallery.
        """
        rows = own_rows(self.queries, self.gallery)
        if (rows < 0).any():
            strange = str(self.queries.ids[int(rows.argmin())])
            raise InputError(
                f"expected every query to be a row of the gallery (same_table), received {int((rows < 0).sum())} that "
                f"are not, such as {strange!r}; give the gallery that holds them, or same_table=False"
            )
        return rows

    @property
    def bytes_per_row(self) -> float:
        """What a table that answers this search holds for each gallery row: float32 vector and `side_bytes`."""
        return 4.0 * self.gallery.dimension + self.side_bytes

    def nearest(self, k: int) -> RetrievalResult:
        """The k best of every query, at most `depth`; no deeper search than that is made."""
        k = min(k, self.depth)
        if self.ranked is None:
            exclude = self.own if self.same_table else None
            return find_neighbours(self.queries, self.gallery, k, exclude=exclude, progress=len(self.queries) > MANY)
        return RetrievalResult(self.ranked.queries, self.ranked.rows[:, :k], self.ranked.scores[:, :k])

    def measure(self, ks: Sequence[int], relevance: Mapping[str, float] | None = None) -> QueryMetrics:
        """How good the ranking is, as `measure_queries` says it.

        A search by cosine similarity is measured to any depth. Of one that is ranked otherwise, metrics that need more
        ranks than it has are left out (see `judge_result`).
        """
        tables, same = (self.queries, self.gallery), self.same_table
        if self.ranked is None:
            return measure_queries(*tables, ks, same_table=same, relevance=relevance)
        return judge_result(self.ranked, *tables, ks, same_table=same, relevance=relevance)

    def encoded(self, encode: Callable[[EmbeddingTable], np.ndarray]) -> Search:
        """The search with other vectors in both tables, ranked anew by cosine similarity.

        Args:
            encode: answers vectors `[n, d]` for a table of n rows; they are brought to unit length here.
        """
        gallery = replace(self.gallery, vectors=normalize(encode(self.gallery)))
        if self.queries is self.gallery:
            return Search(gallery, gallery, self.same_table, self.depth)
        queries = replace(self.queries, vectors=normalize(encode(self.queries)))
        return Search(queries, gallery, self.same_table, self.depth)


Step = Callable[[Search], Search]
"""A post-processing method with its settings: maps a search to another, and changes nothing in the one given."""


def apply_steps(search: Search, steps: Iterable[Step]) -> Search:
    """The search after all steps, in their order; without any, the search itself.

    Steps that encode the tables anew (`Flip`, `Whitening`, `Truncation`) come first: they rank anew, which would undo a
    `Reranking` or `QueryExpansion` before them.
    """
    return reduce(lambda found, step: step(found), steps, search)
