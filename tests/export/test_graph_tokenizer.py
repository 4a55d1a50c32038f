"""The tokenizer in the graph: the ids that the trainer's gives, whatever the text."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.tokenizers import CLIPTokenizer
from tiny_words import TEXTS, tiny_tokenizer

from export.text.graph_tokenizer import GraphTokenizer
from trainer.models.tokenizer import CHARACTERS_PER_TOKEN, tokenize_texts, train_tokenizer

LENGTH = 24
PIECES = (
    *("shirt", "Men's", "T-shirt", "SHIRT'S", "'", "'re", "'LL", "1", "23", "²", "½", "٣", "-", "!!", "...", "£"),
    *(" ", "  ", "\t", "\n", "\x0b", "\x85", "\u00a0", "\u2028", "\u3000", "\x1c", "\x00", "\x01", "\x7f"),
    *(
        "é",
        "É",
        "ß",
        "ẞ",
        "İ",
        "ı",
        "I",
        "K",
        "ǅ",
        "ﬁ",
        "Ω",
        "ς",
        "日本",
        "衬衫",
        "Рубашка",
        "قميص",
        "कमीज़",
        "เสื้อ",
        "ᏣᎳᎩ",
    ),
    *(
        "👍",
        "👍🏽",
        "👩\u200d👩\u200d👧",
        "🏳️\u200d🌈",
        "🇫🇷",
        "e\u0301",
        "\u0301",
        "\u200b",
        "\ufeff",
        "\ufffd",
        "\U0010ffff",
    ),
    *("<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|", "|>", "</w>", "zzz", "aaaa", "xqxqx"),
)


def in_graph(tokenizer: CLIPTokenizer, length: int = LENGTH) -> Callable[[Sequence[str | bytes]], np.ndarray]:
    graph = GraphTokenizer(tokenizer, length)
    function = tf.function(graph.__call__, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda texts: function(tf.constant(list(texts), tf.string)).numpy()


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def tokenize(tokenizer: CLIPTokenizer) -> Callable[[Sequence[str | bytes]], np.ndarray]:
    return in_graph(tokenizer)


def check(tokenizer: CLIPTokenizer, found: np.ndarray, texts: Sequence[str], length: int = LENGTH) -> None:
    expected = tokenize_texts(tokenizer, texts, length)
    assert (found.dtype, found.shape) == (np.int32, expected.shape)
    wrong = np.flatnonzero((found != expected).any(axis=1))
    assert not len(wrong), (texts[wrong[0]], found[wrong[0]], expected[wrong[0]])


def test_ids_are_those_of_the_trainer(tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray]) -> None:
    check(tokenizer, tokenize(TEXTS[:5]), TEXTS[:5])
    shirt = tokenize(["Shirt"])[0].tolist()
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    assert shirt == [start, tokenizer.vocabulary["shirt</w>"], end, *[0] * (LENGTH - 3)]


def test_ids_are_identical_on_real_titles(shared_root: Path) -> None:
    import pandas as pd

    styles = pd.read_csv(shared_root / "data" / "fashion-products" / "styles.csv", usecols=["productDisplayName"])
    titles = [unicodedata.normalize("NFC", title) for title in styles["productDisplayName"].dropna()]
    tokenizer = train_tokenizer(titles[:5000], 4096)
    chosen = titles[-10_000:]
    assert len(chosen) == 10_000
    check(tokenizer, in_graph(tokenizer, 32)(chosen), chosen, 32)


def test_odd_texts_of_odd_pieces(tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray]) -> None:
    draw = random.Random(6)
    texts = ["".join(draw.choices(PIECES, k=draw.randrange(25))) for _ in range(1500)]
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    check(tokenizer, tokenize(texts), texts)


def test_letters_of_all_scripts(tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray]) -> None:
    # As old as any TensorFlow knows them; of the many further ones some.
    codes = [*range(0x3000), *range(0x3000, 0x20000, 7)]
    letters = [chr(code) for code in codes if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs")]
    texts = [unicodedata.normalize("NFC", f"a{letter}B1{letter * 2}") for letter in letters]
    assert len(texts) > 10_000
    check(tokenizer, tokenize(texts), texts)


def test_a_byte_that_the_vocabulary_lacks_is_an_end_as_in_the_library() -> None:
    signs = {"a": 0, "b": 1, "b</w>": 2, "ab</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}
    tokenizer = CLIPTokenizer(vocabulary=signs, merges=["a b</w>"])
    texts = ["ab b", "aab abc", "b é", "ca"]
    check(tokenizer, in_graph(tokenizer)(texts), texts)


def test_merges_go_by_rank_then_from_the_left() -> None:
    letters = [letter + end for letter in "abc" for end in ("", "</w>")]
    merges = ["b c", "a b", "a a", "aa a", "a aa", "aaa b", "a bc"]
    tokens = [*letters, *dict.fromkeys("".join(merge.split()) for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocabulary={token: number for number, token in enumerate(tokens)}, merges=merges)
    draw = random.Random(1)
    texts = ["".join(draw.choices("aaabc", k=draw.randrange(1, 30))) for _ in range(400)]
    check(tokenizer, in_graph(tokenizer, 40)(texts), texts, 40)


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, " " * 1_000_000, "shirt " * 200_000, "日" * 300_000, "x!" * 500_000, "é" * 10_000]
)
def test_a_long_text_is_cut_as_the_trainer_cuts_it(
    tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray], text: str
) -> None:
    check(tokenizer, tokenize([text, "shirt"]), [text, "shirt"])


def test_the_last_character_that_is_read(tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray]) -> None:
    room = CHARACTERS_PER_TOKEN * LENGTH
    texts = ["é" + " " * (room - extra) + "shirt" for extra in range(8)]
    check(tokenizer, tokenize(texts), texts)


def test_an_empty_text_is_a_start_and_an_end(tokenizer: CLIPTokenizer, tokenize: Callable[..., np.ndarray]) -> None:
    edge = [tokenizer.start_token_id, tokenizer.end_token_id, *[0] * (LENGTH - 2)]
    assert tokenize(["", " \t"]).tolist() == [edge, edge]
    assert tokenize([]).shape == (0, LENGTH)


def test_what_is_no_utf_8_counts_as_a_replacement_character(tokenize: Callable[..., np.ndarray]) -> None:
    found = tokenize([b"a\xff b", "a\ufffd b", b"\xc3", "\ufffd", b"ok \xed\xa0\x80"])
    assert found[0].tolist() == found[1].tolist()
    assert found[2].tolist() == found[3].tolist()


def test_a_text_does_not_change_its_neighbours(tokenize: Callable[..., np.ndarray]) -> None:
    texts = ["red shoe", "", b"\xff\xfe", "x" * 5000, "navy blue men's shirt"]
    assert tokenize(texts).tolist() == [tokenize([text])[0].tolist() for text in texts]
