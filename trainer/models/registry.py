"""One explicit table from a model's name to what builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.config import ModelConfig
from trainer.models.clip_head import build_clip_head
from trainer.models.clip_tower import build_clip
from trainer.models.head import build_concatenation_head, build_head
from trainer.models.hub_vit import build_hub_vit
from trainer.models.posterior_head import GradedAttribute, build_posterior_head
from trainer.models.resnet50 import build_resnet50

__all__ = ["BACKBONES", "build_backbone", "build_model_head"]

BACKBONES: Mapping[str, Callable[[ModelConfig], keras.Model]] = {
    "resnet50": lambda model: build_resnet50(
        model.resnet50.weights,
        model.image_size,
        model.resnet50.batch_norm,
        model.resnet50.pooling,
        model.coarsened_to,
    ),
    "hub_vit": lambda model: build_hub_vit(
        str(model.hub_vit.handle), model.image_size, model.hub_vit.value_range, model.coarsened_to
    ),
    "clip": build_clip,
}


def build_backbone(name: str, model: ModelConfig) -> keras.Model:
    """The backbone of that name as configured; uint8 pictures in, float32 features out."""
    return BACKBONES[name](model)


def build_model_head(
    name: str,
    model: ModelConfig,
    widths: Mapping[str, int],
    num_classes: int,
    attributes: Sequence[GradedAttribute] = (),
) -> keras.Model:
    """The head of the model of that name over parts of those widths; only a posterior head heeds the attributes.

    That of `clip` with its own tower leaves the tower's space as it is, whatever `model.head` says.
    """
    if name == "clip" and model.clip.tower == "own":
        return build_clip_head(widths, num_classes)
    if name == "concatenated":
        return build_concatenation_head(widths, num_classes)
    if model.head == "posterior":
        return build_posterior_head(widths, num_classes, model.embedding_dim, attributes)
    return build_head(widths, num_classes, model.embedding_dim)
