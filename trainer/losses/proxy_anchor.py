"""Proxy-Anchor."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.metric_loss import log_one_plus_sum_exp
from trainer.losses.proxy_loss import ProxyLoss
from trainer.losses.replicas import gather_rows

__all__ = ["ProxyAnchor"]


@keras.saving.register_keras_serializable("shoppin")
class ProxyAnchor(ProxyLoss):
    """Each class's proxy draws the examples of its class and pushes off all others, the hardest ones most.

    `1/|P+| sum over p in P+ of log(1 + sum over x of class p of exp(-alpha (cos(x, p) - margin)))
    + 1/C sum over all p of log(1 + sum over x of other classes of exp(alpha (cos(x, p) + margin)))`,
    P+ the proxies of the classes in the batch.

    This is one number for the whole batch, not a sum over examples: every example answers it, so that its mean is that
    number. It is taken over the global batch.

    Args:
        num_classes: C.
        margin: delta of the paper. Default 0.1.
        alpha: how much harder examples count more. Default 32.
        seed: of the proxies' random start. Default 0.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. It equals pytorch-metric-learning's `ProxyAnchorLoss` where every
    example has a class; one of class -1 is an error there and pushed off by all proxies here. The authors train
    proxies at 100 times the learning rate of the model.

    Paper: Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020, https://arxiv.org/abs/2003.13911
    """

    def __init__(
        self, num_classes: int, margin: float = 0.1, alpha: float = 32.0, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, seed=seed, **kwargs)
        self.margin, self.alpha = float(margin), float(alpha)

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        cosines = self.similarities(gather_rows(embeddings))
        own = self.membership(gather_rows(labels)) > 0.0
        draw = log_one_plus_sum_exp(-self.alpha * (cosines - self.margin), own, axis=0)
        push = log_one_plus_sum_exp(self.alpha * (cosines + self.margin), ops.logical_not(own), axis=0)
        present = ops.sum(ops.cast(ops.any(own, axis=0), "float32"))
        loss = ops.sum(draw) / ops.maximum(present, 1.0) + ops.mean(push)
        return ops.broadcast_to(loss, ops.shape(labels)[:1])

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "margin": self.margin, "alpha": self.alpha}
        config.pop("sub_centers")
        return config
