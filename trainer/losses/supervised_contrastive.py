"""Supervised contrastive loss."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.pair_loss import PairLoss
from trainer.losses.replicas import share_among

__all__ = ["SupervisedContrastive"]


@keras.saving.register_keras_serializable("shoppin")
class SupervisedContrastive(PairLoss):
    """Of all others in the batch, an example's own class should be the nearest: L_out of the paper.

    `-1/|P| sum over p in P of log(exp(cos(x, p) / t) / sum over all a but x of exp(cos(x, a) / t))`, P the positives.
    The mean is taken over the examples of the global batch that have a positive.

    Args:
        temperature: t. Default 0.1.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. It equals pytorch-metric-learning's `SupConLoss` but for one
    thing: an anchor whose loss is exactly 0 (one positive, no negative) counts in the mean here, and not there. The
    authors' code also multiplies by the ratio of the temperature to a base temperature; here there is none.

    Paper: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362
    """

    def __init__(self, temperature: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = float(temperature)

    def pair_losses(self, similarity: Any, grades: Any, comparable: Any) -> Any:
        logits = ops.where(comparable, similarity / self.temperature, -1e9)
        total = ops.sum(grades, axis=1, keepdims=True)
        asked = total > 0.0
        targets = grades / ops.where(asked, total, 1.0)
        losses = -ops.sum(targets * ops.log_softmax(logits, axis=1), axis=1)
        return share_among(losses, ops.cast(asked[:, 0], "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}
