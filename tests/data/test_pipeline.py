"""Pictures are decoded one way, and the training stream is the same from everywhere and for everybody."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer.config import AugmentationConfig
from trainer.data.augmentation import Augmentation
from trainer.data.pipeline import Share, decode_picture, feature_batches, picture_batches, training_batches
from trainer.data.sampler import ShuffledEpochs

SIZE, COUNT, CLASSES = 16, 10, 3


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_a_lossless_picture_of_the_right_size_is_what_pillow_reads(kind: str) -> None:
    content = encoded(noise(SIZE, SIZE), kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    found = decode_picture(tf.constant(content), SIZE)
    assert found.dtype == tf.uint8
    assert found.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(found, expected)


def test_a_grey_picture_has_three_equal_channels() -> None:
    content = encoded(noise(SIZE, SIZE)[:, :, 0], "PNG")
    found = decode_picture(tf.constant(content), SIZE).numpy()
    np.testing.assert_array_equal(found, np.repeat(noise(SIZE, SIZE)[:, :, :1], 3, axis=2))


@pytest.mark.parametrize(("height", "width"), [(31, 17), (5, 40), (SIZE, SIZE + 1), (3, 3), (200, 100)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_another_size_is_resized_with_antialiasing(kind: str, height: int, width: int) -> None:
    content = tf.constant(encoded(noise(height, width), kind))
    pixels = tf.io.decode_jpeg(content, channels=3) if kind == "JPEG" else tf.io.decode_png(content, channels=3)
    expected = np.clip(np.round(tf.image.resize(pixels, (SIZE, SIZE), antialias=True).numpy()), 0, 255)
    np.testing.assert_array_equal(decode_picture(content, SIZE), expected.astype(np.uint8))


def test_a_shrunken_picture_is_close_to_pillows() -> None:
    pixels = np.asarray(Image.fromarray(noise(20, 20)).resize((61, 47), Image.Resampling.BICUBIC))
    expected = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(int)
    found = decode_picture(tf.constant(encoded(pixels, "PNG")), SIZE).numpy().astype(int)
    assert np.abs(found - expected).max() <= 2


def test_decoding_is_the_same_in_a_graph() -> None:
    content = tf.constant(encoded(noise(31, 17), "JPEG"))
    graph = tf.function(lambda text: decode_picture(text, SIZE), input_signature=[tf.TensorSpec((), tf.string)])
    np.testing.assert_array_equal(graph(content), decode_picture(content, SIZE))


def test_pictures_come_once_and_in_order(tmp_path: Path) -> None:
    paths = []
    for number in range(5):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(noise(SIZE, SIZE, number)).save(paths[-1])
    batches = list(picture_batches(paths, SIZE, 2).as_numpy_iterator())
    assert [batch["row"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    found = np.concatenate([batch["image"] for batch in batches])
    np.testing.assert_array_equal(found, np.stack([noise(SIZE, SIZE, number) for number in range(5)]))
    assert found.dtype == np.uint8


def test_no_pictures_give_no_batches() -> None:
    assert list(picture_batches([], SIZE, 2)) == []


@pytest.fixture(scope="module")
def stream() -> Callable[..., list[dict[str, np.ndarray]]]:
    """Batches of a stream with every augmentation there is."""
    pictures = tf.constant(np.stack([noise(SIZE, SIZE, number) for number in range(COUNT)]))
    labels = np.arange(COUNT, dtype=np.int32) % CLASSES
    switches = {"flip": True, "crop": 0.6, "colour": 0.2, "rand_augment": 0.3, "cut_mix": 1.0, "mix_up": 0.4}
    augmentation = Augmentation(AugmentationConfig(**switches), SIZE, seed=5)

    def take(share: Share, count: int, first: int = 0) -> list[dict[str, np.ndarray]]:
        sampler = ShuffledEpochs(COUNT, 5)
        batches = training_batches(lambda row: pictures[row], labels, CLASSES, sampler, augmentation, share, first)
        return list(islice(batches.as_numpy_iterator(), count))

    return take


def assert_equal(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert set(a) == {"image", "label"}
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])


def test_a_stream_may_begin_at_any_batch(stream: Callable[..., Any]) -> None:
    whole = stream(Share.whole(4), 7)
    assert whole[0]["image"].shape == (4, SIZE, SIZE, 3)
    assert whole[0]["image"].dtype == np.uint8
    assert whole[0]["label"].shape == (4, CLASSES)
    assert (whole[0]["image"] != whole[5]["image"]).any()
    assert_equal(stream(Share.whole(4), 4, first=3), whole[3:])


def test_two_processes_see_together_from_any_batch_on_what_one_with_two_replicas_sees(
    stream: Callable[..., Any],
) -> None:
    alone = stream(Share(8, 0, 8, 4), 6)
    first, second = (stream(Share(8, place, 4, 4), 2, first=1) for place in (0, 4))
    assert_equal([batch for pair in zip(first, second, strict=True) for batch in pair], alone[2:])


def test_labels_are_those_of_the_rows() -> None:
    pictures = np.arange(COUNT, dtype=np.uint8)[:, None, None, None] * np.ones((SIZE, SIZE, 3), np.uint8)
    known = tf.constant(pictures)
    labels = np.arange(COUNT, dtype=np.int32) % CLASSES
    plain = Augmentation(AugmentationConfig(flip=False, crop=1.0, colour=0.0), SIZE, seed=0)
    batches = training_batches(lambda row: known[row], labels, CLASSES, ShuffledEpochs(COUNT, 1), plain, Share.whole(5))
    seen = []
    for batch in islice(batches.as_numpy_iterator(), 2):
        rows = batch["image"][:, 0, 0, 0]
        np.testing.assert_array_equal(batch["label"], np.eye(CLASSES)[labels[rows]])
        seen += rows.tolist()
    assert sorted(seen) == list(range(COUNT))


def test_features_come_in_the_order_of_pictures() -> None:
    rows = np.arange(COUNT, dtype=np.float32)
    parts = {"a": rows[:, None] * np.ones(3, np.float32), "b": -rows[:, None] * np.ones(2, np.float32)}

    def stream(share: Share, count: int, first: int = 0) -> list[dict[str, Any]]:
        batches = feature_batches(
            lambda chosen: {part: values[chosen] for part, values in parts.items()},
            {"a": 3, "b": 2},
            np.arange(COUNT, dtype=np.int32) % CLASSES,
            CLASSES,
            ShuffledEpochs(COUNT, 5),
            share,
            first,
        )
        return list(islice(batches.as_numpy_iterator(), count))

    def rows_of(batches: list[dict[str, Any]]) -> list[list[int]]:
        return [batch["image"]["a"][:, 0].astype(int).tolist() for batch in batches]

    sampler = ShuffledEpochs(COUNT, 5)
    order = [int(sampler.row(tf.constant(position, tf.int64))) for position in range(24)]
    whole = stream(Share.whole(4), 6)
    assert rows_of(whole) == [order[start : start + 4] for start in range(0, 24, 4)]
    for batch in whole:
        np.testing.assert_array_equal(batch["image"]["b"][:, 0], -batch["image"]["a"][:, 0])
        np.testing.assert_array_equal(batch["label"].argmax(axis=1), batch["image"]["a"][:, 0] % CLASSES)
        assert batch["image"]["b"].shape == (4, 2)
    assert rows_of(stream(Share.whole(4), 3, first=3)) == rows_of(whole)[3:]
    halves = [rows_of(stream(Share(4, place, 2, 2), 6)) for place in (0, 2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == rows_of(whole)
