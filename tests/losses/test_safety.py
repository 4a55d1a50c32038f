"""Whatever a batch holds, losses and gradients are finite; zero where nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import CrossBatchMemory, Matryoshka, MultiSimilarity, SupervisedContrastive, Triplet, WeightedSum
from trainer.losses.build import LOSSES
from trainer.losses.metric_loss import MetricLoss

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(6, 4))
LABELS = [0, 1, 0, 1, 2, 2]
PROXIES = ("normalized_softmax", "arc_face", "proxy_anchor")


def build(name: str, width: int = 4) -> MetricLoss:
    kind: Any = {
        **LOSSES,
        "triplet batch_hard": lambda: Triplet("batch_hard", "soft"),
        "triplet all": lambda: Triplet("all"),
        "memory": lambda: CrossBatchMemory(MultiSimilarity(), 4),
        "sum": lambda: WeightedSum([SupervisedContrastive(), Triplet("all", "soft")], [1.0, 2.0]),
        "dimensions": lambda: Matryoshka(MultiSimilarity(), [2]),
    }[name]
    loss = kind(3) if name in PROXIES else kind()
    loss.build((None,), (None, width))
    return loss


NAMES = [*LOSSES, "triplet batch_hard", "triplet all", "memory", "sum", "dimensions"]
BATCHES: dict[str, tuple[Any, Any]] = {
    "one class": ([1] * 6, ROWS),
    "no positives": ([0, 1, 2], ROWS[:3]),
    "one example": ([1], ROWS[:1]),
    "equal embeddings": (LABELS, np.repeat(ROWS[:1], 6, axis=0)),
    "equal axes": (LABELS, np.eye(4)[[0] * 6]),  # whose cosines are 1 to the last bit
    "opposite embeddings": (LABELS, np.stack([ROWS[0], -ROWS[0]] * 3)),
    "zero vectors": (LABELS, np.concatenate([np.zeros((3, 4)), ROWS[3:]])),
    "tiny and huge": (LABELS, ROWS * np.array([[1e-4], [1e-4], [1.0], [1.0], [1e4], [1e4]])),
    "no known class": ([-1] * 6, ROWS),
}


@pytest.mark.parametrize("name", NAMES)
def test_all_is_finite(name: str, measure: Callable[..., Any]) -> None:
    for case, (labels, rows) in BATCHES.items():
        found = measure(build(name), labels, rows)
        assert np.isfinite(found.losses).all(), case
        assert found.losses.min() >= -1e-6, case
        for gradient in (found.embeddings, *found.weights):
            assert np.isfinite(gradient).all(), case


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PROXIES])
def test_nothing_is_asked_of_a_batch_without_positives(name: str, measure: Callable[..., Any]) -> None:
    for case in ("no positives", "one example", "no known class"):
        found = measure(build(name), *BATCHES[case])
        assert not found.losses.any(), case
        assert not found.embeddings.any(), case


@pytest.mark.parametrize("name", ["multi_similarity", "triplet", "triplet batch_hard", "triplet all", "memory"])
def test_nothing_is_asked_of_a_batch_without_negatives(name: str, measure: Callable[..., Any]) -> None:
    found = measure(build(name), *BATCHES["one class"])
    assert not found.losses.any()
    assert not found.embeddings.any()


@pytest.mark.parametrize("name", ["normalized_softmax", "arc_face"])
def test_an_example_without_a_class_asks_nothing_of_the_proxies(name: str, measure: Callable[..., Any]) -> None:
    found = measure(build(name), [-1, 1], ROWS[:2])
    assert found.losses[0] == 0.0
    assert found.losses[1] > 0.0
    assert not found.embeddings[0].any()


def test_cosines_that_rounding_brought_to_one_or_above_have_finite_gradients() -> None:
    @tf.function(jit_compile=True)  # other kernels than XLA's answer 0 for 0 times the infinite slope of a root
    def gradient(cosines: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(cosines)
            comparable = tf.constant([[False, True, True, True]])
            losses = Triplet("all", "soft").pair_losses(cosines, tf.constant([[0.0, 1.0, 0.0, 0.0]]), comparable)
        return tape.gradient(losses, cosines)

    assert np.isfinite(gradient(tf.constant([[1.0, 1.0, 1.0000001, 0.5]]))).all()


def test_an_example_at_its_proxy_has_a_finite_gradient(measure: Callable[..., Any]) -> None:
    for name in PROXIES:
        loss = build(name)
        loss.set_centers(np.eye(4)[:3])
        found = measure(loss, [0, 1, 2], np.concatenate([np.eye(4)[:2], -np.eye(4)[2:3]]))
        assert all(np.isfinite(values).all() for values in (found.losses, found.embeddings, *found.weights)), name


@pytest.mark.parametrize("name", NAMES)
def test_halves_are_computed_as_floats(name: str, measure: Callable[..., Any]) -> None:
    for dtype in ("float16", "bfloat16"):
        rounded = ROWS.astype(np.float16) if dtype == "float16" else np.round(ROWS * 4) / 4  # exact in eight bits
        half, whole = (measure(build(name), LABELS, rounded, kind) for kind in (dtype, "float32"))
        np.testing.assert_array_equal(half.losses, whole.losses)


@pytest.mark.parametrize("name", ["arc_face", "graded_contrastive", "multi_similarity", "triplet all", "dimensions"])
def test_gradients_are_those_of_finite_differences(name: str, measure: Callable[..., Any]) -> None:
    loss = build(name)
    found, step = measure(loss, LABELS, ROWS), 1e-3
    for place in [(0, 0), (2, 3), (5, 1)]:
        change = np.zeros_like(ROWS)
        change[place] = step
        higher, lower = (measure(loss, LABELS, ROWS + sign * change).value for sign in (1, -1))
        slope, scale = (higher - lower) / (2 * step), float(np.abs(found.embeddings).max())
        assert found.embeddings[place] == pytest.approx(slope, rel=0.02, abs=0.01 * scale)


def test_a_loss_falls_when_it_is_followed(measure: Callable[..., Any]) -> None:
    for name in NAMES:
        loss, rows = build(name), ROWS
        before = measure(loss, LABELS, rows)
        after = measure(loss, LABELS, rows - 0.01 * before.embeddings / np.abs(before.embeddings).max())
        if name != "memory":  # which has more to compare with the second time
            assert after.value < before.value, name
