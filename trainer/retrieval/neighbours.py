"""Exact nearest neighbours by cosine similarity, in blocks: memory does not grow with queries x gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from trainer.errors import InputError
from trainer.retrieval.similarity import CosineBlocks, best_columns, sort_columns
from trainer.retrieval.table import EmbeddingTable

__all__ = ["RetrievalResult", "find_neighbours", "iter_neighbours", "own_rows"]

CHUNK = 1024
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """What some queries found, best first. Neighbour search builds it; metrics and plots read it.

    Args:
        queries: `[Q]` int64, rows of the query table.
        rows: `[Q, K]` int64, rows of the gallery table.
        scores: `[Q, K]` float32 cosine similarities in `[-1, 1]`, never rising along a row; equal ones by gallery row.
    """

    queries: np.ndarray
    rows: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape != self.scores.shape or self.queries.shape != self.rows.shape[:1]:
            raise ValueError(
                "expected queries [Q], rows [Q, K] and scores [Q, K]; "
                f"received {self.queries.shape}, {self.rows.shape} and {self.scores.shape}"
            )

    def __len__(self) -> int:
        return len(self.queries)


def find_neighbours(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    k: int,
    *,
    exclude: np.ndarray | None = None,
    chunk: int = CHUNK,
    block: int = BLOCK,
    progress: bool = False,
) -> RetrievalResult:
    """The k gallery rows most similar to each query, exactly.

    Beside the two tables and the answer (12 bytes per neighbour) this needs about `chunk x block x 8` bytes: 64 MiB.

    Args:
        queries: Q rows of dimension D. They need not have unit length.
        gallery: N rows of dimension D; may be the same table.
        k: neighbours per query, 1 to N, or to N - 1 when `exclude` leaves a row out.
        exclude: `[Q]` integers, a gallery row that each query must not find (itself, as `own_rows` tells), -1 for none.
        chunk: queries at a time.
        block: gallery rows at a time; raised to 8 k where that is more, with fewer queries at a time instead.
        progress: whether to show a progress bar on standard error.

    Returns:
        One `RetrievalResult` of Q queries, in their order.

    Raises:
        InputError: the dimensions differ, `k` is impossible, or `exclude` does not fit.
    """
    parts = iter_neighbours(queries, gallery, k, exclude=exclude, chunk=chunk, block=block, progress=progress)
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    for part in parts:
        rows[part.queries] = part.rows
        scores[part.queries] = part.scores
    return RetrievalResult(queries=np.arange(len(queries)), rows=rows, scores=scores)


def iter_neighbours(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    k: int,
    *,
    exclude: np.ndarray | None = None,
    chunk: int = CHUNK,
    block: int = BLOCK,
    progress: bool = False,
) -> Iterator[RetrievalResult]:
    """`find_neighbours`, one chunk of queries at a time, for answers too many to hold.

    The arguments are those of `find_neighbours` and are checked before the first chunk is asked for.

    Returns:
        An iterator over a `RetrievalResult` for each chunk of queries, in order.

    Raises:
        InputError: as in `find_neighbours`.
    """
    blocks = CosineBlocks(queries, gallery, exclude)
    if not 1 <= k <= blocks.available:
        raise InputError(
            f"expected k from 1 to {blocks.available}, as a gallery of {len(gallery)} rows allows here, received {k}; "
            "ask for fewer neighbours or give a larger gallery"
        )
    if chunk < 1 or block < 1:
        raise InputError(f"expected chunk and block of at least 1, received {chunk} and {block}")
    wide = max(block, 8 * k)
    return _chunks(blocks, len(queries), len(gallery), k, max(1, chunk * block // wide), wide, progress)


def own_rows(queries: EmbeddingTable, gallery: EmbeddingTable) -> np.ndarray:
    """`[Q]` int64: the gallery row with each query's id, -1 where there is none. What `exclude` wants."""
    if queries.ids is gallery.ids:
        return np.arange(len(queries))
    row_of = {identity: row for row, identity in enumerate(gallery.ids.tolist())}
    return np.fromiter((row_of.get(identity, -1) for identity in queries.ids.tolist()), np.int64, len(queries))


def _chunks(
    blocks: CosineBlocks, queries: int, gallery: int, k: int, chunk: int, block: int, progress: bool
) -> Iterator[RetrievalResult]:
    with tqdm(total=queries, desc="neighbours", unit="query", disable=not progress) as bar:
        for start in range(0, queries, chunk):
            asked = slice(start, min(start + chunk, queries))
            rows, scores = _search(blocks, asked, gallery, k, block)
            # Rounding lets a vector's similarity to its copy pass 1 by an ulp; the order is settled by now.
            np.clip(scores, -1.0, 1.0, out=scores)
            yield RetrievalResult(queries=np.arange(asked.start, asked.stop), rows=rows, scores=scores)
            bar.update(asked.stop - asked.start)


def _search(blocks: CosineBlocks, asked: slice, gallery: int, k: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the whole gallery for one chunk of queries: rows and scores, both `[q, k]`."""
    unit = blocks.unit_queries(asked)
    rows = np.zeros((len(unit), 0), dtype=np.int64)
    scores = np.zeros((len(unit), 0), dtype=np.float32)
    for start in range(0, gallery, block):
        stop = min(start + block, gallery)
        part = blocks.scores(unit, asked, start, stop)
        columns, found = _candidates(part, scores, k)
        # The best so far come first: they have the lower gallery rows, so a stable sort settles ties by row.
        rows, scores = sort_columns(np.hstack([rows, columns + start]), np.hstack([scores, found]))
        rows, scores = rows[:, :k], scores[:, :k]
    return rows, scores


def _candidates(part: np.ndarray, best: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a block that may belong to the k best, with their scores: `[q, W]`, filled up with minus infinity.

    Args:
        part: `[q, B]` scores of this block.
        best: `[q, K]` the best scores of the blocks before, best first; K is less than k at the start.
        k: how many are wanted.
    """
    count, width = part.shape
    if best.shape[1] == k:
        # A later row that only equals the k-th best loses to it, so strictly better ones are enough: after some blocks
        # they are few, and finding them costs a comparison instead of a partition.
        better = np.flatnonzero(part > best[:, -1:])
        if len(better) <= count * k:
            return _ragged(part, better)
    return best_columns(part, min(k, width))


def _ragged(part: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions in `part`, rising, as columns and scores padded to the longest row."""
    count, width = part.shape
    owner = chosen // width
    place = np.arange(len(chosen)) - np.searchsorted(owner, np.arange(count))[owner]
    longest = int(place.max()) + 1 if len(chosen) else 0
    columns = np.zeros((count, longest), dtype=np.int64)
    scores = np.full((count, longest), -np.inf, dtype=np.float32)
    columns[owner, place] = chosen - owner * width
    scores[owner, place] = part.reshape(-1)[chosen]
    return columns, scores
