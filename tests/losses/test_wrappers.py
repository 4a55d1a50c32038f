"""Losses made of others: weighted sums, Matryoshka, and the memory of former batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import (
    ArcFace,
    CrossBatchMemory,
    GradedContrastive,
    Matryoshka,
    MultiSimilarity,
    NormalizedSoftmax,
    ProxyAnchor,
    SupervisedContrastive,
    Triplet,
    WeightedSum,
)

ROWS = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1])


def test_a_weighted_sum(measure: Any) -> None:
    one, other = SupervisedContrastive(), Triplet("all")
    expected = 0.5 * measure(one, LABELS, ROWS).losses + 3.0 * measure(other, LABELS, ROWS).losses
    found = measure(WeightedSum([one, other], [0.5, 3.0]), LABELS, ROWS).losses
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    plain = measure(WeightedSum([one, other]), LABELS, ROWS).losses
    assert plain[0] == pytest.approx(measure(one, LABELS, ROWS).losses[0] + measure(other, LABELS, ROWS).losses[0])


def test_matryoshka_is_the_mean_over_prefixes_brought_to_unit_length(measure: Any) -> None:
    loss = Matryoshka(SupervisedContrastive(0.2), [2, 4], weights=[3.0, 2.0, 1.0])
    parts = [measure(SupervisedContrastive(0.2), LABELS, ROWS[:, :width]).losses for width in (2, 4, 6)]
    expected = (3 * parts[0] + 2 * parts[1] + parts[2]) / 6
    np.testing.assert_allclose(measure(loss, LABELS, ROWS).losses, expected, rtol=1e-6)


def test_every_width_has_proxies_of_its_own() -> None:
    loss = Matryoshka(ArcFace(3, sub_centers=2), [2, 4])
    loss.build((None,), (None, 6))
    assert [weight.shape for weight in loss.trainable_weights] == [(6, 2), (6, 4), (6, 6)]
    loss.set_centers(ROWS[:3])
    short = loss.members[0].proxies.numpy()
    np.testing.assert_allclose(short[::2], ROWS[:3, :2] / np.linalg.norm(ROWS[:3, :2], axis=1, keepdims=True), 1e-5)


@pytest.mark.parametrize(("dimensions", "weights"), [([6], None), ([0], None), ([2], [1.0]), ([2], [0.0, 0.0])])
def test_impossible_widths_are_refused(dimensions: list[int], weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"expected .* Received: "):
        Matryoshka(Triplet(), dimensions, weights).build((None,), (None, 6))


def test_centers_start_the_proxies() -> None:
    loss = NormalizedSoftmax(3, sub_centers=2)
    loss.build((None,), (None, 6))
    before = loss.proxies.numpy()
    loss.set_centers(np.stack([ROWS[0], 5 * ROWS[1], np.zeros(6)]))
    proxies = loss.proxies.numpy()
    units = ROWS[:2] / np.linalg.norm(ROWS[:2], axis=1, keepdims=True)
    np.testing.assert_allclose(proxies[[0, 2]], units, rtol=1e-5)
    beside = (proxies[[1, 3]] * units).sum(axis=1)  # near the centre, or it would never gather anything of its own
    assert (beside < 0.9999).all()
    assert (beside > 0.98).all()
    np.testing.assert_array_equal(proxies[4:], before[4:])  # nothing known of the class
    with pytest.raises(ValueError, match=r"expected finite centres \[3, 6\]\. Received: \[2, 6\]"):
        loss.set_centers(ROWS[:2])


def test_a_memory_holds_the_newest_and_forgets_the_oldest() -> None:
    memory = CrossBatchMemory(SupervisedContrastive(), size=10, start=1)
    memory(LABELS, ROWS)
    assert memory.filled.numpy() == 0  # the first batch is before its start
    memory(LABELS[:4], 2 * ROWS[:4])
    assert memory.filled.numpy() == 4
    memory(LABELS + 3, ROWS)
    assert memory.filled.numpy() == 10
    units = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    np.testing.assert_allclose(memory.embeddings.numpy(), np.concatenate([units, units[:2]]), rtol=1e-6)
    np.testing.assert_array_equal(memory.labels.numpy()[:, 0], [*(LABELS + 3), *LABELS[:2]])
    memory(LABELS, ROWS, training=False)
    np.testing.assert_array_equal(memory.labels.numpy()[:, 0], [*(LABELS + 3), *LABELS[:2]])
    assert memory.trainable_weights == []


def test_what_is_remembered_is_compared_with_and_not_learned(measure: Any) -> None:
    """The batch against itself and the memory is one large batch, of which only the first examples are anchors."""
    memory = CrossBatchMemory(MultiSimilarity(), size=5)
    alone = measure(memory, LABELS[4:], ROWS[4:])
    np.testing.assert_array_equal(alone.losses, measure(MultiSimilarity(), LABELS[4:], ROWS[4:]).losses)
    found = measure(memory, LABELS[:4], ROWS[:4])
    together = measure(MultiSimilarity(), LABELS, ROWS)
    np.testing.assert_allclose(found.losses, together.losses[:4], rtol=1e-6)
    np.testing.assert_allclose(found.value, together.losses[:4].mean(), rtol=1e-6)


def test_a_memory_works_alike_inside_a_graph() -> None:
    eager, inside = (CrossBatchMemory(GradedContrastive((2.0, 1.0)), size=12) for _ in range(2))
    labels = np.stack([LABELS, LABELS[::-1]], axis=1).astype(np.int32)
    graph = tf.function(inside)
    for rows in (ROWS, ROWS[::-1].copy(), 3 * ROWS + 1):
        np.testing.assert_allclose(graph(labels, rows), eager(labels, rows), rtol=1e-5)


def test_only_losses_on_pairs_have_a_memory() -> None:
    with pytest.raises(ValueError, match="expected a loss on pairs"):
        CrossBatchMemory(ProxyAnchor(3), size=4)


def test_what_is_graded_needs_a_column_a_weight() -> None:
    with pytest.raises(ValueError, match=r"expected labels of 2 columns, one a weight\. Received: 1"):
        GradedContrastive((1.0, 2.0))(LABELS, ROWS)


def test_losses_are_saved_and_loaded_with_all_they_hold(tmp_path: Path) -> None:
    """In a `.keras` file: settings, proxies and memory, so that training goes on as if it had not stopped."""
    loss = WeightedSum(
        [
            Matryoshka(CrossBatchMemory(GradedContrastive((2.0, 1.0), 2.0, 0.2), size=12, start=1), [2], [1.0, 2.0]),
            ArcFace(3, margin=0.3, scale=16, sub_centers=2, seed=4),
            ProxyAnchor(3, margin=0.2, alpha=16, seed=5),
            NormalizedSoftmax(3, temperature=0.2, seed=6),
            CrossBatchMemory(Triplet("batch_hard", "soft"), size=3),
            MultiSimilarity(1.0, 10.0, 0.4, 0.2),
        ],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    )
    labels = np.stack([LABELS, LABELS[::-1]], axis=1)
    asked, rows = keras.Input((2,), dtype="int32"), keras.Input((6,))
    model = keras.Model([asked, rows], loss(asked, rows))
    for scale in (1.0, 2.0):
        loss(labels, ROWS + scale)
    loss.set_centers(ROWS[:3])
    model.save(tmp_path / "losses.keras")
    loaded = keras.saving.load_model(tmp_path / "losses.keras").layers[-1]
    assert loaded.get_config() == loss.get_config()
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in loss.weights]
    for _ in range(2):
        np.testing.assert_array_equal(loaded(labels, ROWS), loss(labels, ROWS))
