"""Which row comes when: a pure function of the position in the stream, so that a run can go on from any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

__all__ = ["MinedSampler", "Sampler", "ShuffledEpochs", "graph_row"]

_WORD = 498247692
"""What `tf.random.experimental.index_shuffle` puts before a seed. It takes no seed for each of several positions."""


class Sampler(Protocol):
    """Answers the row at a position of an endless stream. The same position always gives the same row."""

    def row(self, position: tf.Tensor) -> tf.Tensor:
        """The row of the item at a position, from 0: int64, a scalar or `[n]` as the positions are."""
        ...


@runtime_checkable
class MinedSampler(Sampler, Protocol):
    """A sampler whose rows depend, beside the position, on what the model made of the items some epochs ago."""

    def refresh(self, epoch: int, encode: Callable[[], np.ndarray] | None = None) -> bool:
        """Makes ready for an epoch; to be called before the first stream of a run and after each epoch.

        Args:
            epoch: number of whole epochs trained so far.
            encode: answers the embeddings, float32 `[N, D]`, of all rows by the model as it is now. To be given exactly
                where no step of the epoch has been done and this process writes checkpoints. Without it, what was found
                at the epoch's beginning is read again, so that a run stopped in the midst of an epoch goes on with the
                same rows, and all workers see the same.

        Returns:
            Whether other rows come from now on: streams made before must then be made anew from the batch they are at,
            since they read ahead.
        """
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
        fixed = (tf.fill(tf.shape(position), tf.constant(word, tf.int64)) for word in (_WORD, self.seed))
        seeds = tf.stack([*fixed, position // self.count], axis=-1)
        return tf.raw_ops.RandomIndexShuffle(index=position % self.count, seed=seeds, max_index=self.count - 1)


def graph_row(row: Callable[[int], int], position: tf.Tensor) -> tf.Tensor:
    """A function of a position in Python as one of a graph.

    Args:
        row: a pure function from a position to a row.
        position: int64, a scalar or `[n]`.

    Returns:
        int64, of the same shape.
    """

    def rows(positions: np.ndarray) -> np.ndarray:
        return np.array([row(place) for place in positions.ravel().tolist()], np.int64).reshape(positions.shape)

    return tf.ensure_shape(tf.numpy_function(rows, [position], tf.int64, stateful=False), position.shape)
