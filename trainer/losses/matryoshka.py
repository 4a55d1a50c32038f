"""One loss at several widths of the embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.losses.metric_loss import MetricLoss, serialized, to_loss

__all__ = ["Matryoshka"]


@keras.saving.register_keras_serializable("shoppin")
class Matryoshka(MetricLoss):
    """The mean of a loss on the whole embedding and on its first so many numbers, brought to unit length again.

    So the embedding can be cut off at these widths and still be one. Each width has a copy of the loss, with proxies
    and memory of its own.

    Args:
        loss: the loss at full width; its settings hold for all.
        dimensions: the smaller widths.
        weights: of the smaller widths, then of the full one; default 1 for each.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. Departures: the paper sums over the widths, here it is the
    weighted mean, so that a loss's size does not depend on how many widths there are. The paper's classifiers take
    prefixes as they are; ours are compared by cosine, so they are normalised.

    Paper: Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022, https://arxiv.org/abs/2205.13147
    """

    def __init__(
        self,
        loss: MetricLoss | dict[str, Any],
        dimensions: Sequence[int],
        weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        whole = to_loss(loss)
        self.dimensions = [int(dimension) for dimension in dimensions]
        self.member_weights = [float(weight) for weight in weights or [1.0] * (len(dimensions) + 1)]
        if len(self.member_weights) != len(dimensions) + 1 or sum(self.member_weights) <= 0.0:
            raise ValueError(f"expected a weight for each width and the full one. Received: {self.member_weights}")
        copies = [type(whole).from_config({**whole.get_config(), "name": f"{whole.name}_{d}"}) for d in self.dimensions]
        self.members = [*copies, whole]

    def build(self, labels_shape: tuple[int | None, ...], embeddings_shape: tuple[int | None, ...]) -> None:
        width = int(embeddings_shape[-1])  # type: ignore[arg-type]
        if any(not 0 < dimension < width for dimension in self.dimensions):
            raise ValueError(f"expected dimensions of 1 to {width - 1}. Received: {self.dimensions}")
        for dimension, member in zip([*self.dimensions, width], self.members, strict=True):
            member.build(labels_shape, (*embeddings_shape[:-1], dimension))

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        members = zip([*self.dimensions, None], self.members, self.member_weights, strict=True)
        losses = [weight * member(labels, embeddings[:, :dimension]) for dimension, member, weight in members]
        return sum(losses) / sum(self.member_weights)

    def set_centers(self, centers: np.ndarray) -> None:
        for dimension, member in zip([*self.dimensions, None], self.members, strict=True):
            member.set_centers(centers[:, :dimension])

    def get_config(self) -> dict[str, Any]:
        loss = serialized(self.members[-1])
        own = {"loss": loss, "dimensions": self.dimensions, "weights": self.member_weights}
        return {**super().get_config(), **own}
