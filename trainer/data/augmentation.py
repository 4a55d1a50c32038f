"""Augmentation with keras-cv's layers, each switched by itself, deterministic and parallel."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import keras_cv
import tensorflow as tf

from trainer.config import AugmentationConfig
from trainer.data.seeded_draws import SeededDraws

__all__ = ["Augmentation"]

_PICTURES, _BATCHES = 1, 2  # streams of seeds that never meet


class Augmentation:
    """The augmentations of one training stage.

    Args:
        config: which ones, and how strong.
        image_size: height and width of the pictures in pixels.
        seed: of the run. The same seed and position give the same picture.
    """

    def __init__(self, config: AugmentationConfig, image_size: int, seed: int) -> None:
        self._seed = seed
        self._draws = SeededDraws()
        with self._draws.installed(), _float32():
            self._picture_layers = _picture_layers(config, image_size)
            self._batch_layers = _batch_layers(config)
        self._build(image_size)

    def _build(self, image_size: int) -> None:
        # Keras calls a layer once more the first time, to build it, and that would shift the numbers of the draws.
        position = tf.TensorSpec((), tf.int64)
        image = tf.TensorSpec((image_size, image_size, 3), tf.uint8)
        tf.function(self.picture).get_concrete_function(image, position)
        images, labels = tf.TensorSpec((2, *image.shape), tf.uint8), tf.TensorSpec((2, 2), tf.float32)
        tf.function(self.batch).get_concrete_function(images, labels, position)

    @property
    def mixes(self) -> bool:
        """Whether labels become mixtures of two."""
        return bool(self._batch_layers)

    def picture(self, image: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Augments one picture.

        Args:
            image: uint8 `[H, W, 3]`.
            position: int64 scalar, of the picture in the training stream.

        Returns:
            uint8 `[H, W, 3]`.
        """
        if not self._picture_layers:
            return image
        with self._draws.seeded(self._key(_PICTURES, position)):
            result = tf.cast(image, tf.float32)
            for layer in self._picture_layers:
                result = layer(result, training=True)
        return _to_uint8(tf.ensure_shape(result, image.shape))

    def batch(self, images: tf.Tensor, labels: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mixes the pictures of a batch and their labels (CutMix, MixUp).

        Args:
            images: uint8 `[B, H, W, 3]`.
            labels: float32 `[B, C]`, one-hot.
            position: int64 scalar, of the batch's first picture.

        Returns:
            Both, of the same shapes and dtypes.
        """
        if not self._batch_layers:
            return images, labels
        with self._draws.seeded(self._key(_BATCHES, position)):
            mixed = {"images": tf.cast(images, tf.float32), "labels": labels}
            for layer in self._batch_layers:
                mixed = layer(mixed, training=True)
        return _to_uint8(tf.ensure_shape(mixed["images"], images.shape)), tf.ensure_shape(mixed["labels"], labels.shape)

    def _key(self, stream: int, position: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.constant(self._seed * 4 + stream, tf.int64), position])


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Layers made here compute in float32 whatever the models do: bfloat16 cannot hold pixel values."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def _picture_layers(config: AugmentationConfig, image_size: int) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    if config.crop < 1.0:
        layers.append(
            keras_cv.layers.RandomCropAndResize(
                target_size=(image_size, image_size),
                crop_area_factor=(config.crop, 1.0),
                aspect_ratio_factor=(math.sqrt(config.crop), 1.0 / math.sqrt(config.crop)),
            )
        )
    if config.flip:
        layers.append(keras_cv.layers.RandomFlip("horizontal"))
    if config.colour > 0.0:
        layers.append(
            keras_cv.layers.RandomColorJitter(
                value_range=(0, 255),
                brightness_factor=config.colour,
                contrast_factor=config.colour,
                saturation_factor=(0.5 - config.colour / 2, 0.5 + config.colour / 2),
                hue_factor=config.colour / 4,
            )
        )
    if config.rand_augment > 0.0:
        layers.append(
            keras_cv.layers.RandAugment(value_range=(0, 255), augmentations_per_image=2, magnitude=config.rand_augment)
        )
    return layers


def _batch_layers(config: AugmentationConfig) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    if config.cut_mix > 0.0:
        layers.append(keras_cv.layers.CutMix(alpha=config.cut_mix))
    if config.mix_up > 0.0:
        layers.append(keras_cv.layers.MixUp(alpha=config.mix_up))
    return layers


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(tf.clip_by_value(images, 0.0, 255.0)), tf.uint8)
