"""Bytes of picture files to pixels, inside the exported graph, as the trainer reads them.

What `trainer.data` does once with Pillow when a catalogue is prepared (turning upright, putting transparency on white)
is done here with stock operations, since a shopper's photo is not prepared.
"""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.exif import jpeg_orientation
from trainer.data.pipeline import DECODING_VERSION, resize_picture

__all__ = ["MAX_PIXELS", "decode_pictures", "preprocessing"]

MAX_PIXELS = 89_478_485
"""Of a picture, before it is refused undecoded; what the trainer takes, and Pillow's limit."""

_PARALLEL = 16
_HEADER = 30
_SIGNATURES = {
    "jpeg": (0, b"\xff\xd8\xff"),
    "png": (0, b"\x89PNG\r\n\x1a\n"),
    "gif": (0, b"GIF8"),
    "bmp": (0, b"BM"),
    "webp": (8, b"WEBP"),
}


def preprocessing(image_size: int, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """What a manifest says about how bytes become pixels."""
    return {
        "image_size": image_size,
        "formats": ["JPEG", "PNG", "WebP", "GIF (first frame)", "BMP"],
        "orientation": "EXIF of JPEG, in the graph",
        "transparency": "on white",
        "resize": "bilinear, antialiased, aspect ratio not kept, rounded to uint8",
        "max_pixels": max_pixels,
        "decoding_version": DECODING_VERSION,
    }


def decode_pictures(image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Pictures of any size and format to a batch.

    JPEG, PNG, WebP (not animated), the first frame of a GIF, and BMP. JPEGs are turned upright by their EXIF
    orientation (that of other formats, and XMP's, is not read). Transparent parts of PNG and WebP show white; a
    GIF's are read as TensorFlow reads them. Of 16 bits the upper 8 are kept. An operation's error (INVALID_ARGUMENT)
    names what was expected when bytes are no such picture, or one of more than `max_pixels`, which is seen in its
    header before it is decoded.

    Args:
        image_bytes: string `[B]`.
        image_size: height and width of the answer.
        max_pixels: the greatest height times width.

    Returns:
        uint8 `[B, image_size, image_size, 3]`.
    """
    return tf.map_fn(
        lambda content: _decode(content, image_size, max_pixels),
        image_bytes,
        parallel_iterations=_PARALLEL,
        fn_output_signature=tf.TensorSpec((image_size, image_size, 3), tf.uint8),
    )


def _decode(content: tf.Tensor, image_size: int, max_pixels: int) -> tf.Tensor:
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(content + b"\0" * _HEADER, 0, _HEADER), tf.uint8), tf.int64)
    kinds = {name: _starts(header, *signature) for name, signature in _SIGNATURES.items()}
    known = tf.Assert(
        tf.reduce_any(list(kinds.values())),
        [
            "expected the bytes of a JPEG, PNG, WebP, GIF or BMP picture, received others; bytes:",
            tf.strings.length(content),
        ],
    )
    with tf.control_dependencies([known] if known is not None else []):
        height, width = _size(content, header, kinds)
    small = tf.Assert(
        (height > 0) & (width > 0) & (height * width <= max_pixels),
        [f"expected a picture of 1 to {max_pixels} pixels, received one of height and width", height, width],
    )
    with tf.control_dependencies([small] if small is not None else []):
        content = tf.identity(content)
    still = tf.Assert(
        ~(kinds["webp"] & (header[15] == ord("X")) & (header[20] // 2 % 2 == 1)),
        ["expected a still picture, received an animated WebP; send one of its frames"],
    )
    with tf.control_dependencies([still] if still is not None else []):
        content = tf.identity(content)  # decoding it without its frames spoils TensorFlow 2.21's memory
    image = resize_picture(_on_white(_pixels(content, header, kinds)), image_size)
    # turned when it is small: the answer is square, and a phone's photo has fifty times as many pixels
    return tf.cond(kinds["jpeg"], lambda: _upright(image, jpeg_orientation(content)), lambda: image)


def _starts(header: tf.Tensor, offset: int, signature: bytes) -> tf.Tensor:
    return tf.reduce_all(header[offset : offset + len(signature)] == list(signature))


def _size(content: tf.Tensor, header: tf.Tensor, kinds: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, int64, as the header says."""

    def number(offset: int, count: int, big: bool = False) -> tf.Tensor:
        powers = [256 ** (count - 1 - place if big else place) for place in range(count)]
        return tf.reduce_sum(header[offset : offset + count] * tf.constant(powers, tf.int64))

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.image.extract_jpeg_shape(content, tf.int32)
        return tf.cast(shape[0], tf.int64), tf.cast(shape[1], tf.int64)

    def bmp() -> tuple[tf.Tensor, tf.Tensor]:  # a negative height says that the rows come from the top
        height, width = (tf.bitcast(tf.cast(number(offset, 4), tf.uint32), tf.int32) for offset in (22, 18))
        return tf.abs(tf.cast(height, tf.int64)), tf.cast(width, tf.int64)

    def webp() -> tuple[tf.Tensor, tf.Tensor]:
        lossless = number(21, 4)
        return tf.case(
            [
                (header[15] == ord("X"), lambda: (number(27, 3) + 1, number(24, 3) + 1)),
                (header[15] == ord("L"), lambda: (lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1)),
            ],
            lambda: (number(28, 2) % 2**14, number(26, 2) % 2**14),
        )

    return tf.case(
        [
            (kinds["jpeg"], jpeg),
            (kinds["png"], lambda: (number(20, 4, big=True), number(16, 4, big=True))),
            (kinds["gif"], lambda: (number(8, 2), number(6, 2))),
            (kinds["webp"], webp),
        ],
        bmp,
    )


def _pixels(content: tf.Tensor, header: tf.Tensor, kinds: dict[str, tf.Tensor]) -> tf.Tensor:
    """uint8 `[H, W, 3]`, or `[H, W, 4]` where there may be transparency."""

    def decoded(channels: int) -> tf.Tensor:
        image = tf.io.decode_image(content, channels=channels, expand_animations=False)
        image.set_shape((None, None, channels or None))
        return image

    def png() -> tf.Tensor:  # below 8 bits, TensorFlow says "opaque" by the greatest number of so many bits
        image = decoded(4)
        opaque = tf.bitwise.left_shift(tf.constant(1, tf.int64), tf.minimum(header[24], 8)) - 1
        is_opaque = (header[24] < 8) & tf.reduce_all(tf.cast(image[:, :, 3], tf.int64) == opaque)
        return tf.cond(is_opaque, lambda: image[:, :, :3], lambda: image)

    def bmp() -> tf.Tensor:  # a fourth byte is no transparency; one byte is a place in a table of colours
        image = decoded(0)
        return tf.cond(tf.shape(image)[2] == 1, lambda: _coloured(content, image), lambda: image[:, :, :3])

    return tf.case([(kinds["png"], png), (kinds["webp"], lambda: decoded(0)), (kinds["bmp"], bmp)], lambda: decoded(3))


def _coloured(content: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The colours of a BMP of 8 bits: a table of blue, green, red and nothing behind the headers."""
    data = tf.io.decode_raw(content, tf.uint8)
    header_size = tf.bitcast(data[14:18], tf.int32)
    table = data[14 + header_size :][: 256 * 4]
    table = tf.reshape(table[: tf.size(table) // 4 * 4], (-1, 4))
    return tf.gather(table[:, 2::-1], tf.minimum(tf.cast(places[:, :, 0], tf.int32), tf.shape(table)[0] - 1))


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Pillow's `alpha_composite` over white, in its integer arithmetic."""

    def composed() -> tf.Tensor:
        alpha = tf.cast(image[:, :, 3:], tf.int32)
        blend = 128 * (tf.cast(image[:, :, :3], tf.int32) * alpha + 255 * (255 - alpha)) + 128 * 128
        return tf.cast(tf.bitwise.right_shift(tf.bitwise.right_shift(blend, 8) + blend, 15), tf.uint8)

    def is_transparent() -> tf.Tensor:
        return tf.reduce_any(image[:, :, 3:] < 255)

    opaque = tf.cond(
        tf.shape(image)[2] == 4, lambda: tf.cond(is_transparent(), composed, lambda: image[:, :, :3]), lambda: image
    )
    return tf.ensure_shape(opaque, (None, None, 3))


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes an EXIF orientation of a square picture: those from 5 on transpose it, and each mirrors in its own way."""

    def turned() -> tf.Tensor:
        straight = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
        mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
        straight = tf.cond(upside_down, lambda: tf.reverse(straight, [0]), lambda: straight)
        return tf.cond(mirrored, lambda: tf.reverse(straight, [1]), lambda: straight)

    return tf.ensure_shape(tf.cond(orientation > 1, turned, lambda: image), image.shape)
