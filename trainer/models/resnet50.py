"""The ResNet50 backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.errors import InputError
from trainer.models.preprocessing import CaffePreprocessing

__all__ = ["build_resnet50"]

_LEARNED_MOMENTUM = 0.9  # a catalogue makes few steps an epoch; Keras's 0.99 would lag behind them


def build_resnet50(
    weights: str = "imagenet",
    image_size: int = 224,
    batch_norm: Literal["frozen", "train"] = "frozen",
    name: str = "resnet50",
) -> keras.Model:
    """Keras's ResNet50 without its classifier, average-pooled, preprocessing included.

    Args:
        weights: `imagenet` (downloaded by Keras), `none` (random), or the path of a `.weights.h5` or `.h5` file that
            fits `keras.applications.ResNet50(include_top=False)`.
        image_size: height and width of the pictures in pixels, at least 32.
        batch_norm: `frozen` keeps every batch normalisation in inference mode even while the rest is fine-tuned: its
            statistics come from millions of pictures, a small catalogue's batches would only blur them. Keras 3 does
            not keep it so through `base(x, training=False)` (the training call overrides that argument), hence
            `layer.trainable = False` on those layers. `train` learns them, for `weights="none"`.
        name: of the model.

    Returns:
        A model from uint8 `[B, image_size, image_size, 3]` to float32 `[B, 2048]`.

    Raises:
        InputError: the weights cannot be read, do not fit, or cannot be downloaded.

    Paper: He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    base = _load(weights, image_size)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            if batch_norm == "frozen":
                layer.trainable = False
            else:
                layer.momentum = _LEARNED_MOMENTUM
    features = base(CaffePreprocessing(name="preprocessing")(images))
    return keras.Model(images, keras.layers.Activation("linear", dtype="float32", name="features")(features), name=name)


def _load(weights: str, image_size: int) -> keras.Model:
    named = weights in ("imagenet", "none")
    if not named and not Path(weights).is_file():
        raise InputError(
            f"model.resnet50.weights: expected 'imagenet', 'none' or the path of a weights file, "
            f"received {weights!r}, which is no file"
        )
    try:
        return keras.applications.ResNet50(
            weights=None if weights == "none" else weights,
            include_top=False,
            pooling="avg",
            input_shape=(image_size, image_size, 3),
            name="resnet50",
        )
    except Exception as error:  # Keras raises plain Exception for a failed download, h5py OSError for a bad file
        reason = " ".join(str(error).split())[:200]
        remedy = (
            "check the network, or give the path of a .weights.h5 file"
            if named
            else "expected weights of keras.applications.ResNet50(include_top=False)"
        )
        raise InputError(f"model.resnet50.weights: cannot load {weights!r} ({reason}); {remedy}") from error
