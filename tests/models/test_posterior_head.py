"""The posterior head: pictures of one class agree whatever else, and detail decides among them."""

from __future__ import annotations

import itertools
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.models.posterior_head import DETAIL_WEIGHT, GradedAttribute, build_posterior_head, layer_name
from trainer.models.root_posterior import RootPosterior

WIDTHS = {"resnet50": 20, "hub_vit": 9}
COLOUR = GradedAttribute("base/Colour", 3, 0.25)


def features(count: int = 12) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {part: random.normal(5, 3, (count, width)).astype(np.float32) for part, width in WIDTHS.items()}


def test_a_root_posterior_is_the_root_of_the_probabilities() -> None:
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
    np.testing.assert_allclose(RootPosterior()(logits), np.sqrt([[0.25, 0.75], [0.5, 0.5]]), atol=1e-6)
    # Sharpened twice, odds of 1 to 3 become odds of 1 to 9; the squares add up to the weight.
    np.testing.assert_allclose(RootPosterior(2.0, 4.0)(logits[:1]), 2 * np.sqrt([[0.1, 0.9]]), atol=1e-6)


def test_a_root_posterior_has_a_slope_where_a_probability_is_none() -> None:
    import tensorflow as tf

    logits = tf.constant([[0.0, -500.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        answer = RootPosterior()(logits)
    assert np.isfinite(tape.gradient(answer, logits)).all()
    np.testing.assert_allclose(answer, [[1.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize(("sharpness", "weight"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_a_root_posterior_refuses_what_has_no_root(sharpness: float, weight: float) -> None:
    with pytest.raises(ValueError, match="expected sharpness and weight above 0"):
        RootPosterior(sharpness, weight)


def test_the_head_answers_unit_embeddings_and_logits(tmp_path: Path) -> None:
    head = build_posterior_head(WIDTHS, num_classes=4, embedding_dim=7, attributes=[COLOUR])
    answer = {name: np.asarray(value) for name, value in head(features()).items()}
    assert answer["embedding"].shape == (12, 7)
    assert answer["logits"].shape == (12, 4)
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), 1.0, atol=1e-5)
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)(features())
    np.testing.assert_array_equal(again["embedding"], answer["embedding"])


def test_similarity_is_shared_out_by_label_attributes_and_detail() -> None:
    """With posteriors forced to certainties and an identity for rotation, every cosine can be told beforehand."""
    head = build_posterior_head({"part": 6}, 2, embedding_dim=11, attributes=[COLOUR])
    blocks = head.get_layer("rotation").kernel.shape[0]
    assert blocks == 2 + 3 + 5
    head.get_layer("rotation").set_weights([np.eye(blocks, 11)])
    inside = keras.Model(head.get_layer("blocks").input, head.output["embedding"])
    looks = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], np.float32) * DETAIL_WEIGHT**0.5
    pictures = list(itertools.product(range(2), range(3), range(2)))
    label, colour, look = np.array(pictures).T
    parts = [np.eye(2)[label], 0.5 * np.eye(3)[colour], looks[look]]
    found = np.asarray(inside([part.astype(np.float32) for part in parts]))
    total = 1 + COLOUR.weight + DETAIL_WEIGHT
    same = [np.equal.outer(values, values) for values in (label, colour, look)]
    expected = (same[0] + COLOUR.weight * same[1] + DETAIL_WEIGHT * same[2]) / total
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5)


def test_names_of_attributes_become_names_of_layers() -> None:
    head = build_posterior_head(WIDTHS, 4, attributes=[COLOUR])
    assert layer_name("base/Colour") == "base_Colour"
    assert head.get_layer("base_Colour_classifier").kernel.shape == (2, 3)
    assert head.get_layer("base_Colour_posterior").weight == 0.25


def test_narrow_features_make_a_head_too() -> None:
    head = build_posterior_head({"part": 2}, num_classes=5, embedding_dim=8)
    rows = {"part": np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)}
    np.testing.assert_allclose(np.linalg.norm(head(rows)["embedding"], axis=1), 1.0, atol=1e-5)
