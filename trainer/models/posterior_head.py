"""The head whose embedding says what a picture probably is, and then what it looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.models.head import join_parts
from trainer.models.root_posterior import RootPosterior

__all__ = ["DETAIL_WEIGHT", "GradedAttribute", "build_posterior_head", "layer_name"]

DETAIL_WEIGHT = 0.125
"""Squared length of the detail beside the label's posterior; 0.1 to 0.16 did equally well in cross-validation."""

LABEL_SHARPNESS = 1.5
"""1 to 2 did equally well."""

ATTRIBUTE_SHARPNESS = 0.6

_DIRECTIONS = 512


@dataclass(frozen=True)
class GradedAttribute:
    """An attribute that the embedding is to agree on beside the label.

    Attributes:
        name: of the attribute.
        count: of its values, 2 or more.
        weight: how much it counts beside the label, which counts 1.
    """

    name: str
    count: int
    weight: float


def layer_name(attribute: str) -> str:
    """An attribute's name as part of a layer's: Keras allows no `/` there, and files no odd letters."""
    return re.sub(r"[^A-Za-z0-9_]", "_", attribute)


def build_posterior_head(
    widths: Mapping[str, int],
    num_classes: int,
    embedding_dim: int = 256,
    attributes: Sequence[GradedAttribute] = (),
    name: str = "head",
) -> keras.Model:
    """Class probabilities and detail, side by side, turned so that any first columns say as much as they can.

    An embedding that is a linear map of features must choose: stretched along what tells classes apart, it forgets what
    tells products of one class apart; otherwise doubtful neighbours of other classes come in. This one saturates. Two
    pictures that are surely of one class agree fully in the first part, however far apart they lie, so that detail
    decides among them; with another class there is nothing to agree on. Attributes (gender, colour) get a part each, so
    that the similarity of two pictures estimates their graded relevance.

    `projection` (to discriminant directions and what lies beside them) feeds the label's `classifier`, each attribute's
    `<attribute>_projection` and `<attribute>_classifier`, and `detail`. `rotation` is orthonormal.

    Args:
        widths: name of each part and the width of its features, in the order they are concatenated.
        num_classes: number of labels, C, 2 or more.
        embedding_dim: D, width of the embedding. Default 256.
        attributes: those to agree on beside the label. Default none.
        name: of the model.

    Returns:
        A model from `{part: float32 [B, width]}` to `{"embedding": float32 [B, D]` of unit length, `"logits": float32
        [B, C]}`.
    """
    inputs = {part: keras.Input((width,), name=part) for part, width in widths.items()}
    total = sum(widths.values())
    told = min(num_classes - 1, total)
    beside = min(max(_DIRECTIONS, embedding_dim), max(total - told, 1))
    projected = keras.layers.Dense(told + beside, dtype="float32", name="projection")(join_parts(inputs))
    direction = keras.layers.UnitNormalization(dtype="float32", name="direction")(projected[:, :told])
    logits = keras.layers.Dense(num_classes, dtype="float32", name="classifier")(direction)
    blocks = [RootPosterior(LABEL_SHARPNESS, name="posterior")(logits)]
    blocks += [_attribute_block(projected, attribute) for attribute in attributes]
    detail = keras.layers.UnitNormalization(dtype="float32", name="detail")(projected[:, told : told + embedding_dim])
    blocks.append(keras.layers.Rescaling(DETAIL_WEIGHT**0.5, dtype="float32", name="detail_weight")(detail))
    joined = keras.layers.Concatenate(dtype="float32", name="blocks")(blocks)
    rotated = keras.layers.Dense(embedding_dim, use_bias=False, dtype="float32", name="rotation")(joined)
    embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(rotated)
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name=name)


def _attribute_block(projected: keras.KerasTensor, attribute: GradedAttribute) -> keras.KerasTensor:
    name = layer_name(attribute.name)
    told = min(attribute.count - 1, int(projected.shape[-1]))
    direction = keras.layers.Dense(told, dtype="float32", name=f"{name}_projection")(projected)
    direction = keras.layers.UnitNormalization(dtype="float32", name=f"{name}_direction")(direction)
    logits = keras.layers.Dense(attribute.count, dtype="float32", name=f"{name}_classifier")(direction)
    return RootPosterior(ATTRIBUTE_SHARPNESS, attribute.weight, name=f"{name}_posterior")(logits)
