"""Standardisation of features with the training split's statistics, carried inside the graph."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

__all__ = ["Standardisation"]


@keras.saving.register_keras_serializable("shoppin")
class Standardisation(keras.layers.Layer):
    """`(features - mean) / scale` with the statistics of scikit-learn's `StandardScaler`.

    The statistics are weights that are never trained, so they are saved with the model and exported with its graph.
    Until `set_statistics` is called the layer answers its input.

    Call arguments:
        features: float `[B, F]`.

    Returns:
        float32 `[B, F]`.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = (int(input_shape[-1]),)  # type: ignore[arg-type]
        self.mean = self.add_weight(name="mean", shape=width, initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=width, initializer="ones", trainable=False)
        super().build(input_shape)

    def set_statistics(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Takes over `mean_` and `scale_` of a fitted `StandardScaler`, each float `[F]`; every scale is above 0."""
        if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(scale)) or np.any(np.asarray(scale) <= 0):
            raise ValueError("expected finite means and scales above 0; received others")
        self.mean.assign(np.asarray(mean, np.float32))
        self.scale.assign(np.asarray(scale, np.float32))

    def call(self, features: Any) -> Any:
        return (features - self.mean) / self.scale

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
