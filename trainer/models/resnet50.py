"""The ResNet50 backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.errors import InputError
from trainer.models.pooling import GeneralisedMeanPooling2D
from trainer.models.preprocessing import CaffePreprocessing, Coarsening

__all__ = ["build_resnet50"]

_LEVELS = (
    ("conv5_block3_out", keras.layers.GlobalAveragePooling2D),
    ("conv5_block2_out", keras.layers.GlobalAveragePooling2D),
    ("conv4_block6_out", GeneralisedMeanPooling2D),
    ("conv3_block4_out", GeneralisedMeanPooling2D),
)
_LEARNED_MOMENTUM = 0.9  # a catalogue makes few steps an epoch; Keras's 0.99 would lag behind them


def build_resnet50(
    weights: str = "imagenet",
    image_size: int = 224,
    batch_norm: Literal["frozen", "train"] = "frozen",
    pooling: Literal["average", "multilevel"] = "multilevel",
    coarsened_to: int | None = None,
    name: str = "resnet50",
) -> keras.Model:
    """Keras's ResNet50 without its classifier, pooled, preprocessing included.

    Args:
        weights: `imagenet` (downloaded by Keras), `none` (random), or the path of a `.weights.h5` or `.h5` file that
            fits `keras.applications.ResNet50(include_top=False)`.
        image_size: height and width of the pictures in pixels, at least 32.
        batch_norm: `frozen` keeps every batch normalisation in inference mode even while the rest is fine-tuned: its
            statistics come from millions of pictures, a small catalogue's batches would only blur them. Keras 3 does
            not keep it so through `base(x, training=False)` (the training call overrides that argument), hence
            `layer.trainable = False` on those layers. `train` learns them, for `weights="none"`.
        pooling: `average` of the last block: 2048 features. `multilevel`: beside these the average of the block before
            it (2048), and the generalised means of the fourth (1024) and third (512) stages, whose features of texture
            and shape the last block has traded for ImageNet's classes: 5632 features at the same cost.
        coarsened_to: see `Coarsening`; None for pictures as they are.
        name: of the model.

    Returns:
        A model from uint8 `[B, image_size, image_size, 3]` to float32 `[B, 2048]` or `[B, 5632]`.

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
    levels = _LEVELS if pooling == "multilevel" else _LEVELS[:1]
    maps = keras.Model(base.input, [base.get_layer(block).output for block, _ in levels], name="resnet50")
    seen = images if coarsened_to is None else Coarsening(coarsened_to, dtype="float32", name="coarsening")(images)
    found = maps(CaffePreprocessing(name="preprocessing")(seen))
    found = found if isinstance(found, list) else [found]
    pooled = [
        kind(dtype="float32", name=f"{block}_pooled")(level) for (block, kind), level in zip(levels, found, strict=True)
    ]
    features = keras.layers.Concatenate(dtype="float32", name="features")(pooled) if len(pooled) > 1 else pooled[0]
    return keras.Model(images, features, name=name)


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
            input_shape=(image_size, image_size, 3),
        )
    except Exception as error:  # Keras raises plain Exception for a failed download, h5py OSError for a bad file
        reason = " ".join(str(error).split())[:200]
        remedy = (
            "check the network, or give the path of a .weights.h5 file"
            if named
            else "expected weights of keras.applications.ResNet50(include_top=False)"
        )
        raise InputError(f"model.resnet50.weights: cannot load {weights!r} ({reason}); {remedy}") from error
