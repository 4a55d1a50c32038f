"""The orientation that a camera wrote into a JPEG, read with stock TensorFlow operations."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["jpeg_orientation"]

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
_MAX_SEGMENTS = 64
_ENTRY = 12  # bytes of one entry of a TIFF directory


def jpeg_orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG.

    Args:
        content: string scalar, the bytes of a JPEG.

    Returns:
        int64 scalar, 1 to 8; 1 (upright) where there is none or it cannot be read, since the pixels are whole all the
        same.

    Source: CIPA DC-008 (Exif 2.32), 4.5 and 4.6; TIFF 6.0, section 2.
    """
    data = tf.io.decode_raw(content, tf.uint8)
    start = _exif_segment(data)
    return tf.cond(start > 0, lambda: _orientation(data, start + len(_EXIF)), lambda: tf.constant(1, tf.int64))


def _bytes(data: tf.Tensor, offset: tf.Tensor, count: int) -> tf.Tensor:
    """int64 `[count]` from an offset on; 0 where the data has ended."""
    places = offset + tf.range(count, dtype=tf.int64)
    size = tf.size(data, out_type=tf.int64)
    inside = (places >= 0) & (places < size)
    return tf.where(inside, tf.cast(tf.gather(data, tf.clip_by_value(places, 0, size - 1)), tf.int64), 0)


def _exif_segment(data: tf.Tensor) -> tf.Tensor:
    """Where the contents of the first APP1 segment with EXIF begin; 0 where none comes before the pixels."""
    size = tf.size(data, out_type=tf.int64)

    def searching(offset: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return (found == 0) & (offset > 0) & (offset + 4 <= size)

    def step(offset: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        read = _bytes(data, offset, 4 + len(_EXIF))
        marker, length = read[1], read[2] * 256 + read[3]
        is_exif = (read[0] == 0xFF) & (marker == 0xE1) & tf.reduce_all(read[4:] == list(_EXIF))
        is_fill = marker == 0xFF  # any number of 0xFF may stand before a marker
        ended = (read[0] != 0xFF) | (~is_fill & ((marker == 0xDA) | (length < 2)))  # no segment, or the pixels
        following = tf.where(is_fill, offset + 1, offset + 2 + length)
        return tf.where(ended, tf.constant(0, tf.int64), following), tf.where(is_exif, offset + 4, found)

    start = tf.constant(2, tf.int64), tf.constant(0, tf.int64)
    return tf.while_loop(searching, step, start, maximum_iterations=_MAX_SEGMENTS)[1]


def _orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """From the TIFF structure that begins at an offset."""
    little = _bytes(data, start, 1)[0] == ord("I")

    def number(values: tf.Tensor) -> tf.Tensor:
        powers = tf.constant([256**place for place in range(values.shape[-1])], tf.int64)
        return tf.reduce_sum(values * tf.where(little, powers, tf.reverse(powers, [0])), axis=-1)

    directory = start + number(_bytes(data, start + 4, 4))
    count = number(_bytes(data, directory, 2))
    entries = _bytes(data, directory + 2, _MAX_SEGMENTS * _ENTRY)
    entries = tf.reshape(entries, (_MAX_SEGMENTS, _ENTRY))
    kinds = number(entries[:, 2:4])
    values = tf.where(kinds == _LONG, number(entries[:, 8:12]), number(entries[:, 8:10]))
    right = (
        (tf.range(_MAX_SEGMENTS, dtype=tf.int64) < count)
        & (number(entries[:, 0:2]) == _ORIENTATION)
        & ((kinds == _SHORT) | (kinds == _LONG))
        & (values >= 1)
        & (values <= 8)
    )
    return tf.cond(
        tf.reduce_any(right), lambda: values[tf.argmax(tf.cast(right, tf.int32))], lambda: tf.constant(1, tf.int64)
    )
