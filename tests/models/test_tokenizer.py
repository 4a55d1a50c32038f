"""Every text has tokens, the same ones each time, and none of them is one that only we may write."""

from __future__ import annotations

import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer.errors import InputError
from trainer.models.tokenizer import (
    CHARACTERS_PER_TOKEN,
    SPECIAL_TOKENS,
    load_tokenizer,
    normalise_text,
    tokenize_texts,
    train_tokenizer,
)

LENGTH = 16
LETTERS = [letter for letter in map(chr, range(0x110000)) if letter.lower() != letter or letter.upper() != letter]


def tokens(tokenizer: Any, text: str, length: int = LENGTH) -> list[str]:
    """What stands between the start and the end."""
    numbers = tokenize_texts(tokenizer, [text], length)[0].tolist()
    assert numbers[0] == tokenizer.start_token_id
    end = numbers.index(tokenizer.end_token_id)
    assert not any(numbers[end + 1 :])
    return [tokenizer.id_to_token(number) for number in numbers[1:end]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Navy  Blue\tShirt ", "navy blue shirt"),
        ("", ""),
        (" \u3000\n\u2003", ""),
        ("cafe\u0301 CAFÉ", "café café"),
        ("ΟΔΟΣ ΣΑΣ", "οδος σας"),
        ("İ", "i\u0307"),
        ("Straße ÀÉ Щ", "straße àé щ"),
        ("a\x1cb\x00", "a\x1cb\x00"),
        ("\ud83d\ud800x", "\ufffd\ufffdx"),
    ],
)
def test_a_text_is_read_composed_in_lower_case_with_single_spaces(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


def test_lower_case_is_what_tensorflow_makes_of_it() -> None:
    composed = [unicodedata.normalize("NFC", character) for character in LETTERS]
    lower = tf.strings.lower(tf.constant([text.encode() for text in composed]), encoding="utf-8").numpy()
    different = [text for text, found in zip(composed, lower, strict=True) if text.lower() != found.decode()]
    assert len(composed) > 2500
    # TensorFlow's tables are those of Unicode 13; Python's, of 14 or later, know capitals of a few more scripts.
    assert len(different) < 150
    assert all(ord(text) > 0x2C00 for text in different)


def test_lower_case_stays_composed() -> None:
    """Else a tokenizer that composes would see another text than a graph that does not."""
    for letter in LETTERS:
        assert unicodedata.is_normalized("NFC", normalise_text(letter))


def test_words_are_learned_with_all_bytes_and_the_special_tokens_last(tokenizer: Any) -> None:
    assert tokens(tokenizer, "RED   shirt") == ["red</w>", "shirt</w>"]
    size = tokenizer.vocabulary_size()
    assert 514 < size <= 600
    assert [tokenizer.id_to_token(size - 2), tokenizer.id_to_token(size - 1)] == list(SPECIAL_TOKENS)
    assert sorted(tokenizer.vocabulary.values()) == list(range(size))


@pytest.mark.parametrize("size", [515, 530])
def test_a_vocabulary_is_as_large_as_asked(size: int) -> None:
    made = train_tokenizer(["a text of quite a few different words, more than there is room for"], size)
    assert made.vocabulary_size() == size


def test_a_vocabulary_is_the_same_each_time_and_in_any_order_of_the_texts(
    tokenizer: Any, catalogue_texts: tuple[str, ...]
) -> None:
    for texts in (catalogue_texts, catalogue_texts[::-1]):
        again = train_tokenizer(texts, 600)
        assert (again.vocabulary, again.merges) == (tokenizer.vocabulary, tokenizer.merges)


@pytest.mark.parametrize("texts", [[], ["", "a", "1 2"]])
def test_texts_to_learn_nothing_from_are_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="expected texts to learn a vocabulary from, received none with a word of two"):
        train_tokenizer(texts, 600)


@pytest.mark.parametrize(
    "text", ["👗", "ドレス 赤い", "платье", "Ω≈ç", "\x00", "\x1f", "\ud800", "ĸ\u200d\ufeff", "٣", "!?…"]
)
def test_no_text_is_unknown(tokenizer: Any, text: str) -> None:
    found = tokens(tokenizer, text, 64)
    assert found
    assert tokenizer.detokenize([tokenizer.token_to_id(token) for token in found]) == normalise_text(text).replace(
        " ", ""
    )


