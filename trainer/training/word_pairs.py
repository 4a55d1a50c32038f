"""Which text stands for which item when."""

from __future__ import annotations

import functools
import zlib

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from trainer.data.pipeline import Share, stream_positions, untuned
from trainer.data.sampler import Sampler
from trainer.data.texts import ItemTexts
from trainer.models.text_encoder import TextEncoder

__all__ = ["DrawnTexts", "cropped"]

_STEP = 8
"""Batches of tokens are as wide as their longest text, rounded up to a multiple of this: few shapes to prepare for."""


class DrawnTexts:
    """A text for every training row, drawn anew each epoch: a function of the seed and the position in the stream.

    Args:
        texts: of the training items.
        count: N, the number of items.
        encoder: whose tokens they become.
        sampler: which row comes when; each row once in N positions.
        seed: of the run.

    Attributes:
        count: N.
    """

    def __init__(self, texts: ItemTexts, count: int, encoder: TextEncoder, sampler: Sampler, seed: int) -> None:
        self._texts, self.count, self._encoder, self._sampler, self._seed = texts, count, encoder, sampler, seed
        self._epoch = functools.lru_cache(maxsize=2)(self._draw)  # a batch may lie in two epochs

    def batches(self, share: Share, first: int) -> tf.data.Dataset:
        """The endless stream of this process's share, from the global batch of that number on.

        Yields:
            `{"row": int64 [b], "tokens": int32 [b, L], "group": int32 [b]}`; equal texts are of one group, whose number
            is the text's alone.
        """

        def read(positions: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tf.ensure_shape(self._sampler.row(positions), (share.per_replica,))
            found = tf.numpy_function(self._read, [positions, rows], [tf.int32, tf.int32])
            tokens, groups = (tf.ensure_shape(values, shape) for values, shape in zip(found, shapes, strict=True))
            return {"row": rows, "tokens": tokens, "group": groups}

        shapes = ((share.per_replica, None), (share.per_replica,))
        positions = stream_positions(share, first).batch(share.per_replica, drop_remainder=True)
        return positions.map(read).prefetch(2).with_options(untuned())

    def _read(self, positions: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epochs = positions // self.count
        tokens = np.empty((len(rows), self._encoder.length), np.int32)
        groups = np.empty(len(rows), np.int32)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            all_tokens, all_groups = self._epoch(int(epoch))
            tokens[of_epoch], groups[of_epoch] = all_tokens[rows[of_epoch]], all_groups[rows[of_epoch]]
        return cropped(tokens), groups

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = self._texts.sample(np.arange(self.count), np.random.default_rng((self._seed, epoch)))
        different, place = np.unique(np.asarray(drawn, object), return_inverse=True)
        tokens = self._encoder.tokenize(different.tolist())
        groups = np.array([zlib.crc32(row.tobytes()) for row in tokens], np.uint32).view(np.int32)
        return tokens[place], groups[place]


def cropped(tokens: np.ndarray) -> np.ndarray:
    """Tokens int32 `[N, length]` without the columns after the longest text, as far as `_STEP` allows."""
    longest = int(tokens.argmax(axis=1).max(initial=0)) + 1  # the end token has the highest number
    return tokens[:, : -(-longest // _STEP) * _STEP]
