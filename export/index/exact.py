"""Comparing with every row, in float32."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.index.base import Index
from export.index.filling import assign_rows, empty_variable, unit_chunks
from export.index.selection import best_rows
from export.table_rows import TableRows

__all__ = ["ExactIndex"]


class ExactIndex(Index):
    """Compares each query with every row in float32.

    The products are `rows x queries`, not `queries x rows`: for few queries the processor's matrix routines read the
    rows once and in order only this way round.
    """

    is_exact = True

    def __init__(self, name: str = "exact") -> None:
        super().__init__(name)

    def index(self, rows: TableRows) -> None:
        """See `Index.index`."""
        self.count, self.dimension = rows.count, rows.dimension
        self.vectors = empty_variable((rows.count, rows.dimension), tf.float32, "vectors")
        for start, vectors in unit_chunks(rows):
            assign_rows(self.vectors, start, vectors)

    def __call__(self, queries: tf.Tensor, k: int, admitted: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.__call__`."""
        penalties = self._penalties(admitted)

        def score(start: tf.Tensor | int, size: int) -> tf.Tensor:
            scores = tf.matmul(self.vectors[start : start + size], queries, transpose_b=True)
            return self._penalised(tf.ensure_shape(scores, [size, None]), penalties, start, start + size)

        return best_rows(score, self.count, tf.shape(queries)[0], k)
