"""Bytes to items in one graph: what the encoder and the lookup answer one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import LABELS, SIZE, some_pixels, tiny_model
from tiny_words import tiny_words

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.config import IndexConfig
from export.encoder import Encoder
from export.index import build_index
from export.lookup import Lookup
from export.search import Search
from export.table_rows import TableRows
from export.text.text_side import TextSide
from serving.contract import SERVING_DEFAULT, SIGNATURES
from trainer.errors import InputError

COUNT, TOP_K = 6, 4
COLOURS = np.array(["red", "blue", "red", "green", "blue", "red"])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.from_model(tiny_model(tmp_path_factory.mktemp("search")), LABELS, words=TextSide(tiny_words()))


def make_lookup(vectors: np.ndarray, fingerprint: str, filterable: tuple[str, ...] = ("colour",)) -> Lookup:
    ids = np.array([f"item-{row}" for row in range(len(vectors))])
    rows = TableRows.from_arrays(ids, vectors, {"colour": COLOURS[: len(vectors)]})
    index = build_index(IndexConfig())
    index.index(rows)
    return Lookup(
        rows,
        index,
        top_k=TOP_K,
        filterable=filterable,
        fingerprint=fingerprint,
        table_fingerprint=rows.fingerprint(),
        no_match_threshold=0.75,
    )


@pytest.fixture(scope="module")
def lookup(encoder: Encoder) -> Lookup:
    vectors = tf.function(encoder.encode)(tf.constant(some_pixels(COUNT)))["embedding"].numpy()
    return make_lookup(vectors, encoder.fingerprint)


@pytest.fixture(scope="module")
def loaded(encoder: Encoder, lookup: Lookup, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("saved")
    search = Search(encoder, lookup)
    tf.saved_model.save(search, str(folder), signatures=search.signatures())
    return tf.saved_model.load(str(folder))


def contents() -> tf.Tensor:
    return tf.stack([tf.io.encode_png(pixels) for pixels in some_pixels(COUNT)])


def test_every_picture_finds_itself(loaded: Any, encoder: Encoder) -> None:
    assert set(loaded.signatures) == {SERVING_DEFAULT, *SIGNATURES["search"]}
    for name in (SERVING_DEFAULT, "search_images"):
        answer = loaded.signatures[name](image_bytes=contents())
        assert answer["ids"].shape == answer["scores"].shape == answer["colour"].shape == (COUNT, TOP_K)
        assert answer["ids"].numpy()[:, 0].astype(str).tolist() == [f"item-{row}" for row in range(COUNT)]
        np.testing.assert_allclose(answer["scores"].numpy()[:, 0], 1, atol=1e-5)
        assert answer["fingerprint"].numpy().astype(str).tolist() == [encoder.fingerprint] * COUNT
        assert answer["table_fingerprint"].shape == (COUNT,)


def test_it_answers_what_encoder_and_lookup_answer(loaded: Any, encoder: Encoder, lookup: Lookup) -> None:
    embedding = encoder.signatures()["embed_images"](image_bytes=contents())["embedding"]
    expected = lookup.signatures()["lookup"](embedding=embedding)
    answer = loaded.signatures["search_images"](image_bytes=contents())
    assert set(answer) == set(expected)
    assert answer["ids"].numpy().tolist() == expected["ids"].numpy().tolist()
    np.testing.assert_allclose(answer["scores"].numpy(), expected["scores"].numpy(), atol=1e-6)


def test_the_threshold_of_no_good_match_is_told_to_pictures_and_not_to_words(loaded: Any) -> None:
    none = {"colour": tf.constant([""] * COUNT)}
    pictures, text = {"image_bytes": contents()}, {"text": tf.constant(["red shirt"] * COUNT)}
    both = pictures | text | {"weight": tf.fill([COUNT], 0.5)}
    asked = {"search_images": pictures, "search_texts": text, "search_images_and_texts": both}
    for name, given in asked.items():
        for answer in (loaded.signatures[name](**given), loaded.signatures[f"{name}_filtered"](**given, **none)):
            if name == "search_images":
                assert answer["no_match_threshold"].numpy().tolist() == [0.75] * COUNT
            else:
                assert "no_match_threshold" not in answer


def test_filters_are_those_of_the_lookup(loaded: Any) -> None:
    wanted = ["red", "", "blue\ngreen", "none", "red", "green"]
    answer = loaded.signatures["search_images_filtered"](image_bytes=contents(), colour=tf.constant(wanted))
    found = answer["colour"].numpy().astype(str)
    assert set(found[0]) == {"red", ""} and set(found[2]) == {"blue", "green", ""}
    assert (answer["ids"].numpy()[3] == b"").all() and np.isneginf(answer["scores"].numpy()[3]).all()
    assert (answer["ids"].numpy()[1] != b"").all()


def test_without_a_filterable_attribute_there_is_no_filtered_search(encoder: Encoder, lookup: Lookup) -> None:
    plain = make_lookup(np.eye(COUNT, encoder.embedding_dim, dtype=np.float32), encoder.fingerprint, ())
    searches = {"search_images", "search_texts", "search_images_and_texts"}
    assert set(Search(encoder, plain).signatures()) == {SERVING_DEFAULT, *searches}


def test_what_does_not_belong_together_is_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="expected a table embedded by the encoder"):
        Search(encoder, make_lookup(np.eye(COUNT, encoder.embedding_dim, dtype=np.float32), "another"))
    with pytest.raises(InputError, match="expected a table of the encoder's 8 dimensions, received one of 5"):
        Search(encoder, make_lookup(np.ones((COUNT, 5), np.float32), encoder.fingerprint))


def test_pictures_of_another_size_are_searched(loaded: Any) -> None:
    large = tf.image.resize(some_pixels(1), (SIZE * 3, SIZE * 2))
    picture = tf.io.encode_jpeg(tf.cast(large[0], tf.uint8), quality=95)
    answer = loaded.signatures["search_images"](image_bytes=picture[None])
    assert answer["ids"].numpy()[0, 0] == b"item-0"


TEXTS = ["red shirt", "blue shoe", "", "watch", "日本", "red shirt"]


def test_texts_find_what_their_embeddings_find(loaded: Any, encoder: Encoder, lookup: Lookup) -> None:
    embedding = encoder.embed_texts(tf.constant(TEXTS))
    expected = lookup.signatures()["lookup"](embedding=embedding)
    answer = loaded.signatures["search_texts"](text=tf.constant(TEXTS))
    assert set(answer) == set(expected) - {"no_match_threshold"}
    assert answer["ids"].numpy().tolist() == expected["ids"].numpy().tolist()
    np.testing.assert_allclose(answer["scores"].numpy(), expected["scores"].numpy(), atol=1e-6)
    filtered = loaded.signatures["search_texts_filtered"](text=tf.constant(TEXTS), colour=tf.constant(["red"] * COUNT))
    assert set(filtered["colour"].numpy().ravel()) == {b"red", b""}


def both(loaded: Any, weight: list[float]) -> dict[str, np.ndarray]:
    given = {"image_bytes": contents(), "text": tf.constant(TEXTS), "weight": tf.constant(weight, tf.float32)}
    answer = loaded.signatures["search_images_and_texts"](**given)
    filtered = loaded.signatures["search_images_and_texts_filtered"](**given, colour=tf.constant([""] * COUNT))
    assert filtered["ids"].numpy().tolist() == answer["ids"].numpy().tolist()
    return {name: value.numpy() for name, value in answer.items()}


def test_pictures_and_texts_are_weighed(loaded: Any, encoder: Encoder, lookup: Lookup) -> None:
    pictures = loaded.signatures["search_images"](image_bytes=contents())["scores"].numpy()
    texts = loaded.signatures["search_texts"](text=tf.constant(TEXTS))["scores"].numpy()
    np.testing.assert_allclose(both(loaded, [0.0] * COUNT)["scores"], pictures, atol=1e-6)
    alone = [0, 1, 3, 4, 5]
    found = both(loaded, [1.0] * COUNT)["scores"]
    np.testing.assert_allclose(found[alone], texts[alone], atol=1e-6)
    np.testing.assert_allclose(found[2], pictures[2], atol=1e-6)  # its text is empty
    images = encoder.embed(contents())
    mixed = 0.7 * images + 0.3 * encoder.embed_texts(tf.constant(TEXTS))
    expected = lookup.signatures()["lookup"](embedding=mixed)["scores"].numpy()
    np.testing.assert_allclose(both(loaded, [0.3] * COUNT)["scores"][alone], expected[alone], atol=1e-5)


def test_a_weight_that_cannot_be_does_not_spoil_the_batch(loaded: Any) -> None:
    odd = both(loaded, [float("nan"), float("inf"), 0.4, -3.0, 1.5, 0.4])
    plain = both(loaded, [0.5, 1.0, 0.4, 0.0, 1.0, 0.4])
    np.testing.assert_array_equal(odd["ids"], plain["ids"])
    np.testing.assert_allclose(odd["scores"], plain["scores"], atol=1e-6)
