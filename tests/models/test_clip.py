"""CLIP's own tower and head, other towers in its place, and both halves asked together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.config import ClipConfig, ModelConfig, WordsConfig, WordsStageConfig
from trainer.config.words import TextEncoderConfig
from trainer.errors import InputError
from trainer.models.clip import ClipModel, generate_clip_embeddings, initialize_clip_model
from trainer.models.clip_head import build_clip_head
from trainer.models.clip_tower import build_clip
from trainer.models.registry import build_backbone, build_model_head
from trainer.training.checkpoint import load_model, save_checkpoint

OWN = ClipConfig(patch_size=8, width=16, layers=1, heads=2, projection_dim=6)
WORDS = WordsConfig(encoder=TextEncoderConfig(width=16, layers=1, heads=2, length=12))
TEXTS = ["red shirt", "", "blue dress"]


def config(**more: Any) -> ModelConfig:
    return ModelConfig(**{"names": ("clip",), "image_size": 32, "clip": OWN, **more})


def pictures(count: int = 3, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def unit(rows: Any) -> np.ndarray:
    rows = np.asarray(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_tower_from_scratch_sees_where_its_patches_are() -> None:
    tower = build_clip(config())
    assert tower.input.dtype == "uint8"
    assert tower.output_shape == (None, 6)
    image = pictures(1)
    turned = np.roll(image, 8, axis=2)  # the same patches elsewhere
    assert np.abs(np.asarray(tower(image)) - np.asarray(tower(turned))).max() > 1e-3


def test_all_of_the_tower_learns() -> None:
    tower = build_clip(config())
    assert len(tower.trainable_variables) == 3 + 2 + 16 + 2 + 1
    assert all(weight.path.startswith(("tower", "encoder")) for weight in tower.trainable_variables)


def test_coarsened_pictures_show_no_more_than_small_ones() -> None:
    fine = np.tile(np.array([[0, 255], [255, 0]], np.uint8)[:, :, None], (16, 16, 3))
    both = np.stack([fine, np.full_like(fine, 128)])
    plain, coarse = (
        np.ptp(np.asarray(build_clip(config(coarsened_to=size))(both)), axis=0).max() for size in (None, 8)
    )
    assert plain > 20 * coarse


def test_a_size_that_is_no_multiple_of_the_patches_is_refused() -> None:
    with pytest.raises(InputError, match=r"patch_size: expected a divisor of model.image_size \(36\), received 8"):
        build_clip(config(image_size=36))


def test_a_presets_tower_is_taken_with_its_preprocessing(clip_preset: Path) -> None:
    import keras_hub

    images = pictures()
    tower = build_clip(config(clip=ClipConfig(preset=str(clip_preset))))
    original = keras_hub.models.CLIPBackbone.from_preset(str(clip_preset))
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = original.get_vision_embeddings(((images / 255.0 - mean) / deviation).astype(np.float32))
    np.testing.assert_allclose(tower(images), expected, atol=1e-5)
    with pytest.raises(InputError, match="takes pictures of 32 pixels a side, received 64"):
        build_clip(config(image_size=64, clip=ClipConfig(preset=str(clip_preset))))


def test_the_head_leaves_the_space_as_it_is() -> None:
    head = build_clip_head({"clip": 6}, 4)
    features = np.random.default_rng(0).normal(3, 2, (20, 6)).astype(np.float32)
    head.get_layer("clip_standardisation").set_statistics(features.mean(axis=0), features.std(axis=0))
    answer = head({"clip": features})
    np.testing.assert_allclose(answer["embedding"], unit(features), atol=1e-5)
    kernel, bias = head.get_layer("classifier").get_weights()
    seen = unit((features - features.mean(axis=0)) / features.std(axis=0))
    np.testing.assert_allclose(answer["logits"], seen @ kernel + bias, atol=1e-5)


def test_the_registry_knows_clip_alone_beside_others_and_over_others(tiny_vit: Path) -> None:
    own = config()
    assert build_backbone("clip", own).output_shape == (None, 6)
    assert build_model_head("clip", own, {"clip": 6}, 4).output["embedding"].shape == (None, 6)
    other = config(clip=ClipConfig(tower="hub_vit"), hub_vit={"handle": str(tiny_vit)}, embedding_dim=5)
    assert other.backbones == other.parts_of("clip") == ("hub_vit",)
    assert build_model_head("clip", other, {"hub_vit": 16}, 4).output["embedding"].shape == (None, 5)
    third = config(names=("fused",), fused={"parts": ("hub_vit", "clip")}, hub_vit={"handle": str(tiny_vit)})
    assert third.backbones == ("hub_vit", "clip")
    assert build_model_head("fused", third, {"hub_vit": 16, "clip": 6}, 4).output["embedding"].shape == (None, 256)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_both_halves_answer_on_one_sphere(policy: str, tokenizer: Any) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        clip = initialize_clip_model(config(), WORDS, tokenizer)
        seen, read = generate_clip_embeddings(clip, pictures(), TEXTS, batch_size=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert seen.shape == read.shape == (3, 6)
    assert seen.dtype == read.dtype == np.float32
    for rows in (seen, read):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_either_half_may_be_asked_nothing(tokenizer: Any) -> None:
    clip = initialize_clip_model(config(), WORDS, tokenizer)
    seen, read = generate_clip_embeddings(clip, [], TEXTS)
    assert (seen.shape, read.shape) == ((0, 6), (3, 6))
    seen, read = generate_clip_embeddings(clip, list(pictures(2)), [])
    assert (seen.shape, read.shape) == ((2, 6), (0, 6))
    seen, read = generate_clip_embeddings(ClipModel(clip.pictures), pictures(2), [])
    assert (seen.shape, read.shape) == ((2, 6), (0, 6))


@pytest.mark.parametrize("images", [pictures(2, 16), pictures(1).astype(np.float32), pictures(1)[0]])
def test_pictures_of_another_kind_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected images uint8 \[N, 32, 32, 3\], received"):
        generate_clip_embeddings(initialize_clip_model(config()), images, [])


def test_a_model_without_words_refuses_texts() -> None:
    with pytest.raises(InputError, match="expected no texts, since the model reads none, received 3"):
        generate_clip_embeddings(initialize_clip_model(config()), [], TEXTS)


def test_a_preset_is_both_halves_as_published(clip_preset: Path) -> None:
    import keras_hub

    preset = str(clip_preset)
    words = WordsConfig(encoder=TextEncoderConfig(preset=preset, length=12), locked=WordsStageConfig(epochs=0))
    clip = initialize_clip_model(config(clip=ClipConfig(preset=preset)), words)
    assert clip.words is not None
    seen, read = generate_clip_embeddings(clip, pictures(), TEXTS)
    original = keras_hub.models.CLIPBackbone.from_preset(preset)
    np.testing.assert_allclose(read, unit(original.get_text_embeddings(clip.words.tokenize(TEXTS))), atol=1e-5)
    np.testing.assert_allclose(seen @ read[0], np.asarray(seen @ read.T)[:, 0], atol=1e-6)


def test_another_model_of_ours_may_be_the_tower(tiny_vit: Path, tokenizer: Any) -> None:
    model = config(clip=ClipConfig(tower="hub_vit"), hub_vit={"handle": str(tiny_vit)}, embedding_dim=5)
    seen, read = generate_clip_embeddings(initialize_clip_model(model, WORDS, tokenizer), pictures(), TEXTS)
    assert seen.shape == read.shape == (3, 5)


def test_a_checkpoint_brings_the_tower_back(tmp_path: Path) -> None:
    clip = initialize_clip_model(config(), num_classes=4)
    save_checkpoint(clip.pictures, tmp_path / "best.keras")
    loaded = load_model(tmp_path / "best.keras")
    for name, value in clip.pictures(pictures()).items():
        np.testing.assert_allclose(loaded(pictures())[name], value, atol=1e-6)
