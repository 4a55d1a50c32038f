"""Generalised-mean pooling."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

__all__ = ["GeneralisedMeanPooling2D"]


@keras.saving.register_keras_serializable("shoppin")
class GeneralisedMeanPooling2D(keras.layers.Layer):
    """`(mean over places of max(x, eps)^p)^(1/p)` for each channel: between average (p = 1) and maximum (p = ∞).

    Computed in float32 whatever the precision policy, since powers of half-precision numbers overflow.

    Args:
        p: exponent, not trained. Default 3.
        eps: smallest value taken into account. Default 1e-6.

    Call arguments:
        maps: float `[B, H, W, C]`, not negative.

    Returns:
        float32 `[B, C]`.

    Paper: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
    https://arxiv.org/abs/1711.02512
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.p = float(p)
        self.eps = float(eps)

    def call(self, maps: Any) -> Any:
        powers = keras.ops.power(keras.ops.maximum(maps, self.eps), self.p)
        return keras.ops.power(keras.ops.mean(powers, axis=(1, 2)), 1.0 / self.p)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "p": self.p, "eps": self.eps}
