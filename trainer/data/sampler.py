"""Which row comes when: a pure function of the position in the stream, so that a run can go on from any step."""

from __future__ import annotations

from typing import Protocol

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["Sampler", "ShuffledEpochs"]


class Sampler(Protocol):
    """Answers the row at a position of an endless stream. The same position always gives the same row."""

    def row(self, position: tf.Tensor) -> tf.Tensor:
        """The row (int64 scalar) of the item at a position (int64 scalar, from 0)."""
        ...


class ShuffledEpochs:
    """Every row once an epoch, in an order of its own each epoch, epochs joined without a gap.

    Args:
        count: number of rows.
        seed: of the orders.
    """

    def __init__(self, count: int, seed: int) -> None:
        if count < 1:
            raise ValueError(f"expected at least one row; received {count}")
        self.count = count
        self.seed = seed

    def row(self, position: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.constant(self.seed, tf.int64), position // self.count])
        return tf.random.experimental.index_shuffle(position % self.count, seed, self.count - 1)
