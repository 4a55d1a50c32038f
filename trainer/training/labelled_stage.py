"""Stages that learn from labels: heads on features, backbones with their heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.config import StageConfig
from trainer.data.items import LABEL
from trainer.data.pipeline import Share
from trainer.losses.build import build_objective
from trainer.losses.objective import Objective
from trainer.retrieval import EmbeddingTable, measure_queries
from trainer.training.loop import train_task
from trainer.training.predictor import Predictor
from trainer.training.task import Task
from trainer.training.trainee import Trainee

__all__ = ["StageData", "named_weights", "train_stage"]


@dataclass(frozen=True)
class StageData:
    """What a stage trains on.

    Attributes:
        batches: from (this process's share, number of the first batch) to the endless stream of training batches
            (see `trainer.data.pipeline.training_batches`).
        count: number of training rows, which makes an epoch.
        class_counts: int64 `[C]`, training rows of each label.
        validation: `{"image": …, "label": int32 [B]}` batches, read again every epoch; `None` where there are none.
        dimensions: smaller widths at which the embedding is to serve too.
        relevance: weight of each attribute for graded losses, the label's among them; the batches' `"attributes"` are
            the codes of those that `trainer.losses.build.attribute_columns` names.
        centres: answers the mean embedding of each class before training, float `[C, D]`, for proxies to start at.
        refresh: see `Task.refresh`.
        seed: of the proxies' random starts.
    """

    batches: Callable[[Share, int], tf.data.Dataset]
    count: int
    class_counts: np.ndarray
    validation: Iterable[dict[str, Any]] | None
    dimensions: tuple[int, ...] = ()
    relevance: Mapping[str, float] = field(default_factory=lambda: {"label": 1.0})
    centres: Callable[[], np.ndarray] | None = None
    refresh: Callable[[int, bool], bool] | None = None
    seed: int = 0


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """The trainable weights by path: `resnet50/…`, `hub_vit/…`, `head/…` for a composed model."""
    nested = any(layer.name == "head" for layer in model.layers)
    owners = model.layers if nested else [model]
    return {f"{owner.name}/{weight.path}": weight for owner in owners for weight in owner.trainable_variables}


def train_stage(
    name: str,
    model: keras.Model,
    stage: StageConfig,
    data: StageData,
    folder: Path,
    key: str,
    strategy: tf.distribute.Strategy | None = None,
) -> tuple[dict[str, float], ...]:
    """Trains a model on labelled rows for `stage.objective`, and leaves it with its best weights.

    Args:
        name, stage, folder, key, strategy: see `trainer.training.loop.train_task`.
        model: answers `{"embedding", "logits"}`; made under the strategy's scope.
        data: what it trains on.

    Returns:
        As `train_task`; with validation rows also `val_loss, val_accuracy`, and `val_map@r` where that is monitored.

    Raises:
        InputError: as `train_task`.
        KeyboardInterrupt: as `train_task`.
    """
    strategy = strategy or tf.distribute.get_strategy()
    return train_task(name, _LabelledTask(model, stage, data, strategy), stage, folder, key, strategy)


class _LabelledTask(Task):
    def __init__(
        self, model: keras.Model, stage: StageConfig, data: StageData, strategy: tf.distribute.Strategy
    ) -> None:
        self._model, self._data, self._monitor = model, data, stage.monitor
        with strategy.scope():
            self._objective = _build(stage, data, int(model.output["embedding"].shape[-1]))
        # What is saved: beside the model, the proxies and memories of the objective, where it has any.
        self.trainee = Trainee(model, self._objective) if self._objective.weights else model
        proxies = {weight.path: weight for weight in self._objective.trainable_variables}
        self.weights = named_weights(model) | proxies
        self.count, self.refresh = data.count, data.refresh
        self._predict = Predictor(model, strategy)

    def batches(self, share: Share, first: int) -> tf.data.Dataset:
        return self._data.batches(share, first)

    def begin(self) -> None:
        if self._data.centres is not None and self._objective.trainable_variables:
            self._objective.set_centers(self._data.centres())

    def losses(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._model(batch["image"], training=True)
        right = tf.equal(tf.argmax(outputs["logits"], 1), tf.argmax(batch["label"], 1))
        return self._objective(batch, outputs), right

    def validate(self) -> dict[str, float]:
        if self._data.validation is None:
            return {}
        loss = right = 0.0
        known: list[np.ndarray] = []
        embeddings: list[np.ndarray] = []
        for batch in self._data.validation:
            labels = np.asarray(batch["label"])
            outputs = self._predict(batch["image"])
            logits = np.asarray(outputs["logits"], np.float64)
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            loss -= log_probability[np.arange(len(labels)), labels].sum()
            right += float((logits.argmax(axis=1) == labels).sum())
            known.append(labels)
            if self._monitor == "map@r":
                embeddings.append(np.asarray(outputs["embedding"], np.float32))
        labels = np.concatenate(known)
        found = {"val_loss": loss / len(labels), "val_accuracy": right / len(labels)}
        return found | ({"val_map@r": _map_at_r(labels, np.concatenate(embeddings))} if embeddings else {})

    def score(self, figures: Mapping[str, float]) -> tuple[float, float]:
        return figures[f"val_{self._monitor}"], -figures["val_loss"]


def _build(stage: StageConfig, data: StageData, embedding_dim: int) -> Objective:
    counts = np.maximum(np.asarray(data.class_counts, np.float64), 1.0)
    inverse = counts.sum() / (len(counts) * counts)
    return build_objective(
        stage.objective,
        len(counts),
        embedding_dim,
        dimensions=data.dimensions,
        relevance=data.relevance,
        class_weights=inverse if stage.class_weights else None,
        seed=data.seed,
    )


def _map_at_r(labels: np.ndarray, embeddings: np.ndarray) -> float:
    table = EmbeddingTable(np.arange(len(labels)).astype(np.str_), embeddings, {LABEL: labels.astype(np.str_)})
    return float(measure_queries(table, table, (1,), same_table=True).means()["map@r"] or 0.0)
