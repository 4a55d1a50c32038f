"""Every loss on one device and on several, run as a process by the tests: `python replica_program.py STRATEGY`.

STRATEGY is what `trainer.training.strategy.build_strategy` takes; two logical CPU devices stand for two GPUs.
It prints JSON: for `one` and `several` devices, each loss's value and gradients for each of two batches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.losses import (
    ArcFace,
    CrossBatchMemory,
    GradedContrastive,
    InfoNCE,
    Matryoshka,
    MultiSimilarity,
    PairwiseSigmoid,
    ProxyAnchor,
    SupervisedContrastive,
    Triplet,
    WeightedSum,
)
from trainer.losses.metric_loss import MetricLoss
from trainer.losses.picture_text import PictureTextLoss
from trainer.training.strategy import build_strategy

CLASSES, FEATURES, WIDTH, BATCH = 5, 6, 4, 12


class Pairs(MetricLoss):
    """A loss of pictures and texts: the embeddings are the pictures', and backwards the texts'."""

    def __init__(self, loss: PictureTextLoss) -> None:
        super().__init__()
        self.loss = loss
        self.scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(1.0))
        if isinstance(loss, PairwiseSigmoid):
            self.bias = self.add_weight(shape=(), initializer=keras.initializers.Constant(-0.5))

    def call(self, labels: Any, embeddings: Any) -> Any:
        bias = getattr(self, "bias", 0.0)
        return self.loss(embeddings, embeddings[:, ::-1], self.scale, bias, labels[:, 0])


def build_losses() -> Mapping[str, MetricLoss]:
    losses: dict[str, MetricLoss] = {
        "arc_face": ArcFace(CLASSES, sub_centers=2),
        "proxy_anchor": ProxyAnchor(CLASSES),
        "graded_contrastive": GradedContrastive((2.0, 1.0)),
        "multi_similarity": MultiSimilarity(),
        "triplet semi_hard": Triplet("semi_hard", 0.4),
        "triplet batch_hard": Triplet("batch_hard", "soft"),
        "info_nce": Pairs(InfoNCE()),
        "pairwise_sigmoid": Pairs(PairwiseSigmoid()),
        "memory": CrossBatchMemory(SupervisedContrastive(), size=18),
        "sum": WeightedSum([Matryoshka(Triplet("all"), [2]), ProxyAnchor(CLASSES)], [0.3, 2.0]),
    }
    for loss in losses.values():
        loss.build((None, 2), (None, WIDTH))
    return losses


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Two batches; the first half of the second, which is one device's, has hardly a positive."""
    random = np.random.default_rng(0)
    answer = []
    for classes in (random.integers(0, CLASSES, BATCH), [0, 1, 2, 3, 4, 0, 2, 2, 2, 3, 3, 3]):
        labels = np.stack([classes, random.integers(-1, 3, BATCH)], axis=1).astype(np.int32)
        answer.append((random.normal(size=(BATCH, FEATURES)).astype(np.float32), labels))
    return answer


def run(strategy: tf.distribute.Strategy) -> dict[str, list[list[Any]]]:
    with strategy.scope():
        losses = build_losses()
        kernel = tf.Variable(np.random.default_rng(1).normal(size=(FEATURES, WIDTH)), dtype=tf.float32)

    def step(rows: tf.Tensor, labels: tf.Tensor) -> dict[str, list[tf.Tensor]]:
        with tf.GradientTape(persistent=True) as tape:
            embeddings = rows @ kernel
            values = {name: tf.reduce_sum(loss(labels, embeddings)) / BATCH for name, loss in losses.items()}
        answer = {}
        for name, loss in losses.items():
            weights = [kernel, *(weight.value for weight in loss.trainable_weights)]
            answer[name] = [values[name], *tape.gradient(values[name], weights)]
        return tf.distribute.get_replica_context().all_reduce("SUM", answer)

    def update(rows: Any, labels: Any) -> dict[str, list[Any]]:
        found = strategy.run(step, (rows, labels))
        return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], found)

    replicas = strategy.num_replicas_in_sync
    run_step = tf.function(update) if replicas > 1 else update  # tracing takes longer than two batches do
    answers: dict[str, list[list[Any]]] = {name: [] for name in losses}
    for rows, labels in batches():
        share = BATCH // replicas

        def part(context: Any, values: np.ndarray, share: int = share) -> tf.Tensor:
            return tf.constant(values[context.replica_id_in_sync_group * share :][:share])

        places = [
            strategy.experimental_distribute_values_from_function(lambda c, values=values: part(c, values))
            if replicas > 1
            else tf.constant(values)
            for values in (rows, labels)
        ]
        for name, found in run_step(*places).items():
            answers[name].append([value.numpy().ravel().tolist() for value in found])
    answers["what is remembered"] = [[weight.numpy().ravel().tolist() for weight in losses["memory"].weights]]
    return answers


def main(kind: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * (2 if kind == "mirrored" else 1)
    )
    strategy = build_strategy(kind)
    print(json.dumps({"one": run(tf.distribute.get_strategy()), "several": run(strategy)}))


if __name__ == "__main__":
    main(sys.argv[1])
