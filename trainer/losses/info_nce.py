"""InfoNCE, CLIP's loss."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf
from keras import ops

from trainer.losses.picture_text import Pairs, PictureTextLoss

__all__ = ["InfoNCE"]


class InfoNCE(PictureTextLoss):
    """Which of the batch's texts is the picture's, and which of its pictures the text's: the mean of both questions.

    `-1/2 (mean over true t of log softmax_t(s cos(p, .)) + mean over true p of log softmax_p(s cos(t, .)))`, s the
    scale, for each pair (p, t). With one true text a picture it is CLIP's loss.

    See `PictureTextLoss` for call arguments and reduction.

    Papers: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018,
    https://arxiv.org/abs/1807.03748; Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", ICML 2021, https://arxiv.org/abs/2103.00020
    """

    def pair_losses(self, pairs: Pairs, scale: Any, bias: Any) -> tf.Tensor:
        true = ops.cast(pairs.true, "float32")
        targets = true / ops.sum(true, axis=1, keepdims=True)
        found = ops.log_softmax(scale * pairs.pictures, axis=1) + ops.log_softmax(scale * pairs.texts, axis=1)
        return -0.5 * ops.sum(targets * found, axis=1)
