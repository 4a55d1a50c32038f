"""The best rows of many: top-k by windows and by blocks. Exact; among equal scores the lower row wins."""

from __future__ import annotations

from collections.abc import Callable

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["BLOCK", "MISSING", "best_of_block", "best_rows", "padded", "scores_of_rows"]

BLOCK = 65536
"""Rows at a time. Their scores stay in the processor's cache, and memory does not grow with the table."""
WINDOW = 32
_PARALLEL = 2
MISSING = float("-inf")


def best_of_block(scores: tf.Tensor, count: int, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The min(k, count) best rows of a block, without sorting all its scores.

    The scores are cut into windows; the k windows with the greatest maxima hold the k best rows. A window left out has
    k windows before it in the order of (maximum, position), and so k rows that come before each of its own.

    Args:
        scores: float32 `[count, B]`, no NaN.
        count: rows.
        k: at least 1.

    Returns:
        Scores float32 `[B, min(k, count)]`, the greatest first, and rows int32 of the same shape.
    """
    k = min(k, count)
    if count < 4 * k * WINDOW:
        best, rows = tf.math.top_k(tf.transpose(scores), k)
        return best, rows
    if count % WINDOW:
        scores = tf.pad(scores, [[0, -count % WINDOW], [0, 0]], constant_values=MISSING)
    windows = -(-count // WINDOW)
    batch = tf.shape(scores)[1]
    maxima = tf.reduce_max(tf.reshape(scores, [windows, WINDOW, batch]), axis=1)
    # In the order of their rows, so that the lower row wins among equals here too.
    chosen = tf.sort(tf.math.top_k(tf.transpose(maxima), k).indices)
    rows = tf.reshape(chosen[:, :, None] * WINDOW + tf.range(WINDOW), [batch, k * WINDOW])
    candidates = tf.gather(tf.reshape(scores, [-1]), rows * batch + tf.range(batch)[:, None])
    best, places = tf.math.top_k(candidates, k)
    return best, tf.gather(rows, places, batch_dims=1)


def best_rows(
    score: Callable[[tf.Tensor | int, int], tf.Tensor], count: int, batch: tf.Tensor, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best of all rows, block by block.

    Args:
        score: `score(start, size)` gives float32 `[size, B]`, the scores of the rows from `start`; `size` is at most
            `BLOCK`, and a Python number.
        count: N, rows.
        batch: B, int32 scalar.
        k: at least 1.

    Returns:
        Scores float32 `[B, k]` and rows int32 `[B, k]`; -1 with minus infinity where there are too few.
    """
    parts = []
    whole = count // BLOCK
    if whole:
        parts.append(_best_of_blocks(score, whole, batch, k))
    if count % BLOCK:
        start = whole * BLOCK
        best, rows = best_of_block(score(start, count % BLOCK), count % BLOCK, k)
        parts.append((best, rows + start))
    if not parts:
        return tf.fill([batch, k], MISSING), tf.fill([batch, k], -1)
    best, rows = (tf.concat(values, axis=1) for values in zip(*parts, strict=True))
    if len(parts) > 1 or whole > 1:
        best, places = tf.math.top_k(best, min(k, count))
        rows = tf.gather(rows, places, batch_dims=1)
    return padded(best, rows, k)


def padded(best: tf.Tensor, rows: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings scores and rows `[B, up to k]` to k columns, and takes away the rows whose score is minus infinity."""
    missing = tf.maximum(k - tf.shape(best)[1], 0)
    best = tf.ensure_shape(tf.pad(best, [[0, 0], [0, missing]], constant_values=MISSING), [None, k])
    rows = tf.ensure_shape(tf.pad(rows, [[0, 0], [0, missing]], constant_values=-1), [None, k])
    return best, tf.where(best > MISSING, rows, -1)


def scores_of_rows(vectors: tf.Variable, queries: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Similarity of each query to some rows of its own.

    Args:
        vectors: float32 `[N, D]`.
        queries: float32 `[B, D]`.
        rows: int32 `[B, C]`, -1 for none.

    Returns:
        Float32 `[B, C]`, minus infinity for none.
    """
    found = tf.gather(vectors, tf.maximum(rows, 0))
    return tf.where(rows >= 0, tf.linalg.matvec(found, queries), MISSING)


def _best_of_blocks(
    score: Callable[[tf.Tensor | int, int], tf.Tensor], blocks: int, batch: tf.Tensor, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best of each whole block, side by side: `[B, blocks * min(k, BLOCK)]`, the blocks in order."""

    def body(
        block: tf.Tensor, best: tf.TensorArray, rows: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        start = block * BLOCK
        values, places = best_of_block(score(start, BLOCK), BLOCK, k)
        return block + 1, best.write(block, values), rows.write(block, places + start)

    arrays = tf.TensorArray(tf.float32, blocks), tf.TensorArray(tf.int32, blocks)
    _, best, rows = tf.while_loop(lambda block, *_: block < blocks, body, (0, *arrays), parallel_iterations=_PARALLEL)
    width = blocks * min(k, BLOCK)
    best, rows = (tf.reshape(tf.transpose(array.stack(), [1, 0, 2]), [batch, width]) for array in (best, rows))
    return best, rows
