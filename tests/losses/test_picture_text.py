"""The losses of pictures and texts: worked by hand, and safe whatever comes."""

from __future__ import annotations

import math
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import InfoNCE, PairwiseSigmoid
from trainer.losses.picture_text import LARGEST_SCALE, PictureTextLoss, own_text_is_nearest

# Directions in a plane, of any length: cosines of pictures (rows) to texts (columns) are COSINES.
PICTURES = np.array([[2.0, 0.0], [0.0, 0.5]])
TEXTS = np.array([[1.0, 0.0], [3.0, 3.0]])
HALF = math.sqrt(0.5)
COSINES = np.array([[1.0, HALF], [0.0, HALF]])
LOSSES: dict[str, PictureTextLoss] = {"info_nce": InfoNCE(), "pairwise_sigmoid": PairwiseSigmoid()}


def measured(
    loss: PictureTextLoss, pictures: Any, texts: Any, groups: Any, scale: float = 3.0, bias: float = -1.0, **kind: Any
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each pair's loss, and the gradients of their mean by pictures, texts, scale and bias."""
    given = [tf.constant(np.asarray(rows, np.float32), kind.get("dtype", "float32")) for rows in (pictures, texts)]
    given += [tf.constant(math.log(scale)), tf.constant(bias)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = loss(*given, tf.constant(groups, tf.int32))
        mean = tf.reduce_mean(losses)
    assert losses.dtype == tf.float32
    found = tape.gradient(mean, given, unconnected_gradients="zero")
    return losses.numpy(), [tf.cast(gradient, tf.float32).numpy() for gradient in found]


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def test_info_nce_asks_both_ways() -> None:
    losses, _ = measured(InfoNCE(), PICTURES, TEXTS, [0, 1])
    pictures, texts = log_softmax(3.0 * COSINES), log_softmax(3.0 * COSINES.T)
    expected = [-(pictures[place, place] + texts[place, place]) / 2 for place in (0, 1)]
    assert losses == pytest.approx(expected, abs=1e-6)


def test_the_sigmoid_asks_every_pair() -> None:
    losses, _ = measured(PairwiseSigmoid(), PICTURES, TEXTS, [0, 1])
    logits = 3.0 * COSINES - 1.0
    expected = [
        math.log1p(math.exp(-logits[0, 0])) + math.log1p(math.exp(logits[0, 1])),
        math.log1p(math.exp(logits[1, 0])) + math.log1p(math.exp(-logits[1, 1])),
    ]
    assert losses == pytest.approx(expected, abs=1e-6)


def test_pairs_of_one_group_belong_together_crosswise() -> None:
    pictures, texts = np.vstack([PICTURES, [[1.0, 1.0]]]), np.vstack([TEXTS, [[1.0, 0.0]]])
    cosines = np.array([[1.0, HALF, 1.0], [0.0, HALF, 0.0], [HALF, 1.0, HALF]])
    groups = [7, -3, 7]
    by_picture, by_text = log_softmax(3.0 * cosines), log_softmax(3.0 * cosines.T)
    expected = [
        -(by_picture[0, [0, 2]].mean() + by_text[0, [0, 2]].mean()) / 2,
        -(by_picture[1, 1] + by_text[1, 1]) / 2,
        -(by_picture[2, [0, 2]].mean() + by_text[2, [0, 2]].mean()) / 2,
    ]
    assert measured(InfoNCE(), pictures, texts, groups)[0] == pytest.approx(expected, abs=1e-6)
    signs = np.where(np.equal.outer(groups, groups), 1.0, -1.0)
    every = np.log1p(np.exp(-signs * (3.0 * cosines - 1.0))).sum(axis=1)
    assert measured(PairwiseSigmoid(), pictures, texts, groups)[0] == pytest.approx(every, abs=1e-6)


def test_a_bias_is_nothing_to_a_softmax_and_counts_for_a_sigmoid() -> None:
    for name, counts in (("info_nce", False), ("pairwise_sigmoid", True)):
        one, gradients = measured(LOSSES[name], PICTURES, TEXTS, [0, 1], bias=0.0)
        other, _ = measured(LOSSES[name], PICTURES, TEXTS, [0, 1], bias=-4.0)
        assert (np.abs(one - other).max() > 0.1) == counts
        assert bool(gradients[3]) == counts


def test_the_scale_is_learnt_up_to_its_limit() -> None:
    for loss in LOSSES.values():
        _, gradients = measured(loss, PICTURES, TEXTS, [0, 1])
        assert gradients[2] != 0.0
        at, beyond = (measured(loss, PICTURES, TEXTS, [0, 1], scale=s)[0] for s in (LARGEST_SCALE, 1e6))
        np.testing.assert_allclose(at, beyond, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_full(name: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    pictures, texts = (np.asarray(tf.cast(random.normal(size=(6, 8)), dtype), np.float32) for _ in range(2))
    groups = [0, 1, 2, 0, 4, 5]
    full, _ = measured(LOSSES[name], pictures, texts, groups, scale=90.0)
    half, gradients = measured(LOSSES[name], pictures, texts, groups, scale=90.0, dtype=dtype)
    np.testing.assert_allclose(half, full, rtol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_poor_batches_give_finite_losses_and_gradients(name: str) -> None:
    zeros = np.zeros((3, 2))
    for pictures, texts, groups in (
        (PICTURES[:1], TEXTS[:1], [0]),
        (zeros, zeros, [0, 1, 2]),
        (1e-30 * np.ones((3, 2)), 1e18 * np.ones((3, 2)), [0, 0, 0]),
    ):
        losses, gradients = measured(LOSSES[name], pictures, texts, groups, scale=LARGEST_SCALE)
        assert np.isfinite(losses).all()
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_pair_alone_has_nothing_to_learn_by_softmax() -> None:
    losses, gradients = measured(InfoNCE(), PICTURES[:1], TEXTS[1:], [0])
    assert losses == pytest.approx([0.0])
    assert all(np.abs(gradient).max() == 0.0 for gradient in gradients)


def test_following_the_gradient_brings_pairs_together() -> None:
    for loss in LOSSES.values():
        pictures, texts = (np.random.default_rng(seed).normal(size=(5, 8)) for seed in (0, 1))
        groups = [0, 1, 2, 3, 0]
        before, _ = measured(loss, pictures, texts, groups, scale=10.0)
        for _ in range(50):
            _, gradients = measured(loss, pictures, texts, groups, scale=10.0)
            pictures, texts = pictures - gradients[0], texts - gradients[1]
        after, _ = measured(loss, pictures, texts, groups, scale=10.0)
        assert after.mean() < 0.5 * before.mean()
        assert own_text_is_nearest(pictures, texts, tf.constant(groups)).numpy().all()


def test_a_text_of_the_same_group_counts_as_the_own_one() -> None:
    nearest = own_text_is_nearest(PICTURES, TEXTS[::-1], tf.constant([0, 1]))
    assert nearest.numpy().tolist() == [False, False]
    assert own_text_is_nearest(PICTURES, TEXTS[::-1], tf.constant([4, 4])).numpy().tolist() == [True, True]
    assert own_text_is_nearest(PICTURES, TEXTS, tf.constant([0, 1])).numpy().tolist() == [True, True]
