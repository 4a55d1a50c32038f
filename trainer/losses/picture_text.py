"""What the losses have in common that bring pictures and their texts together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf
from keras import ops

from trainer.losses.metric_loss import unit_rows
from trainer.losses.replicas import gather_rows

__all__ = ["LARGEST_SCALE", "Pairs", "PictureTextLoss", "own_text_is_nearest"]

LARGEST_SCALE = 100.0
"""What cosines are multiplied by at most; with more, CLIP's training was unstable."""


class Pairs(NamedTuple):
    """One replica's pictures and texts, each against all of the other kind in the global batch.

    Attributes:
        pictures: float32 `[b, B]`, cosines of this replica's pictures to all texts.
        texts: float32 `[b, B]`, cosines of this replica's texts to all pictures.
        true: bool `[b, B]`, which belong together, for either.
    """

    pictures: Any
    texts: Any
    true: Any


class PictureTextLoss(ABC):
    """A loss on pairs of a picture and a text: `loss(images, texts, logit_scale, logit_bias, groups)`.

    All is computed in float32, and compared over the global batch of all replicas: the sum of the answers over the
    replicas divided by the size of the global batch is the loss, and the summed gradients its gradient, as one device
    would compute them. Every replica must have as many pairs as any other.

    Two pairs of the same group, such as two with the same text, belong together crosswise: either's text is true of the
    other's picture, so that it is no negative of it (Yang et al., "Unified Contrastive Learning in Image-Text-Label
    Space", CVPR 2022, https://arxiv.org/abs/2204.03610).

    Call arguments:
        images: float `[b, D]`, embeddings of pictures; only their direction counts.
        texts: float `[b, D]`, of their texts.
        logit_scale: float scalar: logarithm of what cosines are multiplied by, at most `LARGEST_SCALE`.
        logit_bias: float scalar, added after that; a softmax does not heed it.
        groups: int32 `[b]`.

    Returns:
        float32 `[b]`.
    """

    def __call__(self, images: Any, texts: Any, logit_scale: Any, logit_bias: Any, groups: Any) -> tf.Tensor:
        scale = ops.exp(ops.minimum(ops.cast(logit_scale, "float32"), math.log(LARGEST_SCALE)))
        return self.pair_losses(_pairs(images, texts, groups), scale, ops.cast(logit_bias, "float32"))

    @abstractmethod
    def pair_losses(self, pairs: Pairs, scale: Any, bias: Any) -> tf.Tensor:
        """To be overridden: the answers `[b]`, given the factor and the summand that make logits of cosines."""


def own_text_is_nearest(images: Any, texts: Any, groups: Any) -> tf.Tensor:
    """bool `[b]`: whether of all texts of the global batch one that belongs to the picture is the nearest to it."""
    pairs = _pairs(images, texts, groups)
    nearest = ops.argmax(pairs.pictures, axis=1)
    return ops.squeeze(ops.take_along_axis(pairs.true, ops.expand_dims(nearest, 1), axis=1), 1)


def _pairs(images: Any, texts: Any, groups: Any) -> Pairs:
    images, texts = (unit_rows(ops.cast(rows, "float32")) for rows in (images, texts))
    true = ops.expand_dims(groups, 1) == ops.expand_dims(gather_rows(groups), 0)
    return Pairs(
        ops.matmul(images, ops.transpose(gather_rows(texts))),
        ops.matmul(texts, ops.transpose(gather_rows(images))),
        true,
    )
