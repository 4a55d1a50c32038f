"""The head of CLIP's own tower: its space left as it is, and a linear classifier beside it."""

from __future__ import annotations

from collections.abc import Mapping

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.models.head import join_parts

__all__ = ["build_clip_head"]


def build_clip_head(widths: Mapping[str, int], num_classes: int, name: str = "head") -> keras.Model:
    """Brings features to unit length, no more: texts already have their place in that space. Classifies apart from it.

    Args:
        widths: the one part's name and the width P of its features.
        num_classes: C.
        name: of the model.

    Returns:
        A model from `{part: float32 [B, P]}` to `{"embedding": float32 [B, P]` of unit length, `"logits": float32
        [B, C]}`, linear in the standardised features at unit length.
    """
    inputs = {part: keras.Input((width,), name=part) for part, width in widths.items()}
    (features,) = inputs.values()
    embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(features)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="classifier")(join_parts(inputs))
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name=name)
