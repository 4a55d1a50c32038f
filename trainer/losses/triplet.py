"""Triplet loss."""

from __future__ import annotations

from typing import Any, Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf
from keras import ops

from trainer.losses.pair_loss import PairLoss
from trainer.losses.replicas import share_among

__all__ = ["Triplet"]

_FAR = 3.0
"""Beyond all distances of unit vectors."""


@keras.saving.register_keras_serializable("shoppin")
class Triplet(PairLoss):
    """An anchor's positives should be nearer than its negatives, by a margin.

    Each triplet's term is `max(0, d(a, p) - d(a, n) + margin)`, or `log(1 + exp(d(a, p) - d(a, n)))` with the soft
    margin; d is the Euclidean distance of unit vectors. The mean is taken over the terms of the global batch that are
    not zero. Which triplets there are is up to the mining:

    - `semi_hard` (Schroff 2015): for each anchor and positive, the nearest of the negatives farther than the positive.
    - `batch_hard` (Hermans 2017): for each anchor, its farthest positive and its nearest negative.
    - `all`: every one of the batch. Memory grows with b x N x N numbers, so it suits no large batch or memory.

    Args:
        mining: see above. Default `semi_hard`.
        margin: a number, or `soft`. Default 0.2.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. It equals pytorch-metric-learning's `TripletMarginLoss` on
    those triplets. Departures: its `TripletMarginMiner("semihard")` takes every negative inside the margin, not the
    nearest one; its `smooth_loss` adds the margin inside the soft one. FaceNet squares the distances, with which
    Hermans found training less stable; Hermans averages the batch-hard terms over all anchors, those with a zero term
    too. TensorFlow Addons fell back on the farthest negative where none is semi-hard; such pairs are left out here.

    Papers: Schroff et al., "FaceNet", CVPR 2015, https://arxiv.org/abs/1503.03832; Hermans et al., "In Defense of the
    Triplet Loss for Person Re-Identification", https://arxiv.org/abs/1703.07737
    """

    def __init__(
        self,
        mining: Literal["semi_hard", "batch_hard", "all"] = "semi_hard",
        margin: float | Literal["soft"] = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mining not in _MINING:
            raise ValueError(f"expected mining among {', '.join(_MINING)}. Received: {mining!r}")
        if isinstance(margin, str) and margin != "soft":
            raise ValueError(f"expected a number or soft as margin. Received: {margin!r}")
        self.mining = mining
        self.margin = margin if isinstance(margin, str) else float(margin)

    def pair_losses(self, similarity: Any, grades: Any, comparable: Any) -> Any:
        positive = grades > 0.0
        negative = ops.logical_and(comparable, ops.logical_not(positive))
        farther, chosen = _MINING[self.mining](_distances(similarity), positive, negative)
        farther = ops.where(chosen, farther, 0.0)
        terms = ops.softplus(farther) if self.margin == "soft" else ops.relu(farther + self.margin)
        terms = ops.where(chosen, terms, 0.0)
        others = tuple(range(1, len(terms.shape)))
        return share_among(ops.sum(terms, axis=others), ops.sum(ops.cast(terms > 0.0, "float32"), axis=others))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mining": self.mining, "margin": self.margin}


def _distances(similarity: Any) -> Any:
    """Of unit vectors with these cosines; equal ones are at 0 and have no gradient, where it would be infinite."""
    squares = 2.0 - 2.0 * similarity
    apart = squares > 1e-12
    return ops.where(apart, ops.sqrt(ops.where(apart, squares, 1.0)), 0.0)


def _semi_hard(distance: Any, positive: Any, negative: Any) -> tuple[Any, Any]:
    ordered = tf.sort(tf.where(negative, distance, _FAR), axis=1)
    ordered = tf.concat([ordered, tf.fill([tf.shape(ordered)[0], 1], _FAR)], axis=1)
    beyond = tf.searchsorted(ordered, distance, side="right")
    beyond = tf.minimum(beyond, tf.shape(ordered)[1] - 1)  # a distance that is no number is beyond all
    nearest = tf.gather(ordered, beyond, batch_dims=1)
    return distance - nearest, tf.logical_and(positive, nearest < _FAR)


def _batch_hard(distance: Any, positive: Any, negative: Any) -> tuple[Any, Any]:
    farthest = ops.max(ops.where(positive, distance, -_FAR), axis=1, keepdims=True)
    nearest = ops.min(ops.where(negative, distance, _FAR), axis=1, keepdims=True)
    return farthest - nearest, ops.logical_and(farthest > -_FAR, nearest < _FAR)


def _all(distance: Any, positive: Any, negative: Any) -> tuple[Any, Any]:
    farther = ops.expand_dims(distance, 2) - ops.expand_dims(distance, 1)
    return farther, ops.logical_and(ops.expand_dims(positive, 2), ops.expand_dims(negative, 1))


# From distances, positives and negatives [b, N]: by how much each triplet's positive is farther than its negative, and
# which of these there are, [b, triplets...].
_MINING = {"semi_hard": _semi_hard, "batch_hard": _batch_hard, "all": _all}
