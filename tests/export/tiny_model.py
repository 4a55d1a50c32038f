"""A small model with all that the exporter rewrites: batch normalisation, a hub module with a GELU, a head."""

from __future__ import annotations

from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.models.head import build_head, compose
from trainer.models.hub_vit import build_hub_vit
from trainer.models.preprocessing import CaffePreprocessing

SIZE, DIMENSION = 32, 8
LABELS = ("shirt", "shoe", "watch")


def hub_module() -> tf.train.Checkpoint:
    """Patches, two dense layers over the sequence with a GELU between them, the mean."""
    draw = np.random.default_rng(1).normal
    shapes = {"patches": (8, 8, 3, 16), "first": (16, 64), "bias": (64,), "second": (64, 32)}
    weights = {name: tf.Variable(draw(size=shape, scale=0.2).astype(np.float32)) for name, shape in shapes.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32), tf.TensorSpec((), tf.bool)])
    def call(images: tf.Tensor, training: tf.Tensor) -> tf.Tensor:
        images = tf.cond(training, lambda: tf.nn.dropout(images, 0.5), lambda: images)
        rows = tf.reshape(tf.nn.conv2d(images, weights["patches"], 8, "VALID"), (-1, 16, 16))
        hidden = tf.nn.bias_add(tf.tensordot(rows, weights["first"], 1), weights["bias"])
        return tf.reduce_mean(tf.tensordot(keras.activations.gelu(hidden, approximate=False), weights["second"], 1), 1)

    module = tf.train.Checkpoint()
    module.__call__ = call
    module.variables = module.trainable_variables = list(weights.values())
    module.regularization_losses = []
    return module


def tiny_cnn(seed: int = 0) -> keras.Model:
    """Five convolutions with batch normalisation that has seen something."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x = CaffePreprocessing()(images)
    for number in range(5):
        x = keras.layers.Conv2D(16, 3, strides=1 + (number in (1, 3)), padding="same", name=f"convolution_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"normalisation_{number}")(x)
        shortcut = x
        x = keras.layers.Activation("relu")(x)
    x = keras.layers.Add()([x, shortcut])
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="cnn")
    draw = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (draw.uniform(0.5, 1.5, 16).astype(np.float32) for _ in range(4))
            layer.set_weights([gamma, beta - 1, mean - 1, variance * (5000 if layer.name.endswith("_0") else 1)])
    return model


def tiny_model(folder: Path, seed: int = 0) -> keras.Model:
    """The two backbones fused."""
    if not (folder / "hub").exists():
        tf.saved_model.save(hub_module(), str(folder / "hub"))
    hub = build_hub_vit(str(folder / "hub"), SIZE)
    backbones = {"cnn": tiny_cnn(seed), "hub_vit": hub}
    head = build_head({"cnn": 16, "hub_vit": 32}, len(LABELS), DIMENSION)
    return compose(backbones, head, SIZE, "fused")


def some_pixels(count: int = 6) -> np.ndarray:
    """uint8 `[count, SIZE, SIZE, 3]`, smooth, each of its own colours."""
    draw = np.random.default_rng(5)
    coarse = draw.integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    return tf.cast(tf.image.resize(coarse, (SIZE, SIZE)), tf.uint8).numpy()
