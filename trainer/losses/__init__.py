"""What the embedding is trained for: one public loss a file, and the objective that joins them.

Each is a Keras layer, `loss(labels, embeddings)`, that answers one number an example; see
`trainer.losses.metric_loss.MetricLoss` for what they have in common. `InfoNCE` and `PairwiseSigmoid` compare pictures
with texts instead; see `trainer.losses.picture_text.PictureTextLoss`. Names are imported on first use, so that
importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.losses.arc_face import ArcFace
    from trainer.losses.build import build_objective
    from trainer.losses.cross_batch_memory import CrossBatchMemory
    from trainer.losses.graded_contrastive import GradedContrastive
    from trainer.losses.info_nce import InfoNCE
    from trainer.losses.matryoshka import Matryoshka
    from trainer.losses.multi_similarity import MultiSimilarity
    from trainer.losses.normalized_softmax import NormalizedSoftmax
    from trainer.losses.objective import Objective
    from trainer.losses.pairwise_sigmoid import PairwiseSigmoid
    from trainer.losses.proxy_anchor import ProxyAnchor
    from trainer.losses.supervised_contrastive import SupervisedContrastive
    from trainer.losses.triplet import Triplet
    from trainer.losses.weighted_sum import WeightedSum

__all__ = [
    "ArcFace",
    "CrossBatchMemory",
    "GradedContrastive",
    "InfoNCE",
    "Matryoshka",
    "MultiSimilarity",
    "NormalizedSoftmax",
    "Objective",
    "PairwiseSigmoid",
    "ProxyAnchor",
    "SupervisedContrastive",
    "Triplet",
    "WeightedSum",
    "build_objective",
]

_MODULES = {
    "ArcFace": "arc_face",
    "CrossBatchMemory": "cross_batch_memory",
    "GradedContrastive": "graded_contrastive",
    "InfoNCE": "info_nce",
    "Matryoshka": "matryoshka",
    "MultiSimilarity": "multi_similarity",
    "NormalizedSoftmax": "normalized_softmax",
    "Objective": "objective",
    "PairwiseSigmoid": "pairwise_sigmoid",
    "ProxyAnchor": "proxy_anchor",
    "SupervisedContrastive": "supervised_contrastive",
    "Triplet": "triplet",
    "WeightedSum": "weighted_sum",
    "build_objective": "build",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
