"""The pairwise sigmoid loss, SigLIP's."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf
from keras import ops

from trainer.losses.picture_text import Pairs, PictureTextLoss

__all__ = ["PairwiseSigmoid"]


class PairwiseSigmoid(PictureTextLoss):
    """Whether a text is true of a picture, asked of every picture and every text of the batch by itself.

    `sum over all texts t of softplus(-z (s cos(p, t) + b))` for each picture p, z = 1 where t is true of p, else -1; s
    the scale, b the bias. There are far more untrue texts than true ones, which a bias that starts low takes up: the
    paper begins with s = 10 and b = -10.

    See `PictureTextLoss` for call arguments and reduction.

    Paper: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, https://arxiv.org/abs/2303.15343
    """

    def pair_losses(self, pairs: Pairs, scale: Any, bias: Any) -> tf.Tensor:
        signs = ops.where(pairs.true, 1.0, -1.0)
        return ops.sum(ops.softplus(-signs * (scale * pairs.pictures + bias)), axis=1)
