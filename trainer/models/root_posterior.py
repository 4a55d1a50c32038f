"""The square root of class probabilities, as a part of an embedding."""

from __future__ import annotations

import math
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

__all__ = ["RootPosterior"]


@keras.saving.register_keras_serializable("shoppin")
class RootPosterior(keras.layers.Layer):
    """`sqrt(weight * softmax(sharpness * logits))`: a vector of the length `sqrt(weight)` for every picture.

    The scalar product of two such vectors is the Bhattacharyya coefficient of the two distributions: near `weight`
    where both pictures are surely of one class, near 0 where they are surely of different ones, and in between where
    one of them is doubtful.

    Args:
        sharpness: inverse temperature. Default 1.
        weight: squared length of the answer. Default 1.

    Call arguments:
        logits: float `[B, C]`.

    Returns:
        float32 `[B, C]`, nothing below 0.

    Source: Bhattacharyya, "On a measure of divergence between two statistical populations" (1943).
    """

    def __init__(self, sharpness: float = 1.0, weight: float = 1.0, **kwargs: Any) -> None:
        if sharpness <= 0 or weight <= 0:
            raise ValueError(f"expected sharpness and weight above 0; received {sharpness} and {weight}")
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.sharpness = float(sharpness)
        self.weight = float(weight)

    def call(self, logits: Any) -> Any:
        # The logarithm's half, since the root itself has no derivative at 0.
        logarithm = keras.ops.log_softmax(keras.ops.cast(logits, "float32") * self.sharpness, axis=-1)
        return keras.ops.exp(0.5 * (logarithm + math.log(self.weight)))

    def compute_output_spec(self, logits: Any) -> keras.KerasTensor:
        return keras.KerasTensor(logits.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sharpness": self.sharpness, "weight": self.weight}
