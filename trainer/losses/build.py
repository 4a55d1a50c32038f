"""From the configuration to the objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np

from trainer.config.losses import LossConfig, ObjectiveConfig
from trainer.losses.arc_face import ArcFace
from trainer.losses.cross_batch_memory import CrossBatchMemory
from trainer.losses.graded_contrastive import GradedContrastive
from trainer.losses.matryoshka import Matryoshka
from trainer.losses.metric_loss import MetricLoss
from trainer.losses.multi_similarity import MultiSimilarity
from trainer.losses.normalized_softmax import NormalizedSoftmax
from trainer.losses.objective import Objective
from trainer.losses.pair_loss import PairLoss
from trainer.losses.proxy_anchor import ProxyAnchor
from trainer.losses.proxy_loss import ProxyLoss
from trainer.losses.supervised_contrastive import SupervisedContrastive
from trainer.losses.triplet import Triplet
from trainer.losses.weighted_sum import WeightedSum

__all__ = ["LOSSES", "attribute_columns", "build_objective"]

LOSSES: Mapping[str, Callable[..., MetricLoss]] = {
    "normalized_softmax": NormalizedSoftmax,
    "arc_face": ArcFace,
    "proxy_anchor": ProxyAnchor,
    "supervised_contrastive": SupervisedContrastive,
    "graded_contrastive": GradedContrastive,
    "multi_similarity": MultiSimilarity,
    "triplet": Triplet,
}
"""The losses that the configuration can name."""


def attribute_columns(config: ObjectiveConfig, relevance: Mapping[str, float]) -> tuple[str, ...]:
    """The attributes whose codes a batch must carry for this objective, in the order of their columns.

    Args:
        config: see `ObjectiveConfig`.
        relevance: weight of each attribute, `label` among them.

    Returns:
        All attributes but `label` where a loss is graded; else none.
    """
    graded = any(entry.name == "graded_contrastive" for entry in config.losses)
    return tuple(name for name in relevance if name != "label") if graded else ()


def build_objective(
    config: ObjectiveConfig,
    num_classes: int,
    embedding_dim: int,
    *,
    dimensions: Sequence[int] = (),
    relevance: Mapping[str, float] | None = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
) -> Objective:
    """The objective of a stage, with its weights made: to be called under the strategy's scope.

    Args:
        config: which losses, and how much of each.
        num_classes: C.
        embedding_dim: D.
        dimensions: smaller widths at which the losses on embeddings are asked for too (`Matryoshka`). The
            cross-entropy, whose classifier sees the whole embedding, is not.
        relevance: weight of each attribute for graded losses, `label` among them; default the label alone.
        class_weights: float `[C]`; default 1 for each.
        seed: of the proxies' random starts.

    Returns:
        The objective; `attribute_columns` says which attributes its batches need.
    """
    relevance = relevance or {"label": 1.0}
    columns = attribute_columns(config, relevance)
    weights = (relevance["label"], *(relevance[name] for name in columns))
    losses = [_build_loss(entry, config, num_classes, dimensions, weights, seed) for entry in config.losses]
    objective = Objective(
        config.cross_entropy.weight,
        config.cross_entropy.label_smoothing,
        WeightedSum(losses, [entry.weight for entry in config.losses], name="losses") if losses else None,
        class_weights,
        len(columns),
        name="objective",
    )
    shape = (None, num_classes)
    objective.build({"label": shape}, {"embedding": (None, embedding_dim), "logits": shape})
    return objective


def _build_loss(
    entry: LossConfig,
    config: ObjectiveConfig,
    num_classes: int,
    dimensions: Sequence[int],
    relevance: Sequence[float],
    seed: int,
) -> MetricLoss:
    kind: Any = LOSSES[entry.name]
    settings = entry.model_dump(exclude={"weight"})
    if issubclass(kind, ProxyLoss):
        settings |= {"num_classes": num_classes, "seed": seed}
    if kind is GradedContrastive:
        settings |= {"relevance": relevance}
    loss = kind(**settings)
    if config.memory and isinstance(loss, PairLoss):
        loss = CrossBatchMemory(loss, config.memory, config.memory_start, name=f"{entry.name}_memory")
    return Matryoshka(loss, dimensions, name=f"{entry.name}_dimensions") if dimensions else loss
