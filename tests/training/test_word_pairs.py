"""Which text stands for which item when, and what training is judged by."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import pytest

from trainer.config.words import TextsConfig
from trainer.data.pipeline import Share
from trainer.data.sampler import ShuffledEpochs
from trainer.data.texts import ItemTexts
from trainer.training.word_pairs import DrawnTexts, cropped
from trainer.training.word_validation import WordValidation, asked_rows

COUNT, LENGTH, END = 10, 20, 999
LABELS = ("boots", "hats")
KEYS = ("tokens", "group")


class Letters:
    """As much of a text encoder as is needed: a number a letter; where a text lies is given."""

    length = LENGTH
    embedding_dim = 2
    angles: dict[str, float]

    def tokenize(self, texts: list[str]) -> np.ndarray:
        tokens = np.zeros((len(texts), LENGTH), np.int32)
        for row, text in zip(tokens, texts, strict=True):
            numbers = [ord(letter) for letter in text[: LENGTH - 1]]
            row[: len(numbers) + 1] = [*numbers, END]
        return tokens

    def __call__(self, tokens: Any, training: bool = False) -> Any:
        known = self.tokenize(list(self.angles))[:, : tokens.shape[1]]
        same = keras.ops.all(tokens[:, None] == known[None], axis=-1)
        angles = keras.ops.cast(same, "float32") @ np.radians(list(self.angles.values())).astype(np.float32)[:, None]
        return keras.ops.concatenate([keras.ops.cos(angles), keras.ops.sin(angles)], axis=1)


def items() -> pd.DataFrame:
    rows = [{"id": str(row), "label": LABELS[row % 2], "title": f"number {row}"} for row in range(COUNT)]
    return pd.DataFrame(rows)


def drawn(seed: int = 1) -> DrawnTexts:
    texts = ItemTexts(items(), TextsConfig(title="title", templates=("{label}",)))
    return DrawnTexts(texts, COUNT, Letters(), ShuffledEpochs(COUNT, 5), seed)  # type: ignore[arg-type]


def batches(share: Share, first: int, count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    stream = drawn(seed).batches(share, first).take(count)
    return [{key: value.numpy() for key, value in batch.items()} for batch in stream]


def read(tokens: np.ndarray) -> str:
    return "".join(chr(number) for number in tokens[: list(tokens).index(END)])


def test_every_item_has_a_text_of_its_own_in_every_epoch() -> None:
    found = batches(Share.whole(4), 0, 5)  # two epochs; the third batch lies in both
    rows = np.concatenate([batch["row"] for batch in found])
    texts = [read(tokens) for batch in found for tokens in batch["tokens"]]
    assert sorted(rows[:COUNT]) == sorted(rows[COUNT:]) == list(range(COUNT))
    for row, text in zip(rows, texts, strict=True):
        assert text in (f"number {row}", LABELS[row % 2])
    of_epoch = [dict(zip(rows[part], texts[part], strict=True)) for part in (slice(COUNT), slice(COUNT, None))]
    assert of_epoch[0] != of_epoch[1]


def test_equal_texts_are_of_one_group_over_all_epochs() -> None:
    found = batches(Share.whole(4), 0, 10)
    groups = {(read(tokens), group) for batch in found for tokens, group in zip(*map(batch.get, KEYS), strict=True)}
    assert len(groups) == len({text for text, _ in groups}) == len({group for _, group in groups})


def test_the_stream_goes_on_from_any_batch_and_is_shared_by_any_number() -> None:
    whole = batches(Share.whole(4), 0, 6)
    for found, expected in zip(batches(Share.whole(4), 3, 3), whole[3:], strict=True):
        assert all(np.array_equal(found[key], expected[key]) for key in expected)
    halves = [batches(Share(4, first, 2, 2), 0, 6) for first in (0, 2)]
    for one, other, expected in zip(*halves, whole, strict=True):
        assert np.concatenate([one["row"], other["row"]]).tolist() == expected["row"].tolist()
        assert np.concatenate([one["group"], other["group"]]).tolist() == expected["group"].tolist()
    another = batches(Share.whole(4), 0, 6, seed=2)
    assert any(not np.array_equal(a["group"], b["group"]) for a, b in zip(whole, another, strict=True))


def test_tokens_are_cut_after_the_longest_text() -> None:
    tokens = Letters().tokenize(["1234567", "", "12"])
    assert cropped(tokens).shape == (3, 8)
    assert cropped(Letters().tokenize(["12345678"])).shape == (1, 16)
    longest = Letters().tokenize(["x" * 50, "y"])
    np.testing.assert_array_equal(cropped(longest), longest)  # 20 is not rounded up to 24


def test_validation_by_hand() -> None:
    config = TextsConfig(title="title", templates=("{label}",), prompts=("{label}", "a photo of {label}"))
    encoder = Letters()
    encoder.angles = {f"number {row}": 30.0 * row for row in range(12)}
    encoder.angles |= {"boots": 0.0, "a photo of boots": 30.0, "hats": 160.0, "a photo of hats": 220.0}
    shown = pd.DataFrame({"id": list("abcdefghijkl"), "label": "hats", "title": list(encoder.angles)[:12]})
    classes = np.array([0] * 6 + [1] * 6)
    strategy: Any = None
    judge = WordValidation(shown, classes, LABELS, config, encoder, strategy, 0)  # type: ignore[arg-type]
    angles = np.radians(30.0 * np.arange(12))
    angles[3] += np.pi  # it lies opposite to its own text: eleven pictures are nearer
    pictures = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = judge.figures(pictures)
    assert found["val_recall@10"] == pytest.approx(11 / 12)
    # Boots are at 15 degrees and hats at 190: the border is at 102.5, and at 282.5 on the other side.
    degrees = np.degrees(angles) % 360
    boots = (degrees < 102.5) | (degrees > 282.5)
    right = np.where(boots, 0, 1) == classes
    assert found["val_zero_shot"] == pytest.approx(right.mean())
    assert found["val_words"] == pytest.approx((11 / 12 + right.mean()) / 2)


def test_few_validation_items_are_asked_about_and_the_same_each_time() -> None:
    assert asked_rows(7, 0).tolist() == list(range(7))
    many = asked_rows(5000, 3)
    assert len(set(many)) == 2000
    np.testing.assert_array_equal(many, asked_rows(5000, 3))
