"""A started head classifies at once, keeps products of one class apart, and survives odd features."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from trainer.models.clip_head import build_clip_head
from trainer.models.head import build_concatenation_head, build_head
from trainer.training import head_features
from trainer.training import head_start as head_start_module
from trainer.training.features import FeatureRows
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import LOGIT_SCALE, randomise_head, start_head

CLASSES, PRODUCTS, ITEMS = 4, 5, 40
WIDTHS = {"resnet50": 12, "hub_vit": 6}


def toy(seed: int = 0, noise: float = 0.05) -> tuple[dict[str, list[np.ndarray]], np.ndarray, np.ndarray]:
    """Two views of every item; a class, and a product inside it, move all features; every item is a little off."""
    random = np.random.default_rng(seed)
    product = np.arange(ITEMS) % (CLASSES * PRODUCTS)
    classes = (product % CLASSES).astype(np.int32)
    views: dict[str, list[np.ndarray]] = {}
    for part, width in WIDTHS.items():
        scale = 100.0 if part == "resnet50" else 1.0
        centres = 3 * random.normal(size=(CLASSES, width))[classes] + random.normal(size=(20, width))[product]
        views[part] = [
            (scale * (centres + noise * random.normal(size=(ITEMS, width)) + 7)).astype(np.float32) for _ in range(2)
        ]
    return views, classes, product


def known(views: dict[str, list[np.ndarray]], classes: np.ndarray) -> HeadFeatures:
    """The items' rows lie in the cache in another order, among others."""
    cached = {}
    for part, arrays in views.items():
        order = np.random.default_rng(1).permutation(ITEMS + 3)[:ITEMS]
        stores = [np.full((ITEMS + 3, array.shape[1]), np.nan, np.float32) for array in arrays]
        for store, array in zip(stores, arrays, strict=True):
            store[order] = array
        cached[part] = [FeatureRows(store, order) for store in stores]
    return HeadFeatures(cached, classes)


@pytest.fixture
def features() -> HeadFeatures:
    views, classes, _ = toy()
    return known(views, classes)


def answers(head: keras.Model, view: int = 0) -> dict[str, np.ndarray]:
    views, _, _ = toy()
    return {name: np.asarray(value) for name, value in head({p: a[view] for p, a in views.items()}).items()}


def test_rows_of_views_come_one_view_after_the_other(features: HeadFeatures) -> None:
    views, classes, _ = toy()
    assert features.count == 2 * ITEMS
    assert features.widths == WIDTHS
    np.testing.assert_array_equal(features.classes, np.concatenate([classes, classes]))
    found = features.read(np.array([0, ITEMS + 3, 2, 2 * ITEMS - 1]))
    for part, (plain, mirrored) in views.items():
        np.testing.assert_array_equal(found[part], [plain[0], mirrored[3], plain[2], mirrored[-1]])


def test_chunks_are_all_rows_in_order(features: HeadFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_features, "_CHUNK", 7)
    chunks = list(features.chunks())
    assert [len(classes) for _, classes in chunks] == [7] * 11 + [3]
    everything = features.read(np.arange(features.count))
    for part in WIDTHS:
        np.testing.assert_array_equal(np.concatenate([rows[part] for rows, _ in chunks]), everything[part])


@pytest.mark.parametrize("chunk", [7, 10**6])
def test_a_started_head_classifies_at_once(chunk: int, features: HeadFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_features, "_CHUNK", chunk)
    head = build_head(WIDTHS, CLASSES, 16)
    start_head(head, features, CLASSES, discriminant=True)
    found = answers(head)
    np.testing.assert_array_equal(found["logits"].argmax(axis=1), features.item_classes)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1.0, atol=1e-5)
    lengths = np.linalg.norm(head.get_layer("classifier").get_weights()[0], axis=0)
    np.testing.assert_allclose(lengths, LOGIT_SCALE, rtol=1e-5)


def test_the_standardisation_is_that_of_all_rows(features: HeadFeatures) -> None:
    views, _, _ = toy()
    head = build_head(WIDTHS, CLASSES, 16)
    start_head(head, features, CLASSES, discriminant=False)
    for part, arrays in views.items():
        scaler = StandardScaler().fit(np.concatenate(arrays).astype(np.float64))
        mean, scale = head.get_layer(f"{part}_standardisation").get_weights()
        np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-5)
        np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-5)


def same_product(head: keras.Model) -> float:
    """How often the nearest mirrored item of an item's class is of the same product."""
    _, classes, product = toy()
    similar = answers(head)["embedding"] @ answers(head, view=1)["embedding"].T
    similar[classes[:, None] != classes[None, :]] = -2.0
    return float((product[similar.argmax(axis=1)] == product).mean())


