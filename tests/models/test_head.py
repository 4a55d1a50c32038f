"""Heads: what goes in standardised, what comes out of unit length, and backbones joined to them."""

from __future__ import annotations

from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from trainer.config import ModelConfig
from trainer.models.head import build_concatenation_head, build_head, compose
from trainer.models.registry import BACKBONES, build_backbone, build_model_head
from trainer.models.standardisation import Standardisation

WIDTHS = {"resnet50": 6, "hub_vit": 3}


def features(count: int = 20) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {part: random.normal(5, 3, (count, width)).astype(np.float32) for part, width in WIDTHS.items()}


def test_standardisation_is_scikit_learns() -> None:
    rows = features()["resnet50"] * [1, 10, 0.01, 1, 1, 1] + [0, 100, 0, 0, 0, 0]
    rows[:, 5] = 4.0  # a constant feature has the scale 1
    scaler = StandardScaler().fit(rows)
    layer = Standardisation()
    layer.build((None, 6))
    np.testing.assert_array_equal(layer(rows.astype(np.float32)), rows.astype(np.float32))
    layer.set_statistics(scaler.mean_, scaler.scale_)
    np.testing.assert_allclose(layer(rows.astype(np.float32)), scaler.transform(rows), atol=2e-4)
    assert layer.trainable_weights == []
    assert len(layer.weights) == 2


@pytest.mark.parametrize(("mean", "scale"), [([0, np.nan], [1, 1]), ([0, 0], [1, 0]), ([0, 0], [np.inf, 1])])
def test_impossible_statistics_are_our_fault(mean: list[float], scale: list[float]) -> None:
    layer = Standardisation()
    layer.build((None, 2))
    with pytest.raises(ValueError, match="expected finite means and scales above 0"):
        layer.set_statistics(np.array(mean), np.array(scale))


def test_a_head_answers_unit_embeddings_and_logits_of_them() -> None:
    head = build_head(WIDTHS, num_classes=4, embedding_dim=7)
    answer = head(features())
    embedding, logits = np.asarray(answer["embedding"]), np.asarray(answer["logits"])
    assert embedding.shape == (20, 7)
    assert logits.shape == (20, 4)
    assert embedding.dtype == logits.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, atol=1e-5)
    kernel, bias = head.get_layer("classifier").get_weights()
    np.testing.assert_allclose(logits, embedding @ kernel + bias, atol=1e-5)


def test_every_part_counts_alike_however_large_its_numbers() -> None:
    head = build_head(WIDTHS, num_classes=4, embedding_dim=7)
    rows = features()
    for part in WIDTHS:
        scaler = StandardScaler().fit(rows[part])
        head.get_layer(f"{part}_standardisation").set_statistics(scaler.mean_, scaler.scale_)
    joined = keras.Model(head.input, head.get_layer("projection").input)(rows).numpy()
    np.testing.assert_allclose(np.linalg.norm(joined[:, :6], axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined[:, 6:], axis=1), 1.0, atol=1e-5)
    expected = StandardScaler().fit_transform(rows["hub_vit"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(joined[:, 6:], expected, atol=1e-4)


def test_a_head_over_one_part_needs_no_joining() -> None:
    head = build_head({"hub_vit": 3}, num_classes=2)
    assert head({"hub_vit": features()["hub_vit"]})["embedding"].shape == (20, 256)


def test_the_baseline_is_the_plain_concatenation() -> None:
    head = build_concatenation_head(WIDTHS, num_classes=4)
    rows = features()
    joined = np.concatenate([rows["resnet50"], rows["hub_vit"]], axis=1)
    answer = head(rows)
    expected = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-5)
    kernel, bias = head.get_layer("classifier").get_weights()
    np.testing.assert_allclose(answer["logits"], joined @ kernel + bias, rtol=1e-4, atol=1e-4)
    assert build_concatenation_head({"hub_vit": 3}, 4)({"hub_vit": rows["hub_vit"]})["embedding"].shape == (20, 3)


def test_heads_compute_in_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for head in (build_head(WIDTHS, 4, 7), build_concatenation_head(WIDTHS, 4)):
            assert {value.dtype.name for value in head(features()).values()} == {"float32"}
            computing = [layer for layer in head.layers if not isinstance(layer, keras.layers.InputLayer)]
            assert {layer.compute_dtype for layer in computing} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_composed_model_gives_its_pieces_back(tiny_vit: Path) -> None:
    config = ModelConfig(names=("hub_vit",), hub_vit={"handle": str(tiny_vit)}, image_size=32, embedding_dim=5)
    backbone = build_backbone("hub_vit", config)
    head = build_model_head("hub_vit", config, {"hub_vit": 16}, 3)
    model = compose({"hub_vit": backbone}, head, 32, "hub_vit")
    raw = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert model.input.dtype == "uint8"
    assert model.input_shape == (None, 32, 32, 3)
    assert model.get_layer("hub_vit") is backbone
    assert model.get_layer("head") is head
    answer, expected = model(raw), head({"hub_vit": backbone(raw)})
    for name in ("embedding", "logits"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-6)
    assert answer["embedding"].shape == (2, 5)


def test_the_table_of_models_is_explicit(tiny_vit: Path) -> None:
    config = ModelConfig(hub_vit={"handle": str(tiny_vit)}, fused={"parts": ("hub_vit", "resnet50")})
    assert set(BACKBONES) == {"resnet50", "hub_vit", "clip"}
    assert config.parts_of("hub_vit") == ("hub_vit",)
    assert config.parts_of("fused") == config.parts_of("concatenated") == ("hub_vit", "resnet50")
    assert build_model_head("concatenated", config, WIDTHS, 4).output["embedding"].shape == (None, 9)
    assert build_model_head("fused", config, WIDTHS, 4).output["embedding"].shape == (None, 256)