def test_an_empty_text_is_a_start_and_an_end(tokenizer: Any) -> None:
    assert tokens(tokenizer, "") == tokens(tokenizer, " \t") == []
    assert tokenize_texts(tokenizer, [], LENGTH).shape == (0, LENGTH)


@pytest.mark.parametrize(
    "text", [*SPECIAL_TOKENS, "<|ENDOFTEXT|>", "a <|endoftext|> b", "x<|endoftext|><|startoftext|>"]
)
def test_no_text_holds_a_special_token(tokenizer: Any, text: str) -> None:
    numbers = tokenize_texts(tokenizer, [text], 64)[0]
    assert (numbers == tokenizer.end_token_id).sum() == (numbers == tokenizer.start_token_id).sum() == 1
    apart = text.replace("|>", " |> ").replace("<|", " <| ")
    assert tokens(tokenizer, text, 64) == tokens(tokenizer, apart.replace("|>  <|", "|><|"), 64)


def test_a_long_text_is_cut_and_its_end_stays(tokenizer: Any) -> None:
    long = "red shirt " * 100
    assert tokens(tokenizer, long) == ["red</w>", "shirt</w>"] * ((LENGTH - 2) // 2)
    assert len(tokens(tokenizer, "red", 3)) == 1
    assert tokens(tokenizer, "red", 2) == []


@pytest.mark.parametrize(
    "text", ["x" * 10**6, "red " * 250_000, "a" + "\u0301\u0323" * 500_000, " " * 10**6, "👗" * 10**6]
)
def test_a_text_of_a_million_characters_is_read_as_its_first_ones_at_once(tokenizer: Any, text: str) -> None:
    start = time.perf_counter()
    found = tokenize_texts(tokenizer, [text], LENGTH)
    assert time.perf_counter() - start < 0.5  # composing all of the accents would take minutes
    np.testing.assert_array_equal(found, tokenize_texts(tokenizer, [text[: CHARACTERS_PER_TOKEN * LENGTH]], LENGTH))


def test_real_titles_are_read_back(shared_root: Path) -> None:
    titles = pd.read_csv(shared_root / "data" / "fashion-products" / "styles.csv", on_bad_lines="skip")
    texts = titles["productDisplayName"].dropna().sample(2000, random_state=0).tolist()
    made = train_tokenizer(texts, 2048)
    numbers = tokenize_texts(made, texts, 64)
    for row, text in zip(numbers.tolist(), texts, strict=True):
        body = row[1 : row.index(made.end_token_id)]
        assert made.detokenize(body) == normalise_text(text).replace(" ", "")
    assert (numbers != 0).sum(axis=1).mean() < 12


def test_a_presets_tokenizer_is_taken(clip_preset: Path, tokenizer: Any) -> None:
    loaded = load_tokenizer(str(clip_preset))
    assert loaded.vocabulary == tokenizer.vocabulary
    text = ["blue dress, 42"]
    np.testing.assert_array_equal(tokenize_texts(loaded, text, 9), tokenize_texts(tokenizer, text, 9))


def test_a_tokenizer_that_cannot_be_had_is_said_in_one_line(tmp_path: Path) -> None:
    for preset in (str(tmp_path), str(tmp_path / "none"), "clip_vit_base_patch31"):
        with pytest.raises(
            InputError, match=r"words.tokenizer.preset: cannot load .* expected one of clip_vit_b"
        ) as error:
            load_tokenizer(preset)
        assert "\n" not in str(error.value)


def test_a_tokenizer_with_its_special_tokens_elsewhere_is_refused(
    clip_preset: Path, tokenizer: Any, tmp_path: Path
) -> None:
    import keras_hub

    first = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *list(tokenizer.vocabulary)[:-2]])}
    shutil.copytree(clip_preset, tmp_path / "clip")
    keras_hub.tokenizers.CLIPTokenizer(first, tokenizer.merges).save_to_preset(str(tmp_path / "clip"))
    with pytest.raises(InputError, match="expected the start and the end of a text as the last two"):
        load_tokenizer(str(tmp_path / "clip"))
