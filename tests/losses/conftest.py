"""What the tests of losses measure: the value of a batch, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest


class Measured(NamedTuple):
    """What a loss answers: each example's number, their mean, and the gradients of the mean."""

    losses: Any
    value: float
    embeddings: Any
    weights: list[Any]


@pytest.fixture(scope="session")
def measure() -> Callable[..., Measured]:
    """Measures a loss on labels and embeddings."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import numpy as np
    import tensorflow as tf

    def measured(loss: Any, labels: Any, embeddings: Any, dtype: str = "float32") -> Measured:
        rows = tf.constant(np.asarray(embeddings, np.float32), dtype)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            losses = loss(np.asarray(labels), rows)
            value = tf.reduce_mean(losses)
        assert losses.dtype == tf.float32
        assert losses.shape == (len(rows),)
        found = tape.gradient(value, [rows, *(weight.value for weight in loss.trainable_weights)])
        gradients = [tf.zeros_like(rows) if one is None else tf.convert_to_tensor(one) for one in found]
        first, *rest = [tf.cast(gradient, tf.float32).numpy() for gradient in gradients]
        return Measured(losses.numpy(), float(value), first, rest)

    return measured
