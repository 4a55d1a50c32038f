"""The parts of the published system under their published names, as plain functions over this project's own code.

For notebooks and for comparing step by step; a whole run is `python -m trainer run`.

    resnet, vit = initialize_resnet50(), initialize_vit_model("vit_tiny16_imagenet")
    a, b = extract_resnet_features(resnet, pictures), extract_vit_features(vit, pictures)
    head, history = train_combined_model(a, b, labels)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf
from sklearn.preprocessing import StandardScaler, normalize

from trainer.config import StageConfig
from trainer.data.pipeline import Share, feature_batches, picture_batches
from trainer.data.sampler import ShuffledEpochs
from trainer.errors import InputError
from trainer.models.head import build_head
from trainer.models.hub_vit import build_hub_vit
from trainer.models.resnet50 import build_resnet50
from trainer.training.features import FeatureRows
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import start_head
from trainer.training.labelled_stage import StageData, train_stage

__all__ = [
    "combine_resnet_vit_embeddings",
    "extract_resnet_features",
    "extract_vit_features",
    "initialize_resnet50",
    "initialize_vit_model",
    "train_combined_model",
]


def initialize_resnet50(weights: str = "imagenet", image_size: int = 224) -> keras.Model:
    """ResNet50 from uint8 pictures `[B, image_size, image_size, 3]` to float32 `[B, 2048]`; see `build_resnet50`."""
    return build_resnet50(weights, image_size, pooling="average")


def initialize_vit_model(
    handle: str, image_size: int = 224, value_range: tuple[float, float] = (0.0, 1.0)
) -> keras.Model:
    """A hub ViT from uint8 pictures `[B, image_size, image_size, 3]` to float32 `[B, F]`; see `build_hub_vit`."""
    return build_hub_vit(handle, image_size, value_range)


def extract_resnet_features(
    model: keras.Model, pictures: np.ndarray | Sequence[str], batch_size: int = 32
) -> np.ndarray:
    """Features of pictures.

    Args:
        model: of `initialize_resnet50`.
        pictures: uint8 `[N, S, S, 3]` of the model's size, or N paths of picture files.
        batch_size: pictures at a time. Default 32.

    Returns:
        float32 `[N, 2048]`.

    Raises:
        InputError: no pictures, another dtype or shape, or a file that cannot be read.
    """
    return _extract(model, pictures, batch_size)


def extract_vit_features(model: keras.Model, pictures: np.ndarray | Sequence[str], batch_size: int = 32) -> np.ndarray:
    """As `extract_resnet_features`, for a model of `initialize_vit_model`: float32 `[N, F]`."""
    return _extract(model, pictures, batch_size)


def combine_resnet_vit_embeddings(
    resnet_features: np.ndarray, vit_features: np.ndarray, standardise: bool = True
) -> np.ndarray:
    """Both features of each picture side by side.

    Args:
        resnet_features: float `[N, F]`.
        vit_features: float `[N, G]`.
        standardise: bring each to mean 0 and deviation 1 by column (over these N rows) and each row to unit length
            first, so that neither drowns the other. False is the published plain concatenation.

    Returns:
        float32 `[N, F + G]`.

    Raises:
        InputError: the numbers of rows differ.
    """
    parts = _pair(resnet_features, vit_features)
    if standardise:
        parts = [normalize(StandardScaler().fit_transform(part)) for part in parts]
    return np.concatenate(parts, axis=1).astype(np.float32)


def train_combined_model(
    resnet_features: np.ndarray,
    vit_features: np.ndarray,
    labels: Sequence[str],
    embedding_dim: int = 256,
    epochs: int = 5,
    learning_rate: float = 1e-5,
    seed: int = 0,
) -> tuple[keras.Model, tuple[dict[str, float], ...]]:
    """Trains the fused head on features.

    Args:
        resnet_features: float `[N, F]`.
        vit_features: float `[N, G]`.
        labels: N names; classes are numbered in their sorted order.
        embedding_dim: width of the embedding. Default 256.
        epochs: of learning after the closed-form start; 0 keeps the start. Default 5.
        learning_rate: peak. Default 1e-5: the start is good, and small.
        seed: of the order of rows.

    Returns:
        The head, from `{"resnet50": [B, F], "hub_vit": [B, G]}` to `{"embedding": float32 [B, embedding_dim] of unit
        length, "logits": float32 [B, C]}`, and a row of figures an epoch.

    Raises:
        InputError: the numbers of rows differ, or there are fewer than two labels.
    """
    parts = dict(zip(("resnet50", "hub_vit"), _pair(resnet_features, vit_features), strict=True))
    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    rows = np.arange(len(classes))
    if len(names) < 2 or any(len(part) != len(rows) for part in parts.values()):
        raise InputError(f"expected a label for each row and two labels at least; received {len(rows)} of {len(names)}")
    known = HeadFeatures(
        {part: [FeatureRows(np.asarray(values, np.float32), rows)] for part, values in parts.items()},
        classes.astype(np.int32),
    )
    keras.utils.set_random_seed(seed)
    head = build_head(known.widths, len(names), embedding_dim)
    start_head(head, known, len(names), discriminant=True)
    if not epochs:
        return head, ()
    stage = StageConfig(epochs=epochs, learning_rate=learning_rate, batch_size=min(128, len(rows)))
    sampler = ShuffledEpochs(len(rows), seed)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return feature_batches(known.read, known.widths, known.classes, len(names), sampler, share, first)

    data = StageData(batches, len(rows), np.bincount(classes), validation=None)
    with tempfile.TemporaryDirectory() as folder:
        return head, train_stage("fused/head", head, stage, data, Path(folder), key="")


def _pair(resnet_features: np.ndarray, vit_features: np.ndarray) -> list[np.ndarray]:
    parts = [np.asarray(resnet_features), np.asarray(vit_features)]
    if any(part.ndim != 2 for part in parts) or len(parts[0]) != len(parts[1]):
        shapes = " and ".join(str(part.shape) for part in parts)
        raise InputError(f"expected features [N, F] and [N, G] of the same pictures; received shapes {shapes}")
    return parts


def _extract(model: keras.Model, pictures: np.ndarray | Sequence[str], batch_size: int) -> np.ndarray:
    if len(pictures) == 0:
        raise InputError("expected at least one picture; received none")
    forward = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return np.concatenate([forward(images).numpy() for images in _batches(model, pictures, batch_size)])


def _batches(model: keras.Model, pictures: np.ndarray | Sequence[str], batch_size: int) -> Iterator[tf.Tensor]:
    size = int(model.input_shape[1])
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind not in "UO":
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (size, size, 3):
            raise InputError(
                f"expected uint8 pictures [N, {size}, {size}, 3] or paths; received {pictures.dtype} {pictures.shape}"
            )
        for start in range(0, len(pictures), batch_size):
            yield tf.constant(pictures[start : start + batch_size])
        return
    try:
        for batch in picture_batches([str(path) for path in pictures], size, batch_size):
            yield batch["image"]
    except tf.errors.OpError as error:
        reason = " ".join(str(error.message).split())[:200]
        raise InputError(f"expected readable picture files; one is not ({reason})") from error
