"""Opens a picture once: is it whole, does it need converting, what does it look like."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from trainer.data.normalise import UnsupportedPictureError, as_rgb, kind_of, open_picture
from trainer.files import atomic_path

__all__ = ["COLOUR_BYTES", "HASH_BYTES", "PictureRecord", "Rejection", "check_picture", "check_pictures"]

HASH_BYTES = 32
COLOUR_BYTES = 48
_HASH_SIDE = 16
_COLOUR_SIDE = 4
# Starts of files that mean to be pictures; without such a start a file is no picture at all.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\x00", b"MM\x00*")


class Rejection(StrEnum):
    """Why a picture cannot be used."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    BROKEN = "broken"
    NOT_A_PICTURE = "not_a_picture"
    NO_PIXELS = "no_pixels"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_BYTES = "too_many_bytes"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"
    NOT_A_FILE = "not_a_file"


@dataclass(frozen=True)
class PictureRecord:
    """What one look at a picture found.

    Attributes:
        source_path: the file.
        size, mtime_ns: of the file when it was read; together with the path they tell whether it must be read again.
        reason: a `Rejection`, or nothing for a usable picture.
        sha256: of the file's bytes, in hexadecimal digits.
        kind: what had to be converted (see `kind_of`), or nothing for a picture used in place.
        image_path: what the pipeline reads: the file, or its converted copy.
        converted_size: bytes of the converted copy, or 0.
        phash: 256-bit perceptual hash in hexadecimal digits.
        colours: 4 x 4 mean colours, RGB, in hexadecimal digits.
    """

    source_path: str
    size: int = 0
    mtime_ns: int = 0
    reason: str = ""
    sha256: str = ""
    kind: str = ""
    image_path: str = ""
    converted_size: int = 0
    phash: str = ""
    colours: str = ""


def check_pictures(paths: Sequence[str], folder: Path, max_pixels: int) -> list[PictureRecord]:
    """`check_picture` of several files, in order."""
    return [check_picture(path, folder, max_pixels) for path in paths]


def check_picture(path: str, folder: Path, max_pixels: int) -> PictureRecord:
    """Reads a picture to its last pixel; converts it where TensorFlow would not read it as it is meant.

    Args:
        path: the file.
        folder: where converted copies go, as `<sha256 of the file>.png`.
        max_pixels: a picture that has more is not decoded.

    Returns:
        What was found. A picture that cannot be used is no error: its record says why.

    Raises:
        InputError: a converted copy cannot be written.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            found = PictureRecord(path, status.st_size, status.st_mtime_ns)
            # 16-bit RGBA without compression needs 8 bytes a pixel.
            if status.st_size > 8 * max_pixels + 2**20:
                return _rejected(found, Rejection.TOO_MANY_BYTES)
            content = file.read()
    except IsADirectoryError:
        return PictureRecord(path, reason=Rejection.NOT_A_FILE)
    except (OSError, ValueError):  # ValueError: a path with a null character
        return PictureRecord(path, reason=Rejection.UNREADABLE)
    if not content:
        return _rejected(found, Rejection.EMPTY)
    try:
        with _pillow_strict_and_quiet():
            decoded = _decode(content, max_pixels)
            if isinstance(decoded, Rejection):
                return _rejected(found, decoded)
            image, kind = decoded
            phash = np.packbits(imagehash.phash(image, _HASH_SIDE).hash).tobytes().hex()
            colours = image.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX).tobytes().hex()
    except Exception as error:  # bytes of unknown origin: decoders raise what they like, and the run goes on
        return _rejected(found, _reason(error, content))
    sha256 = hashlib.sha256(content).hexdigest()
    used, converted_size = path, 0
    if kind:
        used = str(folder / f"{sha256}.png")
        converted_size = _write_png(image, Path(used))
    return PictureRecord(
        path, found.size, found.mtime_ns, "", sha256, kind, used, converted_size, phash=phash, colours=colours
    )


def _rejected(found: PictureRecord, reason: Rejection) -> PictureRecord:
    return PictureRecord(found.source_path, found.size, found.mtime_ns, str(reason))


def _decode(content: bytes, max_pixels: int) -> tuple[Image.Image, str] | Rejection:
    with open_picture(content) as image:
        width, height = image.size
        if min(width, height) < 1:
            return Rejection.NO_PIXELS
        if width * height > max_pixels:
            return Rejection.TOO_MANY_PIXELS
        image.load()
        kind = kind_of(image, content)
        return as_rgb(image), kind


def _reason(error: Exception, content: bytes) -> Rejection:
    if isinstance(error, UnsupportedPictureError):
        return Rejection.UNSUPPORTED
    if isinstance(error, UnidentifiedImageError):
        meant = content.startswith(_SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")
        return Rejection.BROKEN if meant else Rejection.NOT_A_PICTURE
    return Rejection.TRUNCATED if "truncated" in str(error).lower() else Rejection.BROKEN


@contextlib.contextmanager
def _pillow_strict_and_quiet() -> Iterator[None]:
    """Pillow's own limits off, since ours holds, and torn files not patched up, whatever the process has set."""
    former = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = former


def _write_png(image: Image.Image, path: Path) -> int:
    image.info = {}  # Pillow would write a colour profile and a transparent colour along
    with atomic_path(path) as aside:
        image.save(aside, "PNG", compress_level=1)  # photographs hardly get smaller with more, and it takes long
        return aside.stat().st_size
