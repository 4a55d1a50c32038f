"""Multi-similarity loss."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.metric_loss import log_one_plus_sum_exp
from trainer.losses.pair_loss import PairLoss

__all__ = ["MultiSimilarity"]

_INFINITY = float("inf")


@keras.saving.register_keras_serializable("shoppin")
class MultiSimilarity(PairLoss):
    """Draws the positives and pushes off the negatives that are hard, each weighed by how hard beside the others.

    `1/alpha log(1 + sum over P of exp(-alpha (s - base))) + 1/beta log(1 + sum over N of exp(beta (s - base)))`, s the
    cosines. P holds the positives that are less similar than the most similar negative plus epsilon, N the negatives
    that are more similar than the least similar positive minus epsilon; so an anchor without positives or without
    negatives has the loss 0. The mean is taken over all examples of the global batch.

    Args:
        alpha, beta: sharpness among positives and among negatives. Defaults 2 and 50, the paper's.
        base: lambda of the paper. Default 0.5, as in pytorch-metric-learning and the authors' code; the paper has 1.
        epsilon: margin of the mining. Default 0.1, the paper's.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. It equals pytorch-metric-learning's `MultiSimilarityLoss` with
    `MultiSimilarityMiner`. There, and in the authors' code, the mining is a part of its own; an anchor for which only
    one of P and N holds anything is left out by the authors' code, and counts here.

    Paper: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019,
    https://arxiv.org/abs/1904.06627
    """

    def __init__(
        self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.alpha, self.beta, self.base, self.epsilon = float(alpha), float(beta), float(base), float(epsilon)

    def pair_losses(self, similarity: Any, grades: Any, comparable: Any) -> Any:
        positive = grades > 0.0
        negative = ops.logical_and(comparable, ops.logical_not(positive))
        least = ops.min(ops.where(positive, similarity, _INFINITY), axis=1, keepdims=True)
        most = ops.max(ops.where(negative, similarity, -_INFINITY), axis=1, keepdims=True)
        drawn = ops.logical_and(positive, similarity - self.epsilon < most)
        pushed = ops.logical_and(negative, similarity + self.epsilon > least)
        above = similarity - self.base
        draw = log_one_plus_sum_exp(-self.alpha * above, drawn, axis=1) / self.alpha
        return draw + log_one_plus_sum_exp(self.beta * above, pushed, axis=1) / self.beta

    def get_config(self) -> dict[str, Any]:
        own = {"alpha": self.alpha, "beta": self.beta, "base": self.base, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
