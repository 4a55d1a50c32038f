"""The `tf.data` pipeline: files to batches of uint8 pictures, decoded, resized and augmented in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from trainer.data.augmentation import Augmentation
from trainer.data.sampler import Sampler
from trainer.errors import InputError

__all__ = [
    "DECODING_VERSION",
    "Share",
    "decode_picture",
    "feature_batches",
    "picture_batches",
    "read_pictures",
    "resize_picture",
    "stream_positions",
    "training_batches",
    "untuned",
]

DECODING_VERSION = "1"
"""To be raised when decoding or resizing changes, so that nothing made of pictures before is used any longer."""

_WORKERS = os.cpu_count() or 1


def decode_picture(content: tf.Tensor, image_size: int) -> tf.Tensor:
    """Bytes of a picture to pixels, the one way that training, evaluation and the exported graph share.

    Args:
        content: string scalar; JPEG, PNG, BMP, or what else `tf.io.decode_image` reads.
        image_size: height and width of the answer in pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`; see `resize_picture`.
    """
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return resize_picture(image, image_size)


def resize_picture(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Brings a picture to the models' size: bilinear with antialiasing, the aspect ratio not kept, levels rounded.

    Args:
        image: uint8 `[H, W, 3]`; one that has the size already is left as it is.
        image_size: height and width of the answer in pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`.
    """
    size = (image_size, image_size)
    image = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] == size),
        lambda: image,
        lambda: tf.cast(tf.round(tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0.0, 255.0)), tf.uint8),
    )
    return tf.ensure_shape(image, (*size, 3))


def picture_batches(paths: Sequence[str], image_size: int, batch_size: int) -> tf.data.Dataset:
    """Every picture once, in order.

    Yields:
        `{"row": int64 [B], "image": uint8 [B, image_size, image_size, 3]}`; the last batch may be smaller.
    """
    names = tf.constant(list(paths), tf.string)

    def read(row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"row": row, "image": decode_picture(tf.io.read_file(names[row]), image_size)}

    pictures = tf.data.Dataset.range(len(paths)).map(read, num_parallel_calls=_WORKERS, deterministic=True)
    return pictures.batch(batch_size).prefetch(2).with_options(untuned())


def untuned() -> tf.data.Options:
    """Options of a stream that has no tuning thread, whose sleep its end would wait for, up to two seconds."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def read_pictures(paths: Sequence[str], image_size: int, batch_size: int) -> Iterator[dict[str, tf.Tensor]]:
    """The batches of `picture_batches`, with a picture that cannot be read said as what it is.

    Raises:
        InputError: a picture is gone or spoilt; names it.
    """
    seen = 0
    try:
        for batch in picture_batches(paths, image_size, batch_size):
            yield batch
            seen += len(batch["row"])
    except tf.errors.OpError as error:
        path, reason = _unreadable(paths[seen:], image_size) or ("a picture", error.message)
        raise InputError(
            f"{path}: prepare could read this picture, it cannot be read now ({' '.join(str(reason).split())[:200]}); "
            "run prepare again"
        ) from error


def _unreadable(paths: Sequence[str], image_size: int) -> tuple[str, str] | None:
    """The first of the pictures that cannot be read, and why: a stream's error does not say which it was."""
    for path in paths:
        try:
            decode_picture(tf.io.read_file(path), image_size)
        except tf.errors.OpError as error:
            return path, error.message
    return None


@dataclass(frozen=True)
class Share:
    """Which part of each global batch this process works on.

    Attributes:
        batch_size: pictures in a batch over all replicas; a multiple of the number of replicas.
        first: of the batch's places that belong to this process.
        count: of places that belong to this process, a multiple of `per_replica`.
        per_replica: pictures for one replica.
    """

    batch_size: int
    first: int
    count: int
    per_replica: int

    @classmethod
    def whole(cls, batch_size: int) -> Share:
        """One process, one replica."""
        return cls(batch_size, 0, batch_size, batch_size)


