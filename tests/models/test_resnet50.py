"""ResNet50: its preprocessing, its frozen batch normalisation, its pooling, and errors about its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.errors import InputError
from trainer.models.pooling import GeneralisedMeanPooling2D
from trainer.models.preprocessing import CaffePreprocessing, ValueRange
from trainer.models.resnet50 import build_resnet50

LEVELS = ("conv3_block4_out", "conv4_block6_out", "conv5_block2_out", "conv5_block3_out")


def raw(count: int = 4, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with ResNet50's names in a few layers, in its place: quick to train."""

    def build(weights: Any, include_top: bool, input_shape: tuple[int, int, int], **how: Any) -> keras.Model:
        assert not include_top
        images = x = keras.Input(input_shape)
        for width, level in enumerate(LEVELS, start=2):
            x = keras.layers.Conv2D(width, 3, strides=2, name=f"{level}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"{level}_bn")(x)
            x = keras.layers.Activation("relu", name=level)(x)
            x = keras.layers.ZeroPadding2D(2)(x)
        return keras.Model(images, x)

    monkeypatch.setattr(keras.applications, "ResNet50", build)


def statistics(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.path: w.numpy() for w in model.weights if w.path.endswith(("moving_mean", "moving_variance"))}


def trained(backbone: keras.Model) -> keras.Model:
    model = keras.Model(backbone.input, keras.layers.Dense(2)(backbone.output))
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(raw(), np.array([0, 1, 0, 1]), batch_size=2, epochs=2, verbose=0)
    return model


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("composed", [False, True], ids=["plain", "inside another model"])
def test_frozen_batch_normalisation_keeps_its_statistics_under_fit(composed: bool) -> None:
    backbone = build_resnet50("none", 32, "frozen")
    before = {w.path: w.numpy() for w in backbone.weights}
    if composed:
        images = keras.Input((32, 32, 3), dtype="uint8")
        trained(keras.Model(images, backbone(images)))
    else:
        trained(backbone)
    assert len(statistics(backbone)) == 2 * len(LEVELS)
    for weight in backbone.weights:
        assert (weight.numpy() == before[weight.path]).all() == ("bn" in weight.path), weight.path


@pytest.mark.usefixtures("small")
def test_learned_batch_normalisation_moves(tmp_path: Path) -> None:
    backbone = build_resnet50("none", 32, "train")
    before = statistics(backbone)
    trained(backbone)
    after = statistics(backbone)
    assert all((after[path] != before[path]).all() for path in before)
    normalisations = [layer for layer in backbone.get_layer("resnet50").layers if "bn" in layer.name]
    assert {layer.momentum for layer in normalisations} == {0.9}


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_what_is_frozen_is_frozen_after_loading(tmp_path: Path) -> None:
    build_resnet50("none", 32, "frozen").save(tmp_path / "backbone.keras")
    backbone = keras.saving.load_model(tmp_path / "backbone.keras", compile=False)
    before = statistics(backbone)
    trained(backbone)
    after = statistics(backbone)
    assert all((after[path] == before[path]).all() for path in before)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("pooling", "width"), [("average", 5), ("multilevel", 5 + 4 + 3 + 2)])
def test_levels_are_pooled_and_joined(pooling: Any, width: int) -> None:
    model = build_resnet50("none", 32, "train", pooling)
    assert model.output_shape == (None, width)
    assert model.input.dtype == "uint8"
    inner = model.get_layer("resnet50")
    maps = inner(keras.applications.resnet.preprocess_input(raw().astype(np.float32)))
    maps = maps if isinstance(maps, list) else [maps]
    expected = [np.asarray(maps[0]).mean(axis=(1, 2))]
    if pooling == "multilevel":
        expected.append(np.asarray(maps[1]).mean(axis=(1, 2)))
        expected += [np.cbrt((np.maximum(np.asarray(level), 1e-6) ** 3).mean(axis=(1, 2))) for level in maps[2:]]
    np.testing.assert_allclose(model(raw()), np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("small")
def test_features_are_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_resnet50("none", 32, "train")
        assert model.get_layer("resnet50").get_layer("conv5_block3_out").compute_dtype == "float16"
        assert model(raw()).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_preprocessing_is_keras_own() -> None:
    expected = keras.applications.resnet.preprocess_input(raw().astype(np.float32))
    for images in (raw(), raw().astype(np.float32)):
        found = CaffePreprocessing()(images)
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, expected)
    assert CaffePreprocessing(dtype="mixed_float16")(raw()).dtype == "float16"


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_a_value_range_is_reached_at_both_ends(low: float, high: float) -> None:
    layer = ValueRange(low, high)
    np.testing.assert_allclose(layer(np.array([0, 255, 51], np.uint8)), [low, high, low + (high - low) / 5], atol=1e-5)
    again = ValueRange.from_config(json.loads(json.dumps(layer.get_config())))
    assert (again.low, again.high) == (low, high)


