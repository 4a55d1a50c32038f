"""Stages that train the embedding: their proxies, memories and mined rows are part of what is gone on with."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import StageConfig
from trainer.data.pipeline import Share, feature_batches
from trainer.data.sampler import MinedSampler
from trainer.training.checkpoint import load_model, read_progress
from trainer.training.labelled_stage import StageData, train_stage
from trainer.training.sampling import build_sampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROWS, WIDTH, DIM, CLASSES = 48, 6, 4, 4
LABELS = (np.arange(ROWS) % CLASSES).astype(np.int32)
COLOURS = (np.arange(ROWS) // CLASSES % 3).astype(np.int32)
ALL = {
    "cross_entropy": {"weight": 0.5},
    "losses": [{"name": "proxy_anchor", "weight": 0.1}, {"name": "graded_contrastive"}],
    "memory": 16,
    "memory_start": 2,
}


def values() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, WIDTH))[LABELS] + 0.5 * random.normal(size=(3, WIDTH))[COLOURS]
    return (centres + 0.7 * random.normal(size=(ROWS, WIDTH))).astype(np.float32)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = {"part": keras.Input((WIDTH,), name="part")}
    projected = keras.layers.Dense(DIM, name="projection")(inputs["part"])
    embedding = keras.layers.UnitNormalization(name="embedding")(projected)
    logits = keras.layers.Dense(CLASSES, name="classifier")(embedding)
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name="head")


class Stage:
    """A stage on the toy rows in a folder of its own; `stop_at` interrupts it when so many batches were read."""

    def __init__(self, folder: Path, **stage: Any) -> None:
        settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "warmup_epochs": 0.0, "keep": "last", **stage}
        self.stage = StageConfig.model_validate(settings)
        self.folder, self.model, self.seen = folder, model(), []

    def train(self, stop_at: int | None = None) -> tuple[dict[str, float], ...]:
        sampler = build_sampler(self.stage.sampler, LABELS, self.stage.batch_size, 3, self.folder)
        rows = values()

        def read(chosen: np.ndarray) -> dict[str, np.ndarray]:
            self.seen.append(np.asarray(chosen))
            if len(self.seen) == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            return {"part": rows[chosen]}

        def batches(share: Share, first: int) -> tf.data.Dataset:
            given = (LABELS, CLASSES, sampler, share, first, COLOURS[:, None])
            return feature_batches(read, {"part": WIDTH}, *given)

        def encode() -> np.ndarray:
            return np.asarray(self.model({"part": rows})["embedding"])

        def refresh(epoch: int, encodes: bool) -> bool:
            assert isinstance(sampler, MinedSampler)
            return sampler.refresh(epoch, encode if encodes else None)

        data = StageData(
            batches,
            ROWS,
            np.bincount(LABELS),
            [{"image": {"part": tf.constant(rows)}, "label": LABELS}],
            dimensions=(2,),
            relevance={"label": 0.7, "colour": 0.3},
            centres=lambda: np.stack([encode()[own == LABELS].mean(axis=0) for own in range(CLASSES)]),
            refresh=refresh if isinstance(sampler, MinedSampler) else None,
        )
        return train_stage("toy/head", self.model, self.stage, data, self.folder, "key")


SETTINGS: dict[str, dict[str, Any]] = {
    "everything": {"objective": ALL, "ema": 0.9, "sampler": {"kind": "balanced", "classes": 4}},
    "hard negatives": {
        "objective": {"losses": [{"name": "triplet"}]},
        "sampler": {"kind": "hard_negatives", "classes": 4, "per_row": 3},
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stopped_stage_goes_on_to_the_same_result(name: str, tmp_path: Path) -> None:
    whole = Stage(tmp_path / "whole", **SETTINGS[name])
    history = whole.train()
    stopped = Stage(tmp_path / "stopped", **SETTINGS[name])
    with pytest.raises(KeyboardInterrupt):
        stopped.train(stop_at=9)  # in the second of three epochs of six batches
    progress = read_progress(tmp_path / "stopped" / "last.keras")
    assert progress is not None
    assert 6 < progress.batch < 12
    after = Stage(tmp_path / "stopped", **SETTINGS[name])
    resumed = after.train()
    for one, other in zip(history, resumed, strict=True):
        assert one == pytest.approx({**other, "seconds": one["seconds"]}, rel=1e-5)
    for one, other in zip(whole.model.weights, after.model.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_an_objective_pulls_classes_together(tmp_path: Path) -> None:
    stage = Stage(tmp_path, objective=ALL, epochs=6, monitor="map@r", sampler={"kind": "balanced", "classes": 4})
    history = stage.train()
    assert history[-1]["val_map@r"] > history[0]["val_map@r"] > 0.3
    assert history[-1]["loss"] < history[0]["loss"]


def test_proxies_start_at_the_centres_and_are_kept_with_the_checkpoint_only(tmp_path: Path) -> None:
    settings = {"epochs": 1, "learning_rate": 1e-9, "objective": {"losses": [{"name": "normalized_softmax"}]}}
    stage = Stage(tmp_path, **settings)
    stage.train()
    rows = np.asarray(stage.model({"part": values()})["embedding"])
    centres = np.stack([rows[own == LABELS].mean(axis=0) for own in range(CLASSES)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    kept = load_model(tmp_path / "last.keras").objective.trainable_variables
    proxies = next(np.asarray(weight) for weight in kept if weight.shape[-1] == DIM)
    proxies = proxies.reshape(CLASSES, DIM) / np.linalg.norm(proxies.reshape(CLASSES, DIM), axis=1, keepdims=True)
    np.testing.assert_allclose(proxies, centres, atol=1e-4)
    assert not any("objective" in weight.path for weight in stage.model.weights)


def test_mined_rows_change_with_the_model(tmp_path: Path) -> None:
    stage = Stage(tmp_path, **SETTINGS["hard negatives"])
    stage.train()
    assert [path.name for path in tmp_path.glob("negatives-*.npy")] == ["negatives-2.npy"]
    for batch in stage.seen:  # pairs of groups: the second of each pair is of a class that is not the first's
        classes = LABELS[batch].reshape(2, 2, 2)
        assert (classes[:, :, 0] == classes[:, :, 1]).all()
        assert (classes[:, 0, 0] != classes[:, 1, 0]).all()


def test_rules_may_slow_the_proxies_down(tmp_path: Path) -> None:
    settings = {"epochs": 1, "objective": {"losses": [{"name": "proxy_anchor"}]}, "layers": [["objective/", 0.0]]}
    stage = Stage(tmp_path, **settings)
    before = np.asarray(stage.model({"part": values()})["embedding"])
    stage.train()
    kept = load_model(tmp_path / "last.keras").objective.trainable_variables
    centres = np.stack([before[own == LABELS].mean(axis=0) for own in range(CLASSES)])
    proxies = next(np.asarray(weight).reshape(-1, DIM) for weight in kept if weight.shape[-1] == DIM)
    cosine = (proxies * centres).sum(axis=1) / np.linalg.norm(proxies, axis=1) / np.linalg.norm(centres, axis=1)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-5)
