"""Features are computed once a picture, in the items' order, and anew for whatever has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from trainer.data.freshness import with_true_hashes
from trainer.data.items import IMAGE_PATH, PICTURE_MTIME_NS, PICTURE_SHA256, PICTURE_SIZE
from trainer.data.row_store import RowStore
from trainer.errors import InputError
from trainer.models.hub_vit import build_hub_vit
from trainer.models.preprocessing import ValueRange
from trainer.training import features as module
from trainer.training.features import MIRRORED, PLAIN, FeatureStores, backbone_digest

SIZE, COUNT = 8, 7


class Counted(keras.layers.Layer):
    """Counts the pictures that pass."""

    passed = 0

    def call(self, images: Any) -> Any:
        def count(values: np.ndarray) -> np.ndarray:
            Counted.passed += len(values)
            return values

        return tf.ensure_shape(tf.numpy_function(count, [images], tf.float32), images.shape)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype="float32")


def backbone(weight: float = 1.0, high: float = 1.0, name: str = "small") -> keras.Model:
    """Answers the mean of the upper left quarter and of all, so that a mirrored picture has other features."""
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    pixels = Counted()(ValueRange(0.0, high)(images))
    corner = keras.layers.Cropping2D(((0, SIZE // 2), (0, SIZE // 2)))(pixels)
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in (corner, pixels)]
    dense = keras.layers.Dense(6, use_bias=False, kernel_initializer=keras.initializers.Constant(weight))
    answer = keras.layers.Concatenate()([*pooled, dense(pooled[0])])
    return keras.Model(images, answer, name=name)


@pytest.fixture
def items(tmp_path: Path) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for number in range(COUNT):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
        rows.append({IMAGE_PATH: str(path), PICTURE_SHA256: f"sha {number}", PICTURE_SIZE: 0, PICTURE_MTIME_NS: 0})
    return with_true_hashes(pd.DataFrame(rows))


@pytest.fixture
def stores(tmp_path: Path) -> FeatureStores:
    return FeatureStores(tmp_path / "features", batch_size=3)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the pictures that are decoded."""
    paths: list[str] = []
    plain = module.read_pictures

    def watched(chosen: list[str], *how: Any) -> Iterator[dict[str, tf.Tensor]]:
        paths.extend(chosen)
        return plain(chosen, *how)

    monkeypatch.setattr(module, "read_pictures", watched)
    return paths


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    Counted.passed = 0


def counted() -> int:
    passed, Counted.passed = Counted.passed, 0
    return passed


def expected(model: keras.Model, items: pd.DataFrame, mirrored: bool = False) -> np.ndarray:
    images = np.stack([np.asarray(Image.open(path)) for path in items[IMAGE_PATH]])
    found = np.asarray(model(images[:, :, ::-1] if mirrored else images))
    counted()
    return found


def test_features_come_in_the_order_of_the_items_and_only_once(items: pd.DataFrame, stores: FeatureStores) -> None:
    model = backbone()
    found = stores.features({"small": model}, items)["small"]
    assert counted() == COUNT
    assert found.width == 12
    np.testing.assert_allclose(found.read(), expected(model, items), rtol=1e-5)
    shuffled = items.sample(frac=1, random_state=3)
    assert (shuffled.index != items.index).any()
    again = stores.features({"small": model}, shuffled)["small"]
    np.testing.assert_allclose(again.read(), expected(model, shuffled), rtol=1e-5)
    np.testing.assert_array_equal(again.read(np.array([4, 0])), again.read()[[4, 0]])
    np.testing.assert_array_equal(again.read(slice(2, 4)), again.read()[2:4])
    some = stores.features({"other name": model}, items.iloc[[5, 1]])["other name"]
    np.testing.assert_allclose(some.read(), expected(model, items.iloc[[5, 1]]), rtol=1e-5)
    assert counted() == 0


def test_a_backbone_built_again_is_known(items: pd.DataFrame, stores: FeatureStores) -> None:
    stores.features({"small": backbone()}, items)
    counted()
    keras.layers.Dense(3)  # moves the numbers in automatic names
    again = backbone(name="another")
    again.trainable = False
    FeatureStores(stores.root, 2).features({"small": again}, items)
    assert counted() == 0


@pytest.mark.parametrize("changed", [{"weight": 1.001}, {"high": 2.0}], ids=str)
def test_a_changed_backbone_is_asked_again(
    changed: dict[str, float], items: pd.DataFrame, stores: FeatureStores
) -> None:
    stores.features({"small": backbone()}, items)
    counted()
    other = backbone(**changed)
    found = stores.features({"small": other}, items)["small"].read()
    assert counted() == COUNT
    np.testing.assert_allclose(found, expected(other, items), rtol=1e-5)


def test_a_trained_backbone_is_asked_again(items: pd.DataFrame, stores: FeatureStores) -> None:
    model = backbone()
    before = stores.features({"small": model}, items)["small"].read()
    counted()
    model.trainable_weights[0].assign_add(np.ones((3, 6), np.float32))
    assert (stores.features({"small": model}, items)["small"].read() != before).any()
    assert counted() == COUNT
    model.trainable_weights[0].assign(np.ones((3, 6), np.float32))
    stores.features({"small": model}, items)
    assert counted() == 0


