"""Whatever a caller has of a picture, as the bytes of a picture file."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from serving.client.errors import BadInputError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

__all__ = ["Picture", "picture_bytes", "pictures_bytes"]

Picture: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | np.ndarray | PILImage"
"""The bytes of a JPEG, PNG, WebP, GIF or BMP file; its path; a file object opened for reading bytes; a PIL image; or a
uint8 array `[H, W, 3]` (RGB) or `[H, W]` (grey)."""

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
_EXPECTED = "the bytes of a JPEG, PNG, WebP, GIF or BMP file, a path, a file object, a PIL image or a uint8 array"


def pictures_bytes(pictures: Iterable[Picture]) -> list[bytes]:
    """The files of several pictures.

    Raises:
        BadInputError: not several, or one is not a picture; it says which.
    """
    if isinstance(pictures, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(pictures, "read"):
        raise BadInputError(f"expected several pictures, received one {type(pictures).__name__}; put it in a list")
    if isinstance(pictures, np.ndarray) and _is_one(pictures):
        raise BadInputError(f"expected several pictures, received one as an array {pictures.shape}; put it in a list")
    if not isinstance(pictures, Iterable):  # a PIL image, or what is no picture at all
        raise BadInputError(f"expected several pictures, received {type(pictures).__name__}; put one in a list")
    files = []
    for place, picture in enumerate(pictures):
        try:
            files.append(picture_bytes(picture))
        except BadInputError as error:
            raise BadInputError(f"picture {place}: {error.message}") from error
    return files


def picture_bytes(picture: Picture) -> bytes:
    """The file of a picture: as it is where there is one, else as PNG, which loses nothing.

    Raises:
        BadInputError: empty, not a picture of a kind that the models read, or not readable.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return _checked(_copied(picture), "bytes")
    if isinstance(picture, str | os.PathLike):
        return _of_path(picture)
    if isinstance(picture, np.ndarray):
        return _png(picture)
    # a PIL image can only come from a caller who has imported it
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(picture, pil.Image):
        return _of_pil(picture)
    if hasattr(picture, "read"):
        return _of_file(picture)
    raise BadInputError(f"expected {_EXPECTED}; received {type(picture).__name__}")


def _is_one(array: np.ndarray) -> bool:
    """Whether an array's shape is that of one picture, which would pass for a stack of grey ones."""
    return array.ndim in (0, 2) or (array.ndim == 3 and array.shape[2] in (1, 3))


def _copied(content: bytes | bytearray | memoryview) -> bytes:
    try:
        return bytes(content)
    except ValueError as error:  # a released memoryview
        raise BadInputError(f"expected {_EXPECTED}; received what cannot be read: {error}") from error


def _of_path(path: str | os.PathLike[str]) -> bytes:
    shown = type(path).__name__
    try:
        shown = os.fsdecode(path)  # a path may be bytes inside
        content = Path(shown).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        shown = shown if len(shown) < 200 else f"{shown[:200]}…"
        raise BadInputError(f"expected the path of a readable picture, received {shown}: {reason}") from error
    return _checked(content, shown)


def _of_file(file: Any) -> bytes:
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # closed, opened for writing, opened as text, a broken disk
        raise BadInputError(f"expected a file opened for reading bytes ('rb'), its read() failed: {error}") from error
    if not isinstance(content, bytes):
        raise BadInputError(f"expected a file opened for reading bytes ('rb'), its read() gave {type(content)}")
    return _checked(content, str(getattr(file, "name", "a file object")))


def _checked(content: bytes, source: str) -> bytes:
    if not content:
        raise BadInputError(f"expected a picture, received nothing: {source} is empty")
    if not content.startswith(_STARTS) and not (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        raise BadInputError(f"expected a JPEG, PNG, WebP, GIF or BMP picture; {source} begins with {content[:12]!r}")
    return content


def _of_pil(image: PILImage) -> bytes:
    from PIL import ImageOps

    if 0 in image.size:
        raise BadInputError(f"expected a picture, received an empty PIL image of {image.width} x {image.height}")
    try:
        # the models put what is transparent on white
        upright = ImageOps.exif_transpose(image).convert("RGBA" if image.has_transparency_data else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInputError(f"expected a PIL image that can be read: {error}") from error
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    """A PNG without Pillow, which a bare installation does not have."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))):
        raise BadInputError(
            f"expected a uint8 array [height, width, 3] or [height, width], received {pixels.dtype} {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    if not height or not width:
        raise BadInputError(f"expected a picture, received an empty array {pixels.shape}")
    channels = 3 if pixels.ndim == 3 and pixels.shape[2] == 3 else 1
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b""))
    return _STARTS[1] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
