"""The learned head: from the features of one or several backbones to a unit-length embedding and logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.models.standardisation import Standardisation

__all__ = ["build_concatenation_head", "build_head", "compose", "join_parts"]


def build_head(
    widths: Mapping[str, int], num_classes: int, embedding_dim: int = 256, name: str = "head"
) -> keras.Model:
    """Standardise each part, bring each to unit length, concatenate, project, bring to unit length, classify.

    Standardising and scaling each part first is what makes fusing pay: unscaled, the wider backbone's features drown
    the other's.

    Args:
        widths: name of each part and the width of its features, in the order they are concatenated.
        num_classes: number of labels.
        embedding_dim: width of the embedding. Default 256.
        name: of the model.

    Returns:
        A model from `{part: float32 [B, width]}` to `{"embedding": float32 [B, embedding_dim]` of unit length,
        `"logits": float32 [B, num_classes]}`.
    """
    inputs = {part: keras.Input((width,), name=part) for part, width in widths.items()}
    projected = keras.layers.Dense(embedding_dim, dtype="float32", name="projection")(join_parts(inputs))
    embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(projected)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="classifier")(embedding)
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name=name)


def join_parts(inputs: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Each part standardised and brought to unit length, then side by side: float32 `[B, F]`."""
    scaled = [
        keras.layers.UnitNormalization(dtype="float32", name=f"{part}_unit")(
            Standardisation(name=f"{part}_standardisation")(features)
        )
        for part, features in inputs.items()
    ]
    return keras.layers.Concatenate(dtype="float32", name="concatenation")(scaled) if len(scaled) > 1 else scaled[0]


def build_concatenation_head(widths: Mapping[str, int], num_classes: int, name: str = "head") -> keras.Model:
    """The published baseline: plain concatenation of unscaled features, a classifier on top, nothing projected.

    Args and returns as `build_head`; the embedding is the concatenation itself, brought to unit length.
    """
    inputs = {part: keras.Input((width,), name=part) for part, width in widths.items()}
    features = list(inputs.values())
    joined = (
        keras.layers.Concatenate(dtype="float32", name="concatenation")(features) if len(features) > 1 else features[0]
    )
    embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(joined)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="classifier")(joined)
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name=name)


def compose(backbones: Mapping[str, keras.Model], head: keras.Model, image_size: int, name: str) -> keras.Model:
    """Backbones and a head as one model from pictures.

    Args:
        backbones: the head's parts by name, each from uint8 pictures to features.
        head: see `build_head`.
        image_size: height and width in pixels.
        name: of the model.

    Returns:
        A model from uint8 `[B, image_size, image_size, 3]` to the head's answers. `get_layer(part)` and
        `get_layer("head")` give its pieces back.
    """
    images: Any = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    return keras.Model(images, head({part: backbone(images) for part, backbone in backbones.items()}), name=name)
