"""A posterior head in closed form: it classifies, agrees on attributes, keeps detail, and can be cut short."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.models.posterior_head import GradedAttribute, build_posterior_head
from trainer.training.features import FeatureRows
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import LOGIT_SCALE, randomise_head, start_head

CLASSES, COLOURS, PRODUCTS, ITEMS = 4, 3, 30, 240
WIDTHS = {"resnet50": 24, "hub_vit": 12}


def toy(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Features moved by class, less by colour, less still by product, and a little by chance."""
    random = np.random.default_rng(seed)
    product = random.integers(PRODUCTS, size=ITEMS)
    classes, colours = (product % CLASSES).astype(np.int32), (product % COLOURS).astype(np.int32)
    fixed = np.random.default_rng(99)
    features = {}
    for part, width in WIDTHS.items():
        moved = 3 * fixed.normal(size=(CLASSES, width))[classes] + 2 * fixed.normal(size=(COLOURS, width))[colours]
        moved = moved + fixed.normal(size=(PRODUCTS, width))[product] + 0.2 * random.normal(size=(ITEMS, width))
        features[part] = (moved + 5).astype(np.float32)
    return features, classes, colours, product


def known(missing: int = 0) -> HeadFeatures:
    features, classes, colours, _ = toy(0)
    colours[:missing] = -1
    rows = np.arange(ITEMS)
    return HeadFeatures({part: [FeatureRows(v, rows)] for part, v in features.items()}, classes, {"colour": colours})


def started(weight: float = 0.3, dim: int = 16, classes: int = CLASSES, missing: int = 0) -> keras.Model:
    head = build_posterior_head(WIDTHS, classes, dim, [GradedAttribute("colour", COLOURS, weight)])
    start_head(head, known(missing), classes, discriminant=True)
    return head


def nearest(embedding: np.ndarray) -> np.ndarray:
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(axis=1)


def test_it_classifies_unseen_items_and_finds_their_product() -> None:
    features, classes, _, product = toy(1)
    answer = started()(features)
    assert (np.asarray(answer["logits"]).argmax(axis=1) == classes).mean() > 0.98
    assert (product[nearest(np.asarray(answer["embedding"]))] == product).mean() > 0.98


def test_an_attribute_counts_as_much_as_it_should() -> None:
    features, _, colours, _ = toy(1)
    embedding = np.asarray(started(weight=1.0)(features)["embedding"])
    similarity = embedding @ embedding.T
    same = np.equal.outer(colours, colours)
    gap = similarity[same].mean() - similarity[~same].mean()
    embedding = np.asarray(started(weight=0.01)(features)["embedding"])
    similarity = embedding @ embedding.T
    assert gap > 0.3 > 0.15 > similarity[same].mean() - similarity[~same].mean()


def test_items_without_the_attribute_are_left_out_of_its_part_only() -> None:
    features, classes, colours, _ = toy(1)
    head = started(missing=100)
    posterior = keras.Model(head.input, head.get_layer("colour_posterior").output)(features)
    assert (np.asarray(posterior).argmax(axis=1) == colours).mean() > 0.95
    assert (np.asarray(head(features)["logits"]).argmax(axis=1) == classes).mean() > 0.98


def test_the_first_columns_are_the_best_shorter_embedding() -> None:
    head = started()
    features, _, _, product = toy(1)
    embedding = np.asarray(head(features)["embedding"])
    energy = np.square(embedding).mean(axis=0)
    assert (np.diff(energy[:10]) < 0.02).all()
    assert energy[:8].sum() > 0.9
    whole = (product[nearest(embedding)] == product).mean()
    assert (product[nearest(embedding[:, :8])] == product).mean() > whole - 0.2


def test_the_rotation_changes_no_similarity_where_it_keeps_all_columns() -> None:
    head = started(dim=64)
    features, *_ = toy(1)
    blocks = np.asarray(keras.Model(head.input, head.get_layer("blocks").output)(features))
    blocks = blocks / np.linalg.norm(blocks, axis=1, keepdims=True)
    embedding = np.asarray(head(features)["embedding"])
    np.testing.assert_allclose(embedding @ embedding.T, blocks @ blocks.T, atol=1e-4)


def test_many_classes_are_mixed_into_few_columns() -> None:
    """40 classes in 16 columns: principal axes alone would forget most of them."""
    classes = 40
    random = np.random.default_rng(0)
    centres = random.normal(size=(classes, 48))
    own = np.repeat(np.arange(classes), 8).astype(np.int32)

    def drawn() -> np.ndarray:
        return (centres[own] + 0.2 * random.normal(size=(len(own), 48))).astype(np.float32)

    head = build_posterior_head({"part": 48}, classes, 16)
    rows = np.arange(len(own))
    start_head(head, HeadFeatures({"part": [FeatureRows(drawn(), rows)]}, own), classes, discriminant=True)
    embedding = np.asarray(head({"part": drawn()})["embedding"])
    assert (own[nearest(embedding)] == own).mean() > 0.9


def test_a_class_without_items_and_the_same_start_twice() -> None:
    first, second = started(classes=CLASSES + 1), started(classes=CLASSES + 1)
    features, classes, _, _ = toy(1)
    assert (np.asarray(first(features)["logits"]).argmax(axis=1) == classes).mean() > 0.98
    np.testing.assert_array_equal(first(features)["embedding"], second(features)["embedding"])


def test_features_that_are_all_alike_give_a_finite_head() -> None:
    features = {part: np.ones((ITEMS, width), np.float32) for part, width in WIDTHS.items()}
    _, classes, colours, _ = toy(0)
    rows = {part: [FeatureRows(values, np.arange(ITEMS))] for part, values in features.items()}
    head = build_posterior_head(WIDTHS, CLASSES, 8, [GradedAttribute("colour", COLOURS, 0.3)])
    start_head(head, HeadFeatures(rows, classes, {"colour": colours}), CLASSES, discriminant=True)
    assert np.isfinite(np.asarray(head(features)["embedding"])).all()


@pytest.mark.parametrize("dim", [8, 200])
def test_a_random_head_is_finite_seeded_and_turns_without_stretching(dim: int) -> None:
    def made(seed: int) -> keras.Model:
        head = build_posterior_head(WIDTHS, CLASSES, dim, [GradedAttribute("colour", COLOURS, 0.3)])
        randomise_head(head, seed)
        return head

    head = made(1)
    features, *_ = toy(1)
    embedding = np.asarray(head(features)["embedding"])
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, atol=1e-4)
    np.testing.assert_array_equal(embedding, made(1)(features)["embedding"])
    assert not np.allclose(embedding, made(2)(features)["embedding"])
    np.testing.assert_allclose(
        np.linalg.norm(head.get_layer("classifier").get_weights()[0], axis=0), LOGIT_SCALE, rtol=1e-5
    )
    kernel = head.get_layer("rotation").get_weights()[0]
    gram = kernel.T @ kernel if dim < len(kernel) else kernel @ kernel.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)
