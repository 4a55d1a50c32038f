"""What a loss must know of the other replicas of a `tf.distribute` strategy."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["gather_rows", "own_places", "share_among"]


def _replicas() -> Any:
    """The context of this replica where there are several, else `None`."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def gather_rows(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, one replica's after the other's.

    A gradient flows back to the replica that a row came from, summed over all replicas that used it.

    Args:
        rows: `[b, ...]`, of this replica; the other axes are alike on all.

    Returns:
        `[B, ...]`, the same on every replica; the rows themselves where there is one replica.
    """
    replicas = _replicas()
    # The identity is placed on this replica's device; an input of the function may be placed nowhere, which fails.
    return rows if replicas is None else replicas.all_gather(tf.identity(rows), axis=0)


def own_places(rows: tf.Tensor) -> tf.Tensor:
    """int32 `[b]`: where `gather_rows` puts this replica's rows, given that all replicas have as many."""
    count = tf.shape(rows)[0]
    replicas = _replicas()
    first = 0 if replicas is None else count * tf.cast(replicas.replica_id_in_sync_group, tf.int32)
    return first + tf.range(count)


def share_among(sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Scales sums of terms so that their mean over the global batch is the mean over all terms of the global batch.

    `answer_i = sums_i * B / max(1, sum of counts over the global batch)`: a mean over those that count (anchors with a
    positive, triplets that are not zero) must be taken over all replicas, or several would not give what one gives.

    Args:
        sums: float32 `[b]`, each example's sum of terms.
        counts: float32 `[b]`, how many terms of each example count.

    Returns:
        float32 `[b]`.
    """
    found = tf.stop_gradient(tf.stack([tf.cast(tf.shape(sums)[0], tf.float32), tf.reduce_sum(counts)]))
    replicas = _replicas()
    if replicas is not None:
        found = replicas.all_reduce("SUM", found)
    return sums * (found[0] / tf.maximum(found[1], 1.0))
