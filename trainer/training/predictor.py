"""Runs a model forward over batches, on every local device."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

__all__ = ["Predictor"]


class Predictor:
    """`model(batch, training=False)` compiled once, a batch divided among this process's replicas.

    Args:
        model: any model with one batch-major input structure.
        strategy: the one the model was made under. Default: the current one.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        self._forward = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
        self._distributed = tf.function(lambda shares: self._strategy.run(self._forward, args=(shares,)))
        several = self._strategy.num_replicas_in_sync > 1
        self._replicas = len(self._strategy.extended.worker_devices) if several else 1

    def __call__(self, batch: Any) -> Any:
        """The model's answer, as NumPy, for a batch of tensors or arrays with the same first dimension."""
        if self._replicas == 1:
            return tf.nest.map_structure(lambda t: t.numpy(), self._forward(batch))
        size = int(tf.nest.flatten(batch)[0].shape[0])
        share = -(-size // self._replicas)

        def portion(context: tf.distribute.ValueContext) -> Any:
            place = context.replica_id_in_sync_group % self._replicas * share
            wanted = np.minimum(np.arange(place, place + share), size - 1)
            return tf.nest.map_structure(lambda t: tf.gather(t, wanted), batch)

        answers = self._distributed(self._strategy.experimental_distribute_values_from_function(portion))
        local = self._strategy.experimental_local_results
        return tf.nest.map_structure(
            lambda answer: np.concatenate([part.numpy() for part in local(answer)])[:size], answers
        )
