"""All that a stage trains for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from keras import ops

from trainer.losses.metric_loss import MetricLoss, serialized, to_loss

__all__ = ["Objective"]


@keras.saving.register_keras_serializable("shoppin")
class Objective(keras.layers.Layer):
    """Cross-entropy of the logits plus a loss on the embeddings, each example weighed by its class.

    `class_weight * (cross_entropy * CE(label, logits) + loss(class, embedding))`. The sum over all examples of all
    replicas divided by the global batch size is the loss of the batch, see `MetricLoss`.

    A mixture of two pictures has a mixed label: the cross-entropy and the class weight take it as it is, the loss on
    embeddings takes the heaviest class (the first of equally heavy ones).

    Args:
        cross_entropy: weight of the cross-entropy; at 0 the classifier learns nothing. Default 1.
        label_smoothing: of the cross-entropy. Default 0.1.
        loss: on the embeddings, a `MetricLoss`; it sees the class and, beside it, the attributes. Default none.
        class_weights: float `[C]`; default 1 for each.
        attributes: columns of `batch["attributes"]` that the loss needs. Default 0: it is not looked at.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        batch: `"label"` float32 `[b, C]`, one-hot or mixtures; `"attributes"` int32 `[b, attributes]`, codes of the
            attributes other than the label, -1 for a missing value, of a mixture those of its heaviest picture. Further
            keys are ignored.
        outputs: `"embedding"` float `[b, D]` and `"logits"` float `[b, C]`.
        training: whether memories take in the batch. Default true.

    Returns:
        float32 `[b]`.
    """

    def __init__(
        self,
        cross_entropy: float = 1.0,
        label_smoothing: float = 0.1,
        loss: MetricLoss | dict[str, Any] | None = None,
        class_weights: Sequence[float] | np.ndarray | None = None,
        attributes: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.cross_entropy, self.label_smoothing = float(cross_entropy), float(label_smoothing)
        self.loss = None if loss is None else to_loss(loss)
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self.attributes = int(attributes)
        if self.loss is None and not self.cross_entropy:
            raise ValueError("expected a weight above 0 of the cross-entropy, or a loss. Received: neither")

    def build(self, batch_shape: Mapping[str, Any], outputs_shape: Mapping[str, Any]) -> None:
        classes = batch_shape["label"][-1]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"expected {classes} class weights. Received: {len(self.class_weights)}")
        if self.loss is not None:
            self.loss.build((None, 1 + self.attributes), tuple(outputs_shape["embedding"]))

    def call(self, batch: Mapping[str, Any], outputs: Mapping[str, Any], training: bool = True) -> Any:
        labels = ops.cast(batch["label"], "float32")
        losses: Any = 0.0
        if self.cross_entropy:
            losses = self.cross_entropy * keras.losses.categorical_crossentropy(
                labels, ops.cast(outputs["logits"], "float32"), from_logits=True, label_smoothing=self.label_smoothing
            )
        if self.loss is not None:
            losses = losses + self.loss(self._targets(batch, labels), outputs["embedding"])
        weights = ops.ones_like(labels[0]) if self.class_weights is None else ops.convert_to_tensor(self.class_weights)
        return losses * ops.squeeze(ops.matmul(labels, ops.expand_dims(weights, 1)), 1)

    def _targets(self, batch: Mapping[str, Any], labels: Any) -> Any:
        """The class and the attributes that the loss needs, int32 `[b, 1 + attributes]`."""
        classes = ops.cast(ops.expand_dims(ops.argmax(labels, axis=1), 1), "int32")
        if not self.attributes:
            return classes
        codes = batch.get("attributes")
        if codes is None or codes.shape[1] != self.attributes:
            received = "none" if codes is None else list(codes.shape)
            raise ValueError(f"expected batch['attributes'] [b, {self.attributes}]. Received: {received}")
        return ops.concatenate([classes, ops.cast(codes, "int32")], axis=1)

    def set_centers(self, centers: np.ndarray) -> None:
        """Starts all proxies of the classes at these centres, float `[C, D]`; see `MetricLoss.set_centers`."""
        if self.loss is not None:
            self.loss.set_centers(centers)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cross_entropy": self.cross_entropy,
            "label_smoothing": self.label_smoothing,
            "loss": None if self.loss is None else serialized(self.loss),
            "class_weights": self.class_weights,
            "attributes": self.attributes,
        }
