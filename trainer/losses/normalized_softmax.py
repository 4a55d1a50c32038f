"""Normalised softmax."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.proxy_loss import ProxyLoss

__all__ = ["NormalizedSoftmax"]


@keras.saving.register_keras_serializable("shoppin")
class NormalizedSoftmax(ProxyLoss):
    """Cross-entropy over the cosines to the classes' proxies: `-log softmax(cos(x, p) / temperature)[class]`.

    Args:
        num_classes: C.
        temperature: by which cosines are divided. Default 0.05, the paper's.
        sub_centers: proxies a class. Default 1, the paper's; more as in `ArcFace`.
        seed: of the proxies' random start. Default 0.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. With one sub-centre it equals pytorch-metric-learning's
    `NormalizedSoftmaxLoss`, whose proxies are columns, but for one thing: class -1 is an error there, 0 here. The paper
    also puts a layer normalisation without parameters before the embedding; that is up to the model.

    Paper: Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019,
    https://arxiv.org/abs/1811.12649
    """

    def __init__(
        self, num_classes: int, temperature: float = 0.05, sub_centers: int = 1, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, sub_centers, seed, **kwargs)
        self.temperature = float(temperature)

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        logits = self.similarities(embeddings) / self.temperature
        return -ops.sum(self.membership(labels) * ops.log_softmax(logits, axis=1), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}