def test_the_precision_is_part_of_what_a_backbone_is() -> None:
    plain = backbone_digest(backbone())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert backbone_digest(backbone()) != plain
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_hub_module_is_known_by_graph_and_weights(tiny_vit: Path) -> None:
    model = build_hub_vit(str(tiny_vit), 32)
    plain = backbone_digest(model)
    assert backbone_digest(build_hub_vit(str(tiny_vit), 32)) == plain
    assert backbone_digest(build_hub_vit(str(tiny_vit), 32, (-1.0, 1.0))) != plain
    model.get_layer("module").graph_digest = "another graph"
    assert backbone_digest(model) != plain


def test_a_changed_picture_is_computed_again(items: pd.DataFrame, stores: FeatureStores, decoded: list[str]) -> None:
    model = backbone()
    stores.features({"small": model}, items)
    decoded.clear()
    path = items[IMAGE_PATH].iloc[2]
    Image.fromarray(np.full((SIZE, SIZE, 3), 77, np.uint8)).save(path)
    items = with_true_hashes(items)
    found = stores.features({"small": model}, items)["small"].read()
    assert decoded == [path]
    np.testing.assert_allclose(found, expected(model, items), rtol=1e-5)


def test_the_mirrored_view_is_of_its_own(items: pd.DataFrame, stores: FeatureStores) -> None:
    model = backbone()
    plain = stores.features({"small": model}, items, PLAIN)["small"].read()
    counted()
    mirrored = stores.features({"small": model}, items, MIRRORED)["small"].read()
    assert counted() == COUNT
    np.testing.assert_allclose(mirrored, expected(model, items, mirrored=True), rtol=1e-5)
    assert np.abs(mirrored - plain).max() > 1e-3


def test_equal_pictures_are_computed_once(items: pd.DataFrame, stores: FeatureStores, decoded: list[str]) -> None:
    twice = pd.concat([items, items.iloc[[3]]], ignore_index=True)
    found = stores.features({"small": backbone()}, twice)["small"].read()
    assert len(decoded) == COUNT
    np.testing.assert_array_equal(found[-1], found[3])


def test_pictures_are_decoded_once_for_two_backbones(
    items: pd.DataFrame, stores: FeatureStores, decoded: list[str]
) -> None:
    one, two = backbone(), backbone(weight=2.0)
    found = stores.features({"one": one, "two": two}, items)
    assert decoded == items[IMAGE_PATH].tolist()
    np.testing.assert_allclose(found["one"].read(), expected(one, items), rtol=1e-5)
    np.testing.assert_allclose(found["two"].read(), expected(two, items), rtol=1e-5)


def test_a_backbone_that_is_ahead_is_not_asked_again(items: pd.DataFrame, stores: FeatureStores) -> None:
    one, two = backbone(), backbone(weight=2.0)
    stores.features({"one": one}, items.iloc[:4])
    counted()
    stores.features({"one": one, "two": two}, items)
    assert counted() == (COUNT - 4) + COUNT


def test_an_interrupted_extraction_goes_on(
    items: pd.DataFrame, stores: FeatureStores, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, appended, plain = backbone(), 0, RowStore.append

    def stop(self: RowStore, *what: Any) -> None:
        nonlocal appended
        appended += 1
        if appended == 3:
            raise KeyboardInterrupt
        plain(self, *what)

    with monkeypatch.context() as patch:
        patch.setattr(RowStore, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            stores.features({"small": model}, items)
    decoded.clear()
    found = stores.features({"small": model}, items)["small"].read()
    assert decoded == items[IMAGE_PATH].tolist()[6:]
    np.testing.assert_allclose(found, expected(model, items), rtol=1e-5)


@pytest.mark.parametrize("how", ["gone", "spoilt", "a folder"])
def test_a_picture_that_cannot_be_read_is_the_users_to_mend(
    how: str, items: pd.DataFrame, stores: FeatureStores
) -> None:
    path = Path(items[IMAGE_PATH].iloc[4])
    path.unlink()
    if how == "spoilt":
        path.write_bytes(b"no picture")
    elif how == "a folder":
        path.mkdir()
    told = rf"^{path}: prepare could read this picture, it cannot be read now \(.+\); run prepare again$"
    with pytest.raises(InputError, match=told):
        stores.features({"small": backbone()}, items)


def test_no_items_have_no_features(items: pd.DataFrame, stores: FeatureStores) -> None:
    found = stores.features({"small": backbone()}, items.iloc[:0])["small"]
    assert found.read().shape == (0, 12)


@pytest.fixture(autouse=True)
def _no_locks_left(stores: FeatureStores) -> Iterator[None]:
    yield
    for folder in stores.root.glob("*"):
        with RowStore(folder, (12,), np.float32).lock().acquire(timeout=0):
            pass


def test_cached_features_are_found_by_digest_only_when_all_are_there(
    items: pd.DataFrame, stores: FeatureStores, tmp_path: Path
) -> None:
    model = backbone()
    digests, widths = {"small": backbone_digest(model)}, {"small": int(model.output_shape[-1])}
    assert stores.cached(digests, widths, items) is None
    assert not (tmp_path / "features").exists()
    stores.features({"small": model}, items.iloc[:-1])
    assert stores.cached(digests, widths, items) is None
    wanted = stores.features({"small": model}, items)["small"].read()
    found = stores.cached(digests, widths, items)
    assert found is not None
    np.testing.assert_array_equal(found["small"].read(), wanted)
    assert stores.cached({"small": "0" * 64}, widths, items) is None
