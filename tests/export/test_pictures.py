"""Bytes to pixels in the graph, against the trainer's way through Pillow and its pipeline."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.exif import jpeg_orientation
from export.pictures import MAX_PIXELS, decode_pictures
from trainer.data.normalise import as_rgb, kind_of, open_picture
from trainer.data.pipeline import decode_picture

SIZE = 24
_ORIENTATION = 0x0112


def smooth(height: int, width: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    coarse = np.random.default_rng(height * 1000 + width).integers(0, 256, (5, 4, channels), dtype=np.uint8)
    bands = [
        Image.fromarray(coarse[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    return Image.merge(mode, bands) if channels > 1 else bands[0]


def encoded(image: Image.Image, form: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def decode() -> Callable[[list[bytes]], np.ndarray]:
    graph = tf.function(
        lambda contents: decode_pictures(contents, SIZE), input_signature=[tf.TensorSpec((None,), tf.string)]
    )
    return lambda contents: graph(tf.constant(contents, tf.string)).numpy()


def as_prepared(content: bytes) -> np.ndarray:
    """What the trainer sees: the file itself where TensorFlow reads it as meant, else a plain copy."""
    image = open_picture(content)
    image.load()
    if kind_of(image, content):
        content = encoded(as_rgb(image), "PNG")
    return decode_picture(tf.constant(content), SIZE).numpy()


PLAIN = {
    "jpeg": encoded(smooth(50, 30), "JPEG"),
    "progressive": encoded(smooth(33, 57), "JPEG", progressive=True),
    "grey jpeg": encoded(smooth(41, 29, "L"), "JPEG"),
    "png": encoded(smooth(31, 77), "PNG"),
    "grey png": encoded(smooth(31, 77, "L"), "PNG"),
    "one pixel": encoded(smooth(1, 1), "PNG"),
    "of its size": encoded(smooth(SIZE, SIZE), "JPEG"),
    "bmp": encoded(smooth(20, 31), "BMP"),
    "grey bmp": encoded(smooth(20, 31, "L"), "BMP"),
}
_PALETTE = smooth(40, 30).quantize(200)
UNUSUAL = {
    "transparent png": encoded(smooth(40, 31, "RGBA"), "PNG"),
    "grey transparent png": encoded(smooth(40, 31, "LA"), "PNG"),
    "palette": encoded(_PALETTE, "PNG"),
    "palette transparent": encoded(_PALETTE, "PNG", transparency=3),
    "palette of 4 bits": encoded(smooth(40, 30).quantize(9), "PNG", bits=4),
    "one bit": encoded(smooth(40, 30).convert("1"), "PNG"),
    "one colour transparent": encoded(smooth(40, 30, "L"), "PNG", transparency=100),
    "16 bits": encoded(Image.fromarray(np.arange(0, 60000, 50, dtype=np.uint16).reshape(30, 40)), "PNG"),
    "webp": encoded(smooth(44, 30), "WEBP"),
    "lossless webp": encoded(smooth(44, 30), "WEBP", lossless=True),
    "transparent webp": encoded(smooth(44, 30, "RGBA"), "WEBP", lossless=True),
    "palette bmp": encoded(_PALETTE, "BMP"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pictures_are_read_exactly_as_the_trainer_reads_them(name: str, decode: Any) -> None:
    content = PLAIN[name]
    np.testing.assert_array_equal(decode([content])[0], decode_picture(tf.constant(content), SIZE).numpy())


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_pictures_are_read_as_the_trainer_prepares_them(name: str, decode: Any) -> None:
    found = decode([UNUSUAL[name]])[0].astype(int)
    assert np.abs(found - as_prepared(UNUSUAL[name])).max() <= (1 if "webp" in name else 0)


def test_a_gif_shows_its_first_frame(decode: Any) -> None:
    frames = [smooth(30, 20).quantize(16), Image.new("RGB", (20, 30), "red").quantize(4)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode([content])[0].astype(int) - as_prepared(content)).max() <= 1


def test_pictures_of_all_kinds_make_one_batch_in_their_order(decode: Any) -> None:
    contents = [*PLAIN.values(), *UNUSUAL.values()]
    together = decode(contents)
    assert together.shape == (len(contents), SIZE, SIZE, 3)
    for row, content in zip(together, contents, strict=True):
        np.testing.assert_array_equal(row, decode([content])[0])
    assert decode([]).shape == (0, SIZE, SIZE, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(orientation: int, decode: Any) -> None:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    content = encoded(smooth(60, 40), "JPEG", quality=98, subsampling=0, exif=exif.tobytes())
    found = decode([content])[0].astype(int)
    assert np.abs(found - as_prepared(content)).mean() < 2  # Pillow's and TensorFlow's JPEG decoders differ


def _jpeg_with(*segments: tuple[int, bytes], before: bytes = b"") -> bytes:
    plain = encoded(smooth(16, 16), "JPEG")
    added = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return plain[:2] + before + added + plain[2:]


def _tiff(order: str, orientation: int, kind: int = 3, at: int = 8, entries: int = 3) -> bytes:
    """A directory in which the orientation is the last entry."""
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, at)
    others = b"".join(struct.pack(order + "HHII", 0x0100 + n, 4, 1, 99) for n in range(entries - 1))
    entry = struct.pack(order + "HHIHH", _ORIENTATION, kind, 1, orientation, 0)
    return head + b"\0" * (at - 8) + struct.pack(order + "H", entries) + others + entry + b"\0" * 4


EXIF = b"Exif\0\0"
ORIENTATIONS = {
    "little-endian": (_jpeg_with((0xE1, EXIF + _tiff("<", 6))), 6),
    "big-endian": (_jpeg_with((0xE1, EXIF + _tiff(">", 8))), 8),
    "directory further on": (_jpeg_with((0xE1, EXIF + _tiff("<", 5, at=40))), 5),
    "after other segments": (
        _jpeg_with((0xE0, b"JFIF\0" + b"\0" * 9), (0xE1, b"http"), (0xE1, EXIF + _tiff("<", 3))),
        3,
    ),
    "filled up": (_jpeg_with((0xE1, EXIF + _tiff("<", 7)), before=b"\xff\xff"), 7),
    "first of two": (_jpeg_with((0xE1, EXIF + _tiff("<", 2)), (0xE1, EXIF + _tiff("<", 4))), 2),
    "none": (_jpeg_with(), 1),
    "a long number": (_jpeg_with((0xE1, EXIF + _tiff("<", 6, kind=4))), 6),
    "of another type": (_jpeg_with((0xE1, EXIF + _tiff("<", 6, kind=7))), 1),
    "out of range": (_jpeg_with((0xE1, EXIF + _tiff("<", 9))), 1),
    "cut off": (_jpeg_with((0xE1, EXIF + _tiff("<", 6)))[:40], 1),
    "empty": (_jpeg_with((0xE1, EXIF)), 1),
    "pointing nowhere": (_jpeg_with((0xE1, EXIF + struct.pack("<2sHI", b"II", 42, 2**32 - 5))), 1),
    "no picture": (b"\xff\xd8\xff", 1),
    "after the pixels": (encoded(smooth(16, 16), "JPEG") + _jpeg_with((0xE1, EXIF + _tiff("<", 6))), 1),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_orientation_is_read_from_the_bytes(name: str) -> None:
    content, expected = ORIENTATIONS[name]
    assert int(tf.function(jpeg_orientation)(tf.constant(content))) == expected


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"hello" * 20, encoded(smooth(9, 9), "TIFF")], ids=["empty", "byte", "text", "tiff"]
)
def test_what_is_no_picture_is_refused_with_what_was_expected(content: bytes, decode: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected the bytes of a JPEG, PNG, WebP, GIF or BMP"):
        decode([PLAIN["png"], content])


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_a_picture_cut_off_is_refused(name: str, decode: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)invalid (jpeg|png) data"):
        decode([PLAIN[name][: len(PLAIN[name]) // 2]])


def test_an_animated_webp_is_refused(decode: Any) -> None:
    frames = [smooth(30, 20), smooth(20, 30).resize((20, 30))]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="animated WebP"):
        decode([content])


def _giant(form: str) -> bytes:
    """The header of a picture that would take gigabytes, and hardly more."""
    side = 50_000
    if form == "png":
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", side, side, 8, 2, 0, 0, 0) + b"\0" * 40
    if form == "gif":
        return b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"\0" * 40
    if form == "bmp":
        return b"BM" + struct.pack("<IHHIIiiHHI", 99, 0, 0, 54, 40, side, -side, 1, 24, 0) + b"\0" * 40
    if form == "webp":
        size = (side - 1).to_bytes(3, "little")
        return b"RIFF" + b"\0" * 4 + b"WEBPVP8X" + struct.pack("<II", 10, 0) + size + size + b"\0" * 40
    if form == "lossless webp":
        packed = (16_383 | 16_383 << 14).to_bytes(4, "little")
        return b"RIFF" + b"\0" * 4 + b"WEBPVP8L" + b"\0" * 4 + b"\x2f" + packed + b"\0" * 40
    if form == "lossy webp":
        return (
            b"RIFF"
            + b"\0" * 4
            + b"WEBPVP8 "
            + b"\0" * 7
            + b"\x9d\x01\x2a"
            + struct.pack("<HH", 16_383, 16_383)
            + b"\0" * 40
        )
    plain = encoded(smooth(16, 16), "JPEG")
    frame = plain.index(b"\xff\xc0")
    return plain[: frame + 5] + struct.pack(">HH", side, side) + plain[frame + 9 :]


@pytest.mark.parametrize("form", ["jpeg", "png", "gif", "bmp", "webp", "lossless webp", "lossy webp"])
def test_a_giant_is_refused_by_its_header(form: str, decode: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"expected a picture of 1 to {MAX_PIXELS} pixels"):
        decode([_giant(form)])


@pytest.mark.parametrize("name", [*PLAIN, "webp", "lossless webp", "transparent webp"])
def test_the_limit_admits_what_just_fits(name: str) -> None:
    content = {**PLAIN, **UNUSUAL}[name]
    with Image.open(io.BytesIO(content)) as image:
        pixels = image.width * image.height
    decode_pictures(tf.constant([content]), SIZE, max_pixels=pixels)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a picture of"):
        decode_pictures(tf.constant([content]), SIZE, max_pixels=pixels - 1)
