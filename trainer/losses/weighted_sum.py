"""Several losses as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.losses.metric_loss import MetricLoss, serialized, to_loss

__all__ = ["WeightedSum"]


@keras.saving.register_keras_serializable("shoppin")
class WeightedSum(MetricLoss):
    """The sum of losses, each times its weight.

    Args:
        losses: at least one.
        weights: as many; default 1 for each.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction.
    """

    def __init__(
        self, losses: Sequence[MetricLoss | dict[str, Any]], weights: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.members = [to_loss(loss) for loss in losses]
        self.member_weights = [float(weight) for weight in weights or [1.0] * len(losses)]
        if not losses or len(self.member_weights) != len(losses):
            raise ValueError(f"expected losses and as many weights. Received: {len(losses)}, {self.member_weights}")

    def build(self, labels_shape: tuple[int | None, ...], embeddings_shape: tuple[int | None, ...]) -> None:
        for member in self.members:
            member.build(labels_shape, embeddings_shape)

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        pairs = zip(self.member_weights, self.members, strict=True)
        return sum(weight * member(labels, embeddings) for weight, member in pairs)

    def set_centers(self, centers: np.ndarray) -> None:
        for member in self.members:
            member.set_centers(centers)

    def get_config(self) -> dict[str, Any]:
        losses = [serialized(member) for member in self.members]
        return {**super().get_config(), "losses": losses, "weights": self.member_weights}
