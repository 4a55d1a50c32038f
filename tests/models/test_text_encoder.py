"""The text encoder: unit length, only what stands before the end counts, one file holds it all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.config import WordsConfig, WordsStageConfig
from trainer.config.words import TextEncoderConfig
from trainer.errors import InputError
from trainer.models.text_encoder import TextEncoder, build_text_encoder, load_text_encoder

SMALL = TextEncoderConfig(width=16, layers=1, heads=2, length=12, dropout=0.5)
TEXTS = ["red shirt", "Blue shirt for men", "", "👗", "red dress " * 50]


@pytest.fixture(scope="module")
def encoder(tokenizer: Any) -> TextEncoder:
    """From scratch."""
    keras.utils.set_random_seed(0)
    return build_text_encoder(WordsConfig(encoder=SMALL, temperature=0.05), 8, tokenizer)


def test_texts_come_to_lie_on_the_unit_sphere(encoder: TextEncoder) -> None:
    found = encoder.encode(TEXTS)
    assert found.shape == (5, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert np.unique(found.round(4), axis=0).shape == (5, 8)
    assert encoder.encode([]).shape == (0, 8)


def test_batches_and_padding_do_not_matter(encoder: TextEncoder) -> None:
    whole = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=2), whole, atol=1e-5)
    tokens = encoder.tokenize(TEXTS)
    assert tokens.shape == (5, encoder.length)
    np.testing.assert_allclose(encoder(tokens), whole, atol=1e-5)
    tokens[0, 5:] = 77  # behind the end
    np.testing.assert_allclose(encoder(tokens), whole, atol=1e-5)
    tokens[0, 1] = 77
    assert np.abs(np.asarray(encoder(tokens))[0] - whole[0]).max() > 1e-3


def test_training_leaves_out_whole_tokens(encoder: TextEncoder) -> None:
    tokens = np.repeat(encoder.tokenize(["red shirt"])[:, :4], 200, axis=0)
    found = np.asarray(encoder(tokens, training=True))
    different = np.unique(found.round(4), axis=0)
    assert len(different) == 16  # each of four tokens is there or not
    assert len(np.unique(np.asarray(encoder(tokens)).round(4), axis=0)) == 1


def test_the_temperature_is_learned_and_bounded(encoder: TextEncoder, tokenizer: Any) -> None:
    assert encoder.temperature == pytest.approx(0.05)
    trained = [weight.path for weight in encoder.trainable_variables]
    assert "words/logit_scale" in trained
    assert "words/logit_bias" not in trained
    assert float(encoder.logit_bias.numpy()) == 0.0
    sigmoid = build_text_encoder(WordsConfig(encoder=SMALL, loss="sigmoid"), 8, tokenizer)
    assert "words/logit_bias" in [weight.path for weight in sigmoid.trainable_variables]
    assert float(sigmoid.logit_bias.numpy()) == -10.0
    sigmoid.logit_scale.assign(9.0)
    assert sigmoid.temperature == pytest.approx(0.01)


def test_one_file_holds_weights_and_tokenizer(encoder: TextEncoder, tmp_path: Path) -> None:
    path = tmp_path / "words.keras"
    encoder.save(path)
    with zipfile.ZipFile(path) as archive:
        assert {Path(name).name for name in archive.namelist()} >= {"vocabulary.json", "merges.txt"}
    loaded = load_text_encoder(path)
    np.testing.assert_array_equal(loaded.tokenize(TEXTS), encoder.tokenize(TEXTS))
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
    assert loaded.temperature == encoder.temperature
    assert [weight.path for weight in loaded.trainable_variables] == [
        weight.path for weight in encoder.trainable_variables
    ]


def test_a_file_that_holds_no_text_encoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.keras"
    with pytest.raises(InputError, match=r"expected a text encoder at .*; there is none"):
        load_text_encoder(path)
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"expected a text encoder of this project, it cannot be loaded"):
        load_text_encoder(path)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(InputError, match=r"expected a text encoder, it holds a Sequential"):
        load_text_encoder(path)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_answer_is_float32_whatever_the_policy(policy: str, tokenizer: Any, tmp_path: Path) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build_text_encoder(WordsConfig(encoder=SMALL), 8, tokenizer)
        assert mixed.tower.compute_dtype == policy.removeprefix("mixed_")
        found = mixed.encode(TEXTS)
        mixed.save(tmp_path / "words.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(load_text_encoder(tmp_path / "words.keras").encode(TEXTS), found)


def preset_config(preset: Path | str, length: int = 12) -> WordsConfig:
    return WordsConfig(encoder=TextEncoderConfig(preset=str(preset), length=length), locked=WordsStageConfig(epochs=0))


def test_a_preset_brings_its_tower_projection_tokenizer_and_temperature(clip_preset: Path, tmp_path: Path) -> None:
    import keras_hub

    encoder = build_text_encoder(preset_config(clip_preset), 8)
    original = keras_hub.models.CLIPBackbone.from_preset(str(clip_preset))
    projected = np.asarray(original.get_text_embeddings(encoder.tokenize(TEXTS)))
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert encoder.temperature == pytest.approx(np.exp(-3.0))
    encoder.save(tmp_path / "words.keras")
    np.testing.assert_allclose(load_text_encoder(tmp_path / "words.keras").encode(TEXTS), expected, atol=1e-5)


def test_a_preset_that_does_not_fit_is_refused(clip_preset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected embeddings as wide as the picture model's, 9; .* makes 8"):
        build_text_encoder(preset_config(clip_preset), 9)
    with pytest.raises(InputError, match=r"words.encoder.length: expected at most 16, .* received 17"):
        build_text_encoder(preset_config(clip_preset, 17), 8)
    with pytest.raises(InputError, match=r"words.encoder.preset: cannot load"):
        build_text_encoder(preset_config(tmp_path), 8)


def test_from_scratch_there_must_be_a_tokenizer() -> None:
    with pytest.raises(ValueError, match=r"expected a tokenizer"):
        build_text_encoder(WordsConfig(encoder=SMALL), 8)
