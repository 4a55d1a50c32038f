"""Golden requests: chosen over all labels, written with the answers, readable again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from export.golden import GoldenQuery, choose_golden, read_golden_pictures, write_golden
from serving.contract import ASSETS_EXTRA, GOLDEN_FILE


@pytest.fixture
def items(tmp_path: Path) -> pd.DataFrame:
    rows = [(f"{row}", "abc"[min(row // 4, 2)], "train" if row == 0 else "test") for row in range(16)]
    items = pd.DataFrame(rows, columns=["id", "label", "split"])
    items["image_path"] = [str(tmp_path / f"{row}.JPG") for row in range(16)]
    for path in items["image_path"]:
        Path(path).write_bytes(path.encode())
    return items


@pytest.fixture
def vectors() -> dict[str, np.ndarray]:
    return {str(row): np.full(3, row, np.float32) for row in range(16)}


def test_they_are_test_items_of_all_labels(items: pd.DataFrame, vectors: dict[str, np.ndarray]) -> None:
    chosen = choose_golden(items, vectors, 5)
    assert [query.id for query in chosen] == ["1", "4", "8", "2", "5"]
    assert [query.attributes["label"] for query in chosen] == ["a", "b", "c", "a", "b"]
    assert chosen[0].suffix == ".jpg"
    assert chosen[0].content == items["image_path"][1].encode()
    assert chosen[0].vector is vectors["1"]
    assert len(choose_golden(items, vectors, 99)) == 15


def test_a_picture_that_is_gone_is_passed_over(
    items: pd.DataFrame, vectors: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    Path(items["image_path"][4]).unlink()
    assert [query.id for query in choose_golden(items, vectors, 3)] == ["1", "8", "2"]
    assert "cannot be read" in caplog.text


def test_only_items_with_a_vector_are_chosen(items: pd.DataFrame, vectors: dict[str, np.ndarray]) -> None:
    assert [query.id for query in choose_golden(items, {"7": vectors["7"]})] == ["7"]


def signatures() -> dict[str, Any]:
    images = tf.TensorSpec([None], tf.string, name="image_bytes")
    pixels = tf.TensorSpec([None, 2, 2, 3], tf.uint8, name="pixels")
    colour = tf.TensorSpec([None], tf.string, name="colour")

    @tf.function
    def embed(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.cast(tf.strings.length(image_bytes), tf.float32)[:, None] * [[1.0, 2.0, 3.0]]}

    @tf.function
    def embed_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(tf.cast(pixels, tf.int32), [1, 2, 3])}

    @tf.function
    def filtered(image_bytes: tf.Tensor, colour: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.fill([tf.shape(image_bytes)[0], 1], -np.inf)
        return {"ids": tf.strings.join([colour, "-é"])[:, None], "scores": scores}

    return {
        "embed_images": embed.get_concrete_function(image_bytes=images),
        "embed_pixels": embed_pixels.get_concrete_function(pixels=pixels),
        "search_images_filtered": filtered.get_concrete_function(image_bytes=images, colour=colour),
    }


def test_requests_and_answers_are_written(tmp_path: Path) -> None:
    queries = [
        GoldenQuery("1", b"1234", ".png", {"colour": "red"}, np.array([4, 8, 12.5], np.float32)),
        GoldenQuery("2", b"12", ".jpg", {}),
    ]
    count = write_golden(tmp_path, signatures(), queries, decode=lambda contents: tf.fill([1, 2, 2, 3], np.uint8(7)))
    requests = json.loads((tmp_path / GOLDEN_FILE).read_text(encoding="utf-8"))["requests"]
    assert count == len(requests) == 6
    assert requests[0] == {
        "signature": "embed_images",
        "id": "1",
        "inputs": {"image_bytes": {"files": ["golden/0.png"]}},
        "outputs": {"embedding": [[4.0, 8.0, 12.0]]},
        "trainer": {"embedding": [[4.0, 8.0, 12.5]]},
    }
    assert requests[1]["inputs"] == {"pixels": {"pixels": ["golden/0-pixels.png"]}}
    assert requests[1]["outputs"] == {"sum": [84]}
    assert requests[2]["inputs"]["colour"] == ["red"]
    assert requests[2]["outputs"] == {"ids": [["red-é"]], "scores": [[-np.inf]]}
    assert "trainer" not in requests[3]
    assert requests[5]["inputs"]["colour"] == [""]
    place = tmp_path / ASSETS_EXTRA
    assert (place / "golden/1.jpg").read_bytes() == b"12"
    pixels = tf.io.decode_png((place / "golden/0-pixels.png").read_bytes())
    assert np.unique(pixels.numpy()).tolist() == [7]


def worded() -> dict[str, Any]:
    text = tf.TensorSpec([None], tf.string, name="text")
    image = tf.TensorSpec([None], tf.string, name="image_bytes")
    weight = tf.TensorSpec([None], tf.float32, name="weight")
    colour = tf.TensorSpec([None], tf.string, name="colour")

    @tf.function
    def embed_texts(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.cast(tf.strings.length(text), tf.float32)[:, None] * [[1.0, 2.0]]}

    @tf.function
    def both(image_bytes: tf.Tensor, text: tf.Tensor, weight: tf.Tensor, colour: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": tf.strings.join([image_bytes, text, colour])[:, None], "scores": weight[:, None]}

    return {
        "embed_texts": embed_texts.get_concrete_function(text=text),
        "search_images_and_texts_filtered": both.get_concrete_function(
            image_bytes=image, text=text, weight=weight, colour=colour
        ),
    }


def test_texts_are_asked_with_alone_and_beside_pictures(tmp_path: Path) -> None:
    trained = np.array([6, 12.5], np.float32)
    queries = [
        GoldenQuery("1", b"12", ".png", {"colour": "red"}, np.zeros(2, np.float32), "a hat!", trained),
        GoldenQuery("2", b"34", ".png", {"colour": "blue"}, text="shoe"),
    ]
    assert write_golden(tmp_path, worded(), queries) == 4
    requests = json.loads((tmp_path / GOLDEN_FILE).read_text(encoding="utf-8"))["requests"]
    assert requests[0]["inputs"] == {"text": ["a hat!"]}
    assert requests[0]["outputs"] == {"embedding": [[6.0, 12.0]]}
    assert requests[0]["trainer"] == {"embedding": [[6.0, 12.5]]}
    assert requests[1]["inputs"] == {
        "image_bytes": {"files": ["golden/0.png"]},
        "text": ["a hat!"],
        "weight": [0.5],
        "colour": ["red"],
    }
    assert requests[1]["outputs"]["ids"] == [["12a hat!red"]]
    assert "trainer" not in requests[1]
    assert "trainer" not in requests[2]
    assert requests[3]["inputs"]["weight"] != [0.5]
    again = read_golden_pictures(tmp_path)
    assert [(query.id, query.text) for query in again] == [("1", "a hat!"), ("2", "shoe")]


def test_titles_are_asked_with_where_items_have_one(items: pd.DataFrame, vectors: dict[str, np.ndarray]) -> None:
    items["title"] = [f"cafe\u0301 {row}" if row != 4 else "" for row in range(16)]
    assert [query.text for query in choose_golden(items, vectors, 2, text="title")] == ["caf\u00e9 1", "b"]
    assert [query.text for query in choose_golden(items, vectors, 2)] == ["a", "b"]


def test_the_pictures_can_be_asked_with_again(tmp_path: Path) -> None:
    queries = [GoldenQuery(str(row), bytes([row]) * 3, ".png", {"colour": "red"}) for row in range(3)]
    write_golden(tmp_path, signatures(), queries)
    again = read_golden_pictures(tmp_path)
    assert [(query.id, query.content, query.suffix) for query in again] == [
        (query.id, query.content, ".png") for query in queries
    ]


def test_a_lookup_is_asked_with_embeddings(tmp_path: Path) -> None:
    embedding = tf.TensorSpec([None, 2], tf.float32, name="embedding")
    double = tf.function(lambda embedding: {"double": embedding * 2}).get_concrete_function(embedding=embedding)
    vector = np.array([0.1, 0.7], np.float32)
    queries = [GoldenQuery("1", b"", ".jpg", {}, vector), GoldenQuery("2", b"ab", ".jpg", {})]
    write_golden(tmp_path, {"lookup": double}, queries, embed=lambda contents: tf.constant([[0.5, 0.25]]))
    first, second = json.loads((tmp_path / GOLDEN_FILE).read_text(encoding="utf-8"))["requests"]
    assert np.array_equal(np.array(first["inputs"]["embedding"], np.float32), vector[None])
    assert np.array_equal(np.array(first["outputs"]["double"], np.float32), vector[None] * 2)
    assert second["inputs"]["embedding"] == [[0.5, 0.25]]
    assert not (tmp_path / ASSETS_EXTRA / "golden").exists()
