"""What all losses on embeddings have in common."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from keras import ops

__all__ = ["MetricLoss", "as_columns", "log_one_plus_sum_exp", "serialized", "to_loss", "unit_rows"]

_SHORTEST = 1e-6
"""Vectors shorter than this have no direction."""


class MetricLoss(keras.layers.Layer):
    """A loss on labels and embeddings: `loss(labels, embeddings)` answers one number an example.

    Embeddings of any length and precision may come; only their direction counts, and all is computed in float32. A
    zero vector is similar to nothing. Every loss and its gradient are finite whatever the batch holds, and zero where
    nothing is asked of it: for pairs, in a batch without positives.

    The answers are such that *their sum over the examples of every replica, divided by the size of the global batch* is
    the loss of that batch as one device would compute it: what the training loop and Keras's reduction
    `sum_over_batch_size` do. Losses on pairs gather the global batch for that, and those that average over
    fewer terms than examples count these over all replicas; the gradients, summed over the replicas, agree likewise.
    Every replica must have as many examples as any other.

    Call arguments:
        labels: int `[b]`, the classes; or int `[b, A]`, codes of A attributes, the class first. -1 stands for a missing
            value, which agrees with nothing, not even with another missing one.
        embeddings: float `[b, D]`.

    Returns:
        float32 `[b]`.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Keras casts the embeddings to it, whatever the precision policy: halves are too coarse for exponentials.
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def build(self, labels_shape: tuple[int | None, ...], embeddings_shape: tuple[int | None, ...]) -> None:
        """Makes the loss's weights, if it has any."""

    def call(self, labels: Any, embeddings: Any) -> Any:
        return self.example_losses(as_columns(labels), unit_rows(embeddings))

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        """To be overridden: int32 `[b, A]` and float32 `[b, D]` of unit length to float32 `[b]`."""
        raise NotImplementedError

    def set_centers(self, centers: np.ndarray) -> None:
        """Starts the proxies of the classes, where the loss has any, at these centres.

        Args:
            centers: float `[C, D]` of any length; a class whose row is zero keeps its random proxy.
        """


def as_columns(labels: Any) -> Any:
    """Labels `[b]` or `[b, A]` as int32 `[b, A]`."""
    labels = ops.cast(labels, "int32")
    return ops.expand_dims(labels, 1) if len(labels.shape) == 1 else labels


def unit_rows(rows: Any) -> Any:
    """Rows float32 `[n, D]` brought to unit length; a zero row stays zero, with a finite gradient."""
    squares = ops.sum(ops.square(rows), axis=-1, keepdims=True)
    return rows * ops.rsqrt(ops.where(squares > _SHORTEST**2, squares, 1.0))


def log_one_plus_sum_exp(values: Any, counted: Any, axis: int) -> Any:
    """`log(1 + sum of exp(values))` over those that are counted, without overflow; 0 where none is.

    Args:
        values: float32 `[n, m]`.
        counted: bool `[n, m]`.
        axis: over which to sum.
    """
    values = ops.where(counted, values, -1e9)
    return ops.logsumexp(ops.concatenate([values, ops.zeros_like(ops.take(values, [0], axis))], axis), axis)


def serialized(loss: MetricLoss) -> dict[str, Any]:
    """A loss as JSON, for the configuration of one that wraps it and will build it."""
    config = keras.saving.serialize_keras_object(loss)
    config.pop("build_config", None)  # or it would come back built already, perhaps for another width
    return config


def to_loss(loss: Any) -> MetricLoss:
    """A loss, or what `serialized` made of one, as a loss."""
    found = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss
    if not isinstance(found, MetricLoss):
        raise ValueError(f"expected a MetricLoss. Received: {loss!r}")
    return found
