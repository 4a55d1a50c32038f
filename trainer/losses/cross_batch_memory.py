"""Cross-batch memory."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.metric_loss import MetricLoss, as_columns, serialized, to_loss, unit_rows
from trainer.losses.pair_loss import PairLoss, References, global_batch

__all__ = ["CrossBatchMemory"]


@keras.saving.register_keras_serializable("shoppin")
class CrossBatchMemory(MetricLoss):
    """A loss on pairs that also compares with embeddings of former batches: many more negatives at hardly any cost.

    Embeddings drift slowly once training has settled, so old ones are nearly as good as fresh ones. The memory is a
    first-in-first-out queue in weights that are not trained: saved with what holds the layer, so that training goes on
    with the very same memory. Each call with `training=True` puts the global batch into it; each call compares with the
    batch, through which gradients flow, and with what is remembered, through which none do.

    Args:
        loss: a `PairLoss`.
        size: how many embeddings are remembered. Fewer than an epoch has: else an item meets its own former self.
        start: how many batches pass before anything is remembered, for the model to settle. Default 0.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        labels, embeddings: see `MetricLoss`.
        training: whether to remember the batch. Default true.

    Departure from the paper's code, which adds the loss against the memory (with the batch in it) to that within the
    batch: here the batch and the memory together are the references of one loss. pytorch-metric-learning's
    `CrossBatchMemory` has one loss too, but takes no gradient through the batch as references.

    Paper: Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020, https://arxiv.org/abs/1912.06798
    """

    def __init__(self, loss: PairLoss | dict[str, Any], size: int, start: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = to_loss(loss)
        if not isinstance(inner, PairLoss):
            raise ValueError(f"expected a loss on pairs to remember others for. Received: {inner!r}")
        if size < 1 or start < 0:
            raise ValueError(f"expected size of at least 1 and start of at least 0. Received: {size}, {start}")
        self.loss, self.size, self.start = inner, int(size), int(start)

    def build(self, labels_shape: tuple[int | None, ...], embeddings_shape: tuple[int | None, ...]) -> None:
        columns = labels_shape[1] if len(labels_shape) > 1 else 1
        self.embeddings = self._memory("embeddings", (self.size, embeddings_shape[-1]), "float32")
        self.labels = self._memory("labels", (self.size, columns), "int32")
        self.filled = self._memory("filled", (), "int32")
        self.batches = self._memory("batches", (), "int32")
        self.loss.build(labels_shape, embeddings_shape)

    def _memory(self, name: str, shape: tuple[Any, ...], dtype: str) -> keras.Variable:
        # Every replica assigns the same value: that of the global batch.
        return self.add_weight(
            name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False, aggregation="only_first_replica"
        )

    def call(self, labels: Any, embeddings: Any, training: bool = True) -> Any:
        labels, embeddings = as_columns(labels), unit_rows(embeddings)
        batch = global_batch(labels, embeddings)
        known = ops.expand_dims(ops.arange(self.size, dtype="int32") < self.filled, 0)
        references = References(
            ops.concatenate([batch.labels, self.labels]),
            ops.concatenate([batch.embeddings, self.embeddings]),
            ops.concatenate([batch.comparable, ops.broadcast_to(known, (ops.shape(labels)[0], self.size))], axis=1),
        )
        losses = self.loss.losses_against(labels, embeddings, references)
        if training:
            self._remember(references, ops.shape(batch.labels)[0])
        return losses

    def _remember(self, references: References, count: Any) -> None:
        """Newest first: the batch before what was there, of which the oldest falls off."""
        counting = self.batches >= self.start
        filled = ops.where(counting, ops.minimum(self.filled + count, self.size), 0)
        self.embeddings.assign(references.embeddings[: self.size])
        self.labels.assign(references.labels[: self.size])
        self.filled.assign(filled)
        self.batches.assign(self.batches + 1)

    def get_config(self) -> dict[str, Any]:
        loss = serialized(self.loss)
        return {**super().get_config(), "loss": loss, "size": self.size, "start": self.start}
