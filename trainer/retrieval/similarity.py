"""Cosine similarities in blocks, and the best of each row of a block. Nothing here is ever N x N."""

from __future__ import annotations

import threading

import numpy as np

from trainer.errors import InputError
from trainer.retrieval.table import EmbeddingTable

__all__ = ["CosineBlocks", "best_columns", "sort_columns"]

NORM_ROWS = 8192


class CosineBlocks:
    """The cosine similarity of some queries to some of a gallery, with one gallery row left out per query.

    Rows are scaled to unit length as they are used, so the tables are never copied whole. The similarity to a zero
    vector is 0.

    Args:
        queries: Q rows of dimension D.
        gallery: N rows of dimension D.
        exclude: `[Q]` int64, the gallery row that each query must not find, -1 for none; None leaves nothing out.

    Raises:
        InputError: the dimensions differ, or `exclude` does not fit the tables.
    """

    def __init__(self, queries: EmbeddingTable, gallery: EmbeddingTable, exclude: np.ndarray | None) -> None:
        if queries.dimension != gallery.dimension:
            raise InputError(
                f"expected queries of the gallery's dimension {gallery.dimension}, received {queries.dimension}; "
                "both must come from the same model"
            )
        self._queries = queries.vectors
        self._gallery = gallery.vectors
        self._query_norms = _norms(queries.vectors)
        same = queries.vectors is gallery.vectors
        self._gallery_norms = self._query_norms if same else _norms(gallery.vectors)
        self._exclude = _checked(exclude, len(queries), len(gallery))
        self._buffers = threading.local()

    @property
    def available(self) -> int:
        """How many gallery rows every query can find at least."""
        left_out = self._exclude is not None and bool((self._exclude >= 0).any())
        return len(self._gallery) - int(left_out)

    def unit_queries(self, rows: slice | np.ndarray) -> np.ndarray:
        """`[q, D]` float32: some queries at unit length."""
        unit: np.ndarray = self._queries[rows] / self._query_norms[rows, None]
        return unit

    def scores(self, unit_queries: np.ndarray, rows: slice | np.ndarray, start: int, stop: int) -> np.ndarray:
        """Similarities of some queries to the gallery rows from `start` to `stop`.

        Args:
            unit_queries: `[q, D]`, what `unit_queries(rows)` gave.
            rows: which queries they are.
            start: first gallery row.
            stop: one past the last gallery row.

        Returns:
            `[q, stop - start]` float32, minus infinity for the row left out. The next call in the same thread
            overwrites it. Two gallery rows with the same vector may differ in the last bit, as they lie in different
            tiles of the matrix product.
        """
        vectors, norms = self._gallery[start:stop], self._gallery_norms[start:stop]
        # Scaling the rows costs D divisions for each, scaling their scores as many as there are queries.
        few = len(unit_queries) < vectors.shape[1]
        if not few:
            vectors = vectors / norms[:, None]
        shape = (len(unit_queries), len(vectors))
        scores: np.ndarray = np.matmul(unit_queries, vectors.T, out=self._buffer(shape))
        if few:
            scores /= norms
        if self._exclude is not None:
            column = self._exclude[rows] - start
            inside = np.flatnonzero((column >= 0) & (column < shape[1]))
            scores[inside, column[inside]] = -np.inf
        return scores

    def _buffer(self, shape: tuple[int, int]) -> np.ndarray:
        """Memory of this thread's own, so that no call has the system clear new pages for it."""
        size = shape[0] * shape[1]
        buffer: np.ndarray | None = getattr(self._buffers, "scores", None)
        if buffer is None or buffer.size < size:
            buffer = self._buffers.scores = np.empty(size, dtype=np.float32)
        return buffer[:size].reshape(shape)


def best_columns(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each row, best first, equal scores by column: exact, and no row is sorted whole.

    Args:
        scores: `[Q, N]` float32, no NaN.
        k: 1 to N.

    Returns:
        The columns `[Q, k]` int64 and their scores `[Q, k]` float32.
    """
    rows, width = scores.shape
    # Partitioning values and then looking up who reached the k-th is twice as fast as argpartition, and unlike
    # argpartition it leaves the choice among equals to us.
    kth = np.partition(scores, width - k, axis=1)[:, width - k]
    chosen = np.flatnonzero(scores >= kth[:, None])
    if len(chosen) > rows * k:
        chosen = _first_of_equals(chosen, scores, kth, k)
    columns = chosen.reshape(rows, k) - (np.arange(rows) * width)[:, None]
    return sort_columns(columns, np.take_along_axis(scores, columns, axis=1))


def sort_columns(columns: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays with each row ordered by score, best first; what is equal keeps its order."""
    # The bits of a float, negative ones turned round, sort as integers as the floats do. With the place below them all
    # keys differ, and NumPy's vectorised sort of integers takes a tenth of its stable argsort. Adding 0 makes -0 a 0.
    bits = (scores + np.float32(0)).view(np.int32)
    falling = ~(bits ^ (bits >> 31 & 0x7FFFFFFF))
    keys = falling.astype(np.int64) << 32 | np.arange(scores.shape[1])
    keys.sort(axis=1)
    order = keys & 0xFFFFFFFF
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _first_of_equals(chosen: np.ndarray, scores: np.ndarray, kth: np.ndarray, k: int) -> np.ndarray:
    """Of flat positions whose score is the k-th of its row or better, rising, those of the k first in each row."""
    owner = chosen // scores.shape[1]
    equal = scores.reshape(-1)[chosen] == kth[owner]
    owners = owner[equal]
    place = np.arange(len(owners)) - np.searchsorted(owners, np.arange(len(kth)))[owners]
    wanted = k - np.bincount(owner[~equal], minlength=len(kth))
    kept = ~equal
    kept[equal] = place < wanted[owners]
    return chosen[kept]


def _norms(vectors: np.ndarray) -> np.ndarray:
    """`[N]` float32 lengths, 1 for a zero vector so that dividing by it is safe."""
    norms = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), NORM_ROWS):
        part = vectors[start : start + NORM_ROWS].astype(np.float64)
        norms[start : start + NORM_ROWS] = np.sqrt(np.einsum("nd,nd->n", part, part))
    norms[norms == 0] = 1
    return norms


def _checked(exclude: np.ndarray | None, queries: int, gallery: int) -> np.ndarray | None:
    if exclude is None:
        return None
    rows = np.asarray(exclude)
    if rows.shape != (queries,) or rows.dtype.kind not in "iu":
        raise InputError(
            f"expected one gallery row to leave out for each of {queries} queries (-1 for none), "
            f"received {rows.dtype} of shape {rows.shape}"
        )
    rows = rows.astype(np.int64)
    if rows.min() < -1 or rows.max() >= gallery:
        raise InputError(
            f"expected rows to leave out from -1 to {gallery - 1}, received {rows.min()} to {rows.max()}; "
            "they are rows of the gallery, not of the queries"
        )
    return rows
