"""ArcFace, with sub-centres."""

from __future__ import annotations

import math
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras import ops

from trainer.losses.proxy_loss import ProxyLoss

__all__ = ["ArcFace"]

_ROUNDING = 1e-7
"""Keeps cosines off 1, where the angle has an infinite slope."""


@keras.saving.register_keras_serializable("shoppin")
class ArcFace(ProxyLoss):
    """Cross-entropy over scaled cosines, where the angle to the own class is enlarged by a margin.

    `-log softmax(scale * c)[class]` with `c = cos(angle + margin)` for the example's class and `cos(angle)` for others.
    Where angle + margin passes 180 degrees, `cos(angle) - margin * sin(margin)` stands in, so that the loss still rises
    with the angle, as in the authors' code.

    Args:
        num_classes: C.
        margin: in radians. Default 0.5.
        scale: of the cosines. Default 64.
        sub_centers: proxies a class, of which the nearest counts; those that few pictures choose gather mislabelled
            ones (Deng 2020). Default 1.
        seed: of the proxies' random start. Default 0.
        **kwargs: of `keras.layers.Layer`.

    See `MetricLoss` for call arguments and reduction. It equals pytorch-metric-learning's `ArcFaceLoss` and
    `SubCenterArcFaceLoss`, whose proxies are columns and whose margin is in degrees (28.6), but for class -1, which is
    an error there and 0 here.

    Papers: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019,
    https://arxiv.org/abs/1801.07698; Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy
    Web Faces", ECCV 2020, https://www.ecva.net/papers/eccv_2020/papers_ECCV/papers/123560715.pdf
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        sub_centers: int = 1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, sub_centers, seed, **kwargs)
        self.margin, self.scale = float(margin), float(scale)

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        cosines = self.similarities(embeddings)
        angles = ops.arccos(ops.clip(cosines, _ROUNDING - 1.0, 1.0 - _ROUNDING))
        beyond = cosines - self.margin * math.sin(self.margin)
        enlarged = ops.where(angles <= math.pi - self.margin, ops.cos(angles + self.margin), beyond)
        own = self.membership(labels)
        logits = self.scale * ops.where(own > 0.0, enlarged, cosines)
        return -ops.sum(own * ops.log_softmax(logits, axis=1), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}
