"""What the losses have in common that compare examples with learned proxies of the classes."""

from __future__ import annotations

import math
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
from keras import ops

from trainer.losses.metric_loss import MetricLoss, unit_rows

__all__ = ["ProxyLoss"]

_SPREAD = 0.1
"""Length of what tells a class's sub-centres apart when they start at one centre: equal ones would stay equal."""


class ProxyLoss(MetricLoss):
    """A loss on the cosines of each example to trained vectors, one or several a class.

    Args:
        num_classes: C.
        sub_centers: proxies a class; the nearest one of a class stands for it. Default 1.
        seed: of their random start, which is the same in every process. Default 0.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction.
    """

    def __init__(self, num_classes: int, sub_centers: int = 1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_classes < 1 or sub_centers < 1:
            raise ValueError(f"expected at least one class and sub-centre. Received: {num_classes}, {sub_centers}")
        self.num_classes, self.sub_centers, self.seed = int(num_classes), int(sub_centers), int(seed)

    def build(self, labels_shape: tuple[int | None, ...], embeddings_shape: tuple[int | None, ...]) -> None:
        width = int(embeddings_shape[-1])  # type: ignore[arg-type]
        start = keras.initializers.RandomNormal(stddev=1.0 / math.sqrt(width), seed=self.seed)
        self.proxies = self.add_weight(
            name="proxies", shape=(self.num_classes * self.sub_centers, width), initializer=start
        )

    def set_centers(self, centers: np.ndarray) -> None:
        centers = np.asarray(centers, np.float64)
        if centers.shape != (self.num_classes, self.proxies.shape[1]) or not np.isfinite(centers).all():
            raise ValueError(
                f"expected finite centres {[self.num_classes, self.proxies.shape[1]]}. Received: {list(centers.shape)}"
            )
        spread = np.random.default_rng(self.seed).normal(size=(self.num_classes, self.sub_centers, centers.shape[1]))
        spread *= _SPREAD / np.linalg.norm(spread, axis=-1, keepdims=True)
        spread[:, 0] = 0.0
        lengths = np.linalg.norm(centers, axis=1, keepdims=True)
        around = (centers / np.where(lengths > 0.0, lengths, 1.0))[:, None] + spread
        around /= np.maximum(np.linalg.norm(around, axis=-1, keepdims=True), 1e-12)
        before = self.proxies.numpy().reshape(around.shape)
        self.proxies.assign(np.where(lengths[:, None] > 0.0, around, before).reshape(self.proxies.shape))

    def similarities(self, embeddings: Any) -> Any:
        """Cosines float32 `[b, C]` of unit rows `[b, D]` to the nearest proxy of each class."""
        cosines = ops.matmul(embeddings, ops.transpose(unit_rows(self.proxies)))
        if self.sub_centers == 1:
            return cosines
        return ops.max(ops.reshape(cosines, (-1, self.num_classes, self.sub_centers)), axis=2)

    def membership(self, labels: Any) -> Any:
        """float32 `[b, C]`: 1 at the class of int32 `[b, A]`; nothing for a class outside of 0 to C - 1."""
        return ops.cast(ops.expand_dims(labels[:, 0], 1) == ops.arange(self.num_classes, dtype="int32"), "float32")

    def get_config(self) -> dict[str, Any]:
        own = {"num_classes": self.num_classes, "sub_centers": self.sub_centers, "seed": self.seed}
        return {**super().get_config(), **own}
