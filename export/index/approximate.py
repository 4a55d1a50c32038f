"""Comparing with every row and selecting approximately: for TPU."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.index.exact import ExactIndex
from export.index.selection import padded

__all__ = ["ApproximateIndex"]


class ApproximateIndex(ExactIndex):
    """Compares with every row in one product and selects with `approx_max_k`, on TPUs as fast as the product itself.

    Chern et al., "TPU-KNN: K Nearest Neighbor Search at Peak FLOP/s", 2022 (https://arxiv.org/abs/2206.14286).

    Args:
        recall: share of the true k nearest to find, on average.
    """

    is_exact = False

    def __init__(self, recall: float) -> None:
        super().__init__("approximate")
        self.recall = recall

    def __call__(self, queries: tf.Tensor, k: int, admitted: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.__call__`."""
        if not self.count:
            return super().__call__(queries, k, admitted)
        scores = tf.matmul(queries, self.vectors, transpose_b=True)
        if admitted is not None:
            scores = tf.where(tf.gather(admitted, self.groups, axis=1), scores, float("-inf"))
        best, rows = tf.math.approx_max_k(scores, min(k, self.count), recall_target=self.recall)
        return padded(best, rows, k)
