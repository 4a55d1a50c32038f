"""What single settings of a stage do, on a model of two small layers."""

from __future__ import annotations

import csv
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import StageConfig
from trainer.data.pipeline import Share, feature_batches
from trainer.data.sampler import ShuffledEpochs
from trainer.errors import InputError
from trainer.models.head import compose
from trainer.training.checkpoint import read_progress
from trainer.training.labelled_stage import StageData, named_weights, train_stage

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROWS, WIDTH, CLASSES = 40, 5, 2
LABELS = np.arange(ROWS, dtype=np.int32) % 4 // 3  # 30 of class 0, 10 of class 1


def rows(shift: float = 2.0) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    return values + np.float32(shift) * LABELS[:, None].astype(np.float32)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = {"part": keras.Input((WIDTH,), name="part")}
    embedding = keras.layers.Dense(3, name="projection")(inputs["part"])
    logits = keras.layers.Dense(CLASSES, name="classifier")(embedding)
    return keras.Model(inputs, {"embedding": embedding, "logits": logits}, name="head")


class Validation:
    """Batches of the training rows themselves; says how often they were asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.asked = values, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.asked += 1
        for start in range(0, ROWS, 16):
            place = slice(start, start + 16)
            yield {"image": {"part": tf.constant(self.values[place])}, "label": LABELS[place]}


def data(values: np.ndarray | None = None, validation: Any = "the rows") -> StageData:
    values = rows() if values is None else values
    sampler = ShuffledEpochs(ROWS, 3)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        gather = {"part": values}
        return feature_batches(
            lambda chosen: {"part": gather["part"][chosen]}, {"part": WIDTH}, LABELS, CLASSES, sampler, share, first
        )

    return StageData(batches, ROWS, np.bincount(LABELS), Validation(values) if validation == "the rows" else validation)


def train(folder: Path, made: keras.Model | None = None, given: StageData | None = None, **stage: Any) -> Any:
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "warmup_epochs": 0.0, **stage}
    return train_stage("toy/head", made or model(), StageConfig(**settings), given or data(), folder, "key")


def test_it_learns_and_leaves_a_table(tmp_path: Path) -> None:
    history = train(tmp_path, epochs=8)
    assert history[-1]["val_accuracy"] > 0.9
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in table] == list(range(1, 9))
    assert float(table[3]["val_loss"]) == pytest.approx(history[3]["val_loss"])
    assert list(tmp_path.glob("tensorboard/events*"))
    progress = read_progress(tmp_path / "last.keras")
    assert progress is not None
    assert (progress.finished, progress.epoch, progress.batch) == (True, 8, 40)


def test_patience_ends_a_stage_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    made = model()
    # Training cannot get better than a start that is already perfect.
    given = data(
        rows(shift=0.0), validation=[{"image": {"part": tf.zeros((4, WIDTH))}, "label": np.zeros(4, np.int32)}]
    )
    made.get_layer("classifier").bias.assign([50.0, -50.0])
    before = [weight.numpy() for weight in made.weights]
    history = train(tmp_path, made, given, epochs=9, patience=2, learning_rate=1.0)
    assert len(history) == 2
    for weight, start in zip(made.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), start)


def test_without_validation_the_training_figures_judge(tmp_path: Path) -> None:
    history = train(tmp_path, given=data(validation=None))
    assert set(history[0]) == {"epoch", "loss", "accuracy", "learning_rate", "seconds"}
    assert (tmp_path / "best.keras").is_file()


def test_rules_freeze_and_slow_layers(tmp_path: Path) -> None:
    made = model()
    before = {weight.path: weight.numpy() for weight in made.weights}
    train(tmp_path, made, epochs=1, layers=(("projection/bias", 0.0), ("projection", 1e-6)), weight_decay=0.0)
    change = {weight.path: np.abs(weight.numpy() - before[weight.path]).max() for weight in made.weights}
    assert change["projection/bias"] == 0.0
    assert 0.0 < change["projection/kernel"] < 1e-5
    assert change["classifier/kernel"] > 1e-2


def test_rules_that_freeze_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^toy/head: layers freezes every weight; leave the stage out with epochs: 0"):
        train(tmp_path, layers=((".", 0.0),))


def test_class_weights_help_the_rare_class(tmp_path: Path) -> None:
    def recall(weighted: bool) -> float:
        made, values = model(), rows(shift=0.4)
        train(tmp_path / str(weighted), made, data(values, None), class_weights=weighted, epochs=6)
        rare = LABELS == 1
        return float((np.asarray(made({"part": values[rare]})["logits"]).argmax(axis=1) == 1).mean())

    assert recall(weighted=True) > recall(weighted=False) + 0.2


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    one, many = model(), model()
    train(tmp_path / "one", one, batch_size=20, epochs=2)
    train(tmp_path / "many", many, batch_size=5, accumulate=4, epochs=2)
    for a, b in zip(one.weights, many.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    # Adam is blind to the gradients' scale but for its epsilon: clipped far below that, weights hardly move.
    made = model()
    before = [weight.numpy() for weight in made.weights]
    train(tmp_path, made, given=data(validation=None), clip_norm=1e-12, weight_decay=0.0, epochs=1)
    assert max(np.abs(w.numpy() - b).max() for w, b in zip(made.weights, before, strict=True)) < 1e-2


def test_a_loss_that_is_not_finite_ends_the_stage_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    values = rows()
    values[7] = np.nan
    with pytest.raises(
        InputError, match=r"^toy/head: the loss is not finite in epoch 1; expected a lower learning_rate"
    ):
        train(tmp_path, given=data(values, validation=Validation(rows())))
    assert (tmp_path / "best.keras").is_file()
    assert not (tmp_path / "last.keras").exists()


def test_a_ctrl_c_after_the_last_step_is_not_forgotten(tmp_path: Path) -> None:
    class Interrupting(Validation):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            yield from super().__iter__()
            if self.asked == 4:  # the start, and three epochs
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, given=data(validation=Interrupting(rows())))
    progress = read_progress(tmp_path / "last.keras")
    assert progress is not None
    assert progress.finished
    assert len(train(tmp_path)) == 3


def test_a_ctrl_c_in_validation_stops_before_the_next_epoch(tmp_path: Path) -> None:
    class Interrupting(Validation):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            yield from super().__iter__()
            if self.asked == 2:
                signal.raise_signal(signal.SIGINT)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", given=data(validation=Interrupting(rows())))
    progress = read_progress(tmp_path / "stopped" / "last.keras")
    assert progress is not None
    assert (progress.epoch, progress.batch) == (1, 5)
    resumed = train(tmp_path / "stopped")
    assert [row["val_loss"] for row in resumed] == pytest.approx([row["val_loss"] for row in whole], rel=1e-5)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    inputs = {"part": keras.Input((WIDTH,), name="part")}
    embedding = keras.layers.Dense(4, name="projection")(inputs["part"])
    other = keras.Model(inputs, {"embedding": embedding, "logits": keras.layers.Dense(2)(embedding)}, name="head")
    with pytest.raises(InputError, match="does not fit the model that is configured"):
        train(tmp_path, other, epochs=1)


def test_weights_are_named_by_part() -> None:
    assert list(named_weights(model())) == [
        "head/projection/kernel",
        "head/projection/bias",
        "head/classifier/kernel",
        "head/classifier/bias",
    ]
    images = keras.Input((4, 4, 3), dtype="uint8")
    dense = keras.layers.Dense(WIDTH, name="dense")(keras.layers.Flatten()(images))
    joined = compose({"part": keras.Model(images, dense, name="part")}, model(), 4, "toy")
    assert list(named_weights(joined))[:3] == ["part/dense/kernel", "part/dense/bias", "head/projection/kernel"]
