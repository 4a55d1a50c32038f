"""An inverted file: comparing with the rows of the nearest lists only."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.index.base import Index
from export.index.clusters import NEIGHBOURS, assign_lists, needed_probes, sample_rows, train_centroids
from export.index.filling import empty_variable, unit_chunks
from export.index.selection import MISSING, best_rows, padded
from export.table_rows import TableRows
from trainer.errors import InputError

__all__ = ["IvfIndex"]

SAMPLE = 128
"""Rows per list that k-means sees."""
PROBED = 256
"""Rows that are asked for, to choose the number of lists to look into."""
_PARALLEL = 4
_UNROLLED = 128
"""Lists that one query may look into without a loop, whose turns cost more than a list's rows."""


class IvfIndex(Index):
    """Compares each query with the rows of the lists whose centroids are nearest (Jegou et al., "Product quantization
    for nearest neighbor search", 2011, without the quantisation of rows).

    The rows are kept in the order of their lists, so a list is a slice of the table: a slice along the first dimension
    is not copied. All queries that look into one list are multiplied with it at once.

    Where the lists looked into hold fewer admitted rows than are asked for, all rows are compared instead: K results
    come back whenever K rows match, also with a filter that few rows pass.

    Args:
        lists: L; None for about the square root of the number of rows.
        nprobe: lists looked into for each query; None to choose it by `recall`.
        recall: of the ten nearest, to aim at where `nprobe` is None: rows of the table are the queries, each left out
            of its own answer.
        seed: of k-means and of the rows it sees.

    Attributes:
        lists: as given, or chosen by `index`.
        nprobe: likewise.
    """

    is_exact = False

    def __init__(self, lists: int | None, nprobe: int | None, *, recall: float = 0.95, seed: int = 0) -> None:
        super().__init__("ivf")
        self.lists, self.nprobe = lists, nprobe
        self._recall, self._seed = recall, seed

    def index(self, rows: TableRows) -> None:
        """See `Index.index`.

        Raises:
            InputError: also where there are more lists than rows.
        """
        self.count, self.dimension = rows.count, rows.dimension
        self.lists = self.lists or max(1, round(rows.count**0.5))
        if self.lists > max(rows.count, 1):
            raise InputError(
                f"index.lists: expected at most one for each of {rows.count} rows, received {self.lists}; lower it"
            )
        centroids = np.zeros((1, rows.dimension), dtype=np.float32)
        if rows.count:
            centroids = train_centroids(sample_rows(rows, SAMPLE * self.lists, self._seed)[1], self.lists, self._seed)
        list_of_row = assign_lists(rows, centroids)
        order = np.argsort(list_of_row, kind="stable").astype(np.int32)
        starts = np.searchsorted(list_of_row[order], np.arange(self.lists + 1)).astype(np.int32)
        self.centroids = tf.Variable(centroids, trainable=False, name="centroids")
        self.starts = tf.Variable(starts, trainable=False, name="starts")
        self.rows = tf.Variable(order, trainable=False, name="rows")
        self._fill(rows, order)
        self.nprobe = min(self.nprobe or self._chosen_probes(rows, list_of_row), self.lists)

    def set_groups(self, groups: np.ndarray) -> None:
        """See `Index.set_groups`."""
        super().set_groups(groups)
        self.group_sizes = tf.Variable(np.bincount(groups, minlength=1).astype(np.float32), trainable=False)

    def __call__(self, queries: tf.Tensor, k: int, admitted: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.__call__`; among equal scores of different lists the row of the nearer list comes first."""
        if not self.count:
            return best_rows(lambda start, size: tf.zeros([0, 0]), 0, tf.shape(queries)[0], k)
        penalties = self._penalties(admitted)
        if int(self.nprobe or 1) > _UNROLLED:
            best, places = self._probe(queries, k, penalties)
        else:
            best, places = tf.cond(
                tf.equal(tf.shape(queries)[0], 1),
                lambda: self._probe_alone(queries, k, penalties),
                lambda: self._probe(queries, k, penalties),
            )
        if admitted is None:
            matching = tf.cast(self.count, tf.float32)
        else:
            matching = tf.linalg.matvec(tf.cast(admitted, tf.float32), self.group_sizes)
        found = tf.reduce_sum(tf.cast(best > MISSING, tf.float32), axis=1)
        lacking = tf.reduce_any(found < tf.minimum(matching, float(k)))
        best, places = tf.cond(
            lacking, lambda: self._compare_all(queries, k, penalties), lambda: padded(best, places, k)
        )
        return best, tf.where(places >= 0, tf.gather(self.rows, tf.maximum(places, 0)), -1)

    def _arranged(self, values: np.ndarray) -> np.ndarray:
        return values[self.rows.numpy()]

    def _fill(self, rows: TableRows, order: np.ndarray) -> None:
        places = np.empty_like(order)
        places[order] = np.arange(len(order), dtype=np.int32)
        self.vectors = empty_variable((rows.count, rows.dimension), tf.float32, "vectors")
        for start, vectors in unit_chunks(rows):
            self.vectors.scatter_update(tf.IndexedSlices(vectors, places[start : start + len(vectors)]))
        # Scattering makes every later reading copy the whole variable, until this is said.
        tf.raw_ops.DisableCopyOnRead(resource=self.vectors.handle)

    def _chosen_probes(self, rows: TableRows, list_of_row: np.ndarray) -> int:
        if not rows.count:
            return 1
        chosen, queries = sample_rows(rows, PROBED, self._seed + 1)
        _, places = tf.function(lambda asked: self._compare_all(asked, NEIGHBOURS + 1, None))(tf.constant(queries))
        found = np.where(places >= 0, self.rows.numpy()[np.maximum(places, 0)], -1)
        lists = np.where((found >= 0) & (found != chosen[:, None]), list_of_row[np.maximum(found, 0)], -1)
        return needed_probes(queries, lists, self.centroids.numpy(), self._recall)

    def _compare_all(self, queries: tf.Tensor, k: int, penalties: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        def score(start: tf.Tensor | int, size: int) -> tf.Tensor:
            scores = tf.matmul(self.vectors[start : start + size], queries, transpose_b=True)
            return self._penalised(tf.ensure_shape(scores, [size, None]), penalties, start, start + size)

        return best_rows(score, self.count, tf.shape(queries)[0], k)

    def _probe_alone(self, query: tf.Tensor, k: int, penalties: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """As `_probe`, of one query `[1, D]`: the best of all its lists' scores at once."""
        probes = int(self.nprobe or 1)
        nearest = tf.math.top_k(tf.matmul(query, self.centroids, transpose_b=True)[0], probes).indices
        begins = tf.gather(self.starts, nearest)
        sizes = tf.gather(self.starts, nearest + 1) - begins
        vectors = self.vectors.read_value()
        parts = []
        for begin, size in _unstacked(begins, sizes):
            scores = tf.matmul(tf.slice(vectors, begin, size), query, transpose_b=True)
            scores = self._penalised(scores, penalties, begin[0], begin[0] + size[0])
            # Flat, or the graph's optimiser would conclude from what they are joined with that there is one query,
            # and take this branch always.
            parts.append(tf.reshape(scores, [-1]))
        lacking = tf.fill([tf.maximum(k - tf.reduce_sum(sizes), 0)], MISSING)
        best, columns = tf.math.top_k(tf.concat([*parts, lacking], axis=0), k)
        ends = tf.cumsum(sizes)
        lists = tf.minimum(tf.searchsorted(ends, columns, side="right"), probes - 1)
        places = columns - tf.gather(ends - sizes - begins, lists)
        return best[None], places[None]

    def _probe(self, queries: tf.Tensor, k: int, penalties: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and places in the order of lists, each `[B, k]`, minus infinity where the lists hold fewer rows.

        A pair is a query and a list that it looks into; the pairs are brought into the order of their lists.
        """
        probes = int(self.nprobe or 1)
        nearest = tf.reshape(tf.math.top_k(tf.matmul(queries, self.centroids, transpose_b=True), probes).indices, [-1])
        pairs = tf.argsort(nearest, stable=True)
        lists, list_of_pair, counts = tf.unique_with_counts(tf.gather(nearest, pairs))
        owners = pairs // probes
        asked = tf.gather(queries, owners)
        begins = tf.gather(self.starts, lists)
        sizes = tf.gather(self.starts, lists + 1) - begins
        # A turn of the loop is short where there is one query: what it needs is made ready outside, to cost it little.
        of_rows, of_pairs = _spans(begins, sizes), _spans(tf.cumsum(counts, exclusive=True), counts)
        lacking = tf.pad(tf.maximum(k - sizes, 0)[:, None, None], [[0, 0], [1, 0], [1, 0]])
        vectors = self.vectors.read_value()

        def body(
            turn: tf.Tensor, best: tf.TensorArray, places: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            rows, mine = tf.gather(of_rows, turn), tf.gather(of_pairs, turn)
            part = tf.slice(vectors, rows[0], rows[1])
            scores = tf.matmul(tf.slice(asked, mine[0], mine[1]), part, transpose_b=True)
            if penalties is not None:
                begin, first = rows[0, 0], mine[0, 0]
                of_queries = tf.gather(penalties, owners[first : first + mine[1, 0]], axis=1)
                scores = tf.transpose(
                    self._penalised(tf.transpose(scores), of_queries, begin, begin + tf.shape(part)[0])
                )
            scores = tf.pad(scores, tf.gather(lacking, turn), constant_values=MISSING)
            values, columns = tf.math.top_k(scores, k)
            return turn + 1, best.write(turn, values), places.write(turn, columns)

        size = tf.size(lists)
        arrays = [
            tf.TensorArray(dtype, size, infer_shape=False, element_shape=[None, k]) for dtype in (tf.float32, tf.int32)
        ]
        _, best, places = tf.while_loop(lambda turn, *_: turn < size, body, (0, *arrays), parallel_iterations=_PARALLEL)
        found = places.concat() + tf.gather(begins, list_of_pair)[:, None]
        back = tf.math.invert_permutation(pairs)
        shape = [tf.shape(queries)[0], probes * k]
        values, columns = (tf.reshape(tf.gather(array, back), shape) for array in (best.concat(), found))
        values, chosen = tf.math.top_k(values, k)
        return values, tf.gather(columns, chosen, batch_dims=1)


def _unstacked(begins: tf.Tensor, sizes: tf.Tensor) -> list[list[tf.Tensor]]:
    """Begin and size of each of the `_spans`."""
    return [tf.unstack(span) for span in tf.unstack(_spans(begins, sizes))]


def _spans(begins: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """int32 `[n, 2, 2]`: begins and sizes as `tf.slice` wants them, of matrices whose columns are all taken."""
    return tf.stack([tf.stack([begins, tf.zeros_like(begins)], 1), tf.stack([sizes, -tf.ones_like(sizes)], 1)], 1)