def test_products_of_one_class_stay_apart(features: HeadFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    with_complement = build_head(WIDTHS, CLASSES, 16)
    start_head(with_complement, features, CLASSES, discriminant=True)
    monkeypatch.setattr(head_start_module, "COMPLEMENT_SCALE", 0.0)
    without = build_head(WIDTHS, CLASSES, 16)
    start_head(without, features, CLASSES, discriminant=True)
    assert same_product(with_complement) == 1.0
    assert same_product(without) < 0.9


@pytest.mark.parametrize("width", [1, 2, 3, 18, 40])
def test_an_embedding_narrower_or_wider_than_the_directions_works(width: int, features: HeadFeatures) -> None:
    head = build_head(WIDTHS, CLASSES, width)
    start_head(head, features, CLASSES, discriminant=True)
    found = answers(head)
    assert found["embedding"].shape == (ITEMS, width)
    assert np.isfinite(found["logits"]).all()
    right = (found["logits"].argmax(axis=1) == features.item_classes).mean()
    assert right >= (1.0 if width >= CLASSES - 1 else 0.4)


def test_the_baseline_starts_as_the_plain_discriminant(features: HeadFeatures) -> None:
    head = build_concatenation_head(WIDTHS, CLASSES)
    start_head(head, features, CLASSES, discriminant=True)
    np.testing.assert_array_equal(answers(head)["logits"].argmax(axis=1), features.item_classes)


@pytest.mark.parametrize("discriminant", [False, True])
@pytest.mark.parametrize(
    "build", [lambda: build_head(WIDTHS, CLASSES, 16), lambda: build_concatenation_head(WIDTHS, CLASSES)]
)
def test_features_that_say_nothing_give_finite_answers(build: Any, discriminant: bool) -> None:
    same = {part: [np.full((ITEMS, width), 3.0, np.float32)] for part, width in WIDTHS.items()}
    head = build()
    start_head(head, known(same, toy()[1]), CLASSES, discriminant=discriminant)
    found = head({part: arrays[0] for part, arrays in same.items()})
    for weight in head.get_weights():
        assert np.isfinite(weight).all()
    assert np.isfinite(found["logits"]).all()


def test_a_class_without_training_items_is_never_the_answer(features: HeadFeatures) -> None:
    head = build_head(WIDTHS, CLASSES + 1, 16)
    start_head(head, features, CLASSES + 1, discriminant=True)
    found = answers(head)["logits"]
    np.testing.assert_array_equal(found.argmax(axis=1), features.item_classes)


def test_a_random_start_is_the_seeds() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        head = build_head(WIDTHS, CLASSES, 16)
        randomise_head(head, seed)
        return [*head.get_layer("projection").get_weights(), *head.get_layer("classifier").get_weights()]

    one = weights(1)
    for a, b in zip(one, weights(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[0] != weights(2)[0]).any()
    np.testing.assert_allclose(np.linalg.norm(one[2], axis=0), LOGIT_SCALE, rtol=1e-5)


def test_a_random_start_still_standardises(features: HeadFeatures) -> None:
    head = build_head(WIDTHS, CLASSES, 16)
    start_head(head, features, CLASSES, discriminant=False)
    joined = keras.Model(head.input, head.get_layer("projection").input)(features.read(np.arange(ITEMS))).numpy()
    assert np.abs(joined.mean(axis=0)).max() < 0.2


@pytest.fixture
def clip_features() -> HeadFeatures:
    views, classes, _ = toy()
    return known({"resnet50": views["resnet50"]}, classes)


def test_the_head_of_clip_starts_as_the_discriminant_and_leaves_the_space(clip_features: HeadFeatures) -> None:
    head = build_clip_head(clip_features.widths, CLASSES)
    start_head(head, clip_features, CLASSES, discriminant=True)
    rows = clip_features.read(np.arange(ITEMS))["resnet50"]
    answer = head({"resnet50": rows})
    np.testing.assert_array_equal(np.argmax(answer["logits"], axis=1), clip_features.item_classes)
    np.testing.assert_allclose(answer["embedding"], rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-5)


def test_without_a_discriminant_the_head_of_clip_starts_at_zero(clip_features: HeadFeatures) -> None:
    head = build_clip_head(clip_features.widths, CLASSES)
    start_head(head, clip_features, CLASSES, discriminant=False)
    seen = head(clip_features.read(np.arange(ITEMS)))["logits"]
    np.testing.assert_array_equal(seen, np.zeros((ITEMS, CLASSES)))
    _, scale = head.get_layer("resnet50_standardisation").get_weights()
    assert scale.mean() > 50


def test_the_head_of_clip_may_be_made_random_for_a_tower_that_is_to_learn(clip_features: HeadFeatures) -> None:
    head = build_clip_head(clip_features.widths, CLASSES)
    randomise_head(head, 3)
    kernel, bias = head.get_layer("classifier").get_weights()
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), LOGIT_SCALE, rtol=1e-5)
    assert not bias.any()


def test_the_baseline_keeps_its_own_random_start(features: HeadFeatures) -> None:
    head = build_concatenation_head(WIDTHS, CLASSES)
    before = head.get_layer("classifier").get_weights()
    start_head(head, features, CLASSES, discriminant=False)
    for a, b in zip(before, head.get_layer("classifier").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
