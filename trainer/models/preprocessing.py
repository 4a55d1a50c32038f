"""Preprocessing as layers, so that training and serving cannot differ: every model takes uint8 pictures."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

__all__ = ["CaffePreprocessing", "Coarsening", "ValueRange"]


@keras.saving.register_keras_serializable("shoppin")
class CaffePreprocessing(keras.layers.Layer):
    """What Keras's ResNet50 weights were trained on: channels in BGR order, the ImageNet mean taken off, no scaling.

    Call arguments:
        images: uint8 or float `[B, H, W, 3]`, RGB, 0 to 255.

    Returns:
        float `[B, H, W, 3]`, as `keras.applications.resnet.preprocess_input` makes it.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2015), the Caffe models released with it.
    """

    def call(self, images: Any) -> Any:
        images = keras.ops.cast(images, "float32")
        return keras.ops.cast(keras.applications.resnet.preprocess_input(images), self.compute_dtype)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("shoppin")
class Coarsening(keras.layers.Layer):
    """Reduces pictures and enlarges them again, so that a model sees no more than a smaller picture would show.

    For comparing with results on small pictures by models that need larger ones. Both ways bilinear, antialiased.

    Args:
        size: height and width in pixels that pictures are reduced to.

    Call arguments:
        images: uint8 or float `[B, H, W, 3]`, 0 to 255, H and W at least `size`.

    Returns:
        float32 `[B, H, W, 3]`, 0 to 255; the reduced picture's levels are rounded, as those of a file would be.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = int(size)

    def call(self, images: Any) -> Any:
        height, width = images.shape[1:3]
        small = keras.ops.image.resize(keras.ops.cast(images, "float32"), (self.size, self.size), antialias=True)
        return keras.ops.image.resize(keras.ops.round(small), (height, width))

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("shoppin")
class ValueRange(keras.layers.Layer):
    """Maps pixel values 0…255 linearly onto a range such as [0, 1] or [-1, 1].

    Args:
        low: what 0 becomes. Default 0.
        high: what 255 becomes. Default 1.

    Call arguments:
        images: uint8 or float, any shape.

    Returns:
        float of the same shape, in the layer's compute dtype.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low = float(low)
        self.high = float(high)

    def call(self, images: Any) -> Any:
        images = keras.ops.cast(images, "float32") * ((self.high - self.low) / 255.0) + self.low
        return keras.ops.cast(images, self.compute_dtype)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high}
