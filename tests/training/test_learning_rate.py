"""A linear head on frozen features learns at a rate made for it, and not at one made for fine-tuning a backbone."""

from __future__ import annotations

from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig, StageConfig
from trainer.data.pipeline import feature_batches
from trainer.models.registry import build_model_head
from trainer.training.features import FeatureRows
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import start_head
from trainer.training.labelled_stage import StageData, train_stage
from trainer.training.sampling import build_sampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROWS, WIDTH, CLASSES = 800, 64, 10
EPOCHS = 10


def trained_accuracy(learning_rate: float, folder: Path) -> float:
    """On as many rows as it learned from, of ten overlapping classes."""
    random = np.random.default_rng(0)
    labels = (np.arange(2 * ROWS) % CLASSES).astype(np.int32)
    rows = (random.normal(size=(CLASSES, WIDTH))[labels] + 2 * random.normal(size=(len(labels), WIDTH))).astype("f")
    known = HeadFeatures({"hub_vit": [FeatureRows(rows[:ROWS], np.arange(ROWS))]}, labels[:ROWS])

    model = ModelConfig.model_validate(
        {"names": ("clip",), "clip": {"tower": "hub_vit"}, "hub_vit": {"handle": "unused"}, "head": "linear"}
    )
    head = build_model_head("clip", model, known.widths, CLASSES)
    start_head(head, known, CLASSES, discriminant=False)
    stage = StageConfig(epochs=EPOCHS, batch_size=64, learning_rate=learning_rate, keep="last")
    sampler = build_sampler(stage.sampler, known.classes, stage.batch_size, 0, folder)
    data = StageData(
        lambda share, first: feature_batches(
            known.read, known.widths, known.classes, CLASSES, sampler, share, first, None
        ),
        ROWS,
        np.bincount(known.classes),
        [{"image": {"hub_vit": tf.constant(rows[ROWS:])}, "label": labels[ROWS:]}],
    )
    return train_stage("clip/head", head, stage, data, folder, "key")[-1]["val_accuracy"]


def test_the_rate_that_failed_the_published_clip_row_hardly_learns(tmp_path: Path) -> None:
    assert trained_accuracy(2e-5, tmp_path / "slow") < 0.3
    assert trained_accuracy(1e-3, tmp_path / "right") > 0.8