def test_generalised_means_lie_between_average_and_maximum() -> None:
    maps = np.random.default_rng(0).uniform(0, 2, (2, 3, 3, 4)).astype(np.float32)
    found = np.asarray(GeneralisedMeanPooling2D()(maps))
    np.testing.assert_allclose(found, np.cbrt((maps.astype(np.float64) ** 3).mean(axis=(1, 2))), rtol=1e-5)
    np.testing.assert_allclose(GeneralisedMeanPooling2D(p=1)(maps), maps.mean(axis=(1, 2)), rtol=1e-5)
    assert (found < maps.max(axis=(1, 2))).all()
    again = GeneralisedMeanPooling2D.from_config(GeneralisedMeanPooling2D(p=2.5, eps=1e-4).get_config())
    assert (again.p, again.eps) == (2.5, 1e-4)


def refusal(weights: str) -> str:
    with pytest.raises(InputError, match=r"^model\.resnet50\.weights: ") as caught:
        build_resnet50(weights, 32)
    assert "\n" not in str(caught.value)
    assert repr(weights) in str(caught.value)
    return str(caught.value)


def test_weights_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    for weights in (str(tmp_path / "none.weights.h5"), "imagenet21k", str(tmp_path)):
        assert "expected 'imagenet', 'none' or the path of a weights file" in refusal(weights)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.weights.h5").write_text("no weights", encoding="utf-8")
    assert "expected weights of keras.applications.ResNet50(include_top=False)" in refusal(
        str(tmp_path / "text.weights.h5")
    )


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(**how: Any) -> keras.Model:
        raise Exception("URL fetch failure on\nhttps://somewhere: None")  # as Keras does

    monkeypatch.setattr(keras.applications, "ResNet50", build)
    message = refusal("imagenet")
    assert "URL fetch failure on https://somewhere" in message
    assert "check the network, or give the path of a .weights.h5 file" in message


def test_real_weights_give_the_features_that_keras_gives(shared_root: Path) -> None:
    path = str(shared_root / "weights" / "resnet50_imagenet_notop.weights.h5")
    images = np.stack([read(place) for place in sorted((shared_root / "data/fashion-products/images").iterdir())[:2]])
    plain = keras.applications.ResNet50(weights=path, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    expected = plain(keras.applications.resnet.preprocess_input(images.astype(np.float32))).numpy()
    model = build_resnet50(path)
    assert model.output_shape == (None, 5632)
    np.testing.assert_allclose(model(images)[:, :2048], expected, atol=1e-4)
    layers = model.get_layer("resnet50").layers
    normalisations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(normalisations) == 53
    assert not any(layer.trainable for layer in normalisations)


def read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB").resize((224, 224)))


def test_the_real_vit_gives_the_features_that_the_hub_gives(shared_root: Path) -> None:
    import tensorflow as tf
    import tensorflow_hub as hub

    from trainer.models.hub_vit import build_hub_vit

    handle = str(shared_root / "weights" / "vit_tiny16_imagenet")
    images = np.stack([read(place) for place in sorted((shared_root / "data/fashion-products/images").iterdir())[:2]])
    model = build_hub_vit(handle)
    expected = hub.load(handle)(tf.constant(images / 255.0, tf.float32), training=False)
    np.testing.assert_allclose(model(images), expected, atol=1e-4)
    assert model.output_shape == (None, 192)