def stream_positions(share: Share, first_batch: int = 0) -> tf.data.Dataset:
    """Positions int64 in the endless training stream: this process's share of every global batch from that one on."""

    def place(batch: tf.Tensor) -> tf.data.Dataset:
        start = batch * share.batch_size + share.first
        return tf.data.Dataset.range(start, start + share.count)

    return tf.data.Dataset.range(first_batch, tf.int64.max).flat_map(place)


def training_batches(
    load: Callable[[tf.Tensor], tf.Tensor],
    labels: np.ndarray,
    num_classes: int,
    sampler: Sampler,
    augmentation: Augmentation,
    share: Share,
    first_batch: int = 0,
    attributes: np.ndarray | None = None,
) -> tf.data.Dataset:
    """The endless training stream, from any batch on.

    Every element is a function of its position in the stream: going on at batch n gives what an uninterrupted run would
    have seen there, and workers that share the batches see together what one would see alone.

    Args:
        load: from a row (int64 scalar) to its picture, uint8 `[H, W, 3]`.
        labels: int32 `[N]`, of the rows.
        num_classes: number of labels.
        sampler: which row comes when.
        augmentation: of pictures, then of batches (pairs are mixed among the pictures of one replica).
        share: what this process works on.
        first_batch: number of the first global batch.
        attributes: int32 `[N, A]`, codes of attributes of the rows, -1 for a missing value.

    Yields:
        `{"image": uint8 [b, H, W, 3], "label": float32 [b, C]}` for one replica after the other, b = `per_replica`;
        labels one-hot, or mixtures; and `"attributes": int32 [b, A]` where these are given.
    """
    known, codes = _targets(labels, attributes)

    def read(position: tf.Tensor) -> dict[str, tf.Tensor]:
        row = sampler.row(position)
        image = augmentation.picture(load(row), position)
        targets = {"label": tf.one_hot(known[row], num_classes), **{name: of[row] for name, of in codes.items()}}
        return {"image": image, **targets, "position": position}

    def mix(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        position = batch.pop("position")[0]
        images, labels = augmentation.batch(batch["image"], batch["label"], position)
        return {**batch, "image": images, "label": labels}

    pictures = stream_positions(share, first_batch).map(read, num_parallel_calls=_WORKERS, deterministic=True)
    batches = pictures.batch(share.per_replica, drop_remainder=True)
    return batches.map(mix, num_parallel_calls=_WORKERS, deterministic=True).prefetch(2).with_options(untuned())


def _targets(labels: np.ndarray, attributes: np.ndarray | None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    codes = {} if attributes is None else {"attributes": tf.constant(np.asarray(attributes, np.int32))}
    return tf.constant(np.asarray(labels, np.int32)), codes


def feature_batches(
    gather: Callable[[np.ndarray], dict[str, np.ndarray]],
    widths: dict[str, int],
    labels: np.ndarray,
    num_classes: int,
    sampler: Sampler,
    share: Share,
    first_batch: int = 0,
    attributes: np.ndarray | None = None,
) -> tf.data.Dataset:
    """The endless training stream of cached features; as `training_batches`, with rows of features for pictures.

    Args:
        gather: from rows int64 `[b]` to features `{part: float32 [b, width]}`.
        widths: of each part.

    Yields:
        `{"image": {part: float32 [b, width]}, "label": float32 [b, C]}`, and `"attributes"` as `training_batches`.
    """
    known, codes = _targets(labels, attributes)
    parts = list(widths)

    def read(rows: tf.Tensor) -> dict[str, Any]:
        found = tf.numpy_function(lambda r: [gather(r)[part] for part in parts], [rows], [tf.float32] * len(parts))
        features = {
            part: tf.ensure_shape(values, (share.per_replica, widths[part]))
            for part, values in zip(parts, found, strict=True)
        }
        targets = {name: tf.gather(of, rows) for name, of in codes.items()}
        return {"image": features, "label": tf.one_hot(tf.gather(known, rows), num_classes), **targets}

    rows = stream_positions(share, first_batch).batch(share.per_replica, drop_remainder=True).map(sampler.row)
    return rows.map(read).prefetch(2).with_options(untuned())
