"""Photos as the page takes them: checked by their headers before anything is decoded, cropped, made small."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from serving.web.errors import PageError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

__all__ = ["Crop", "check_photo", "cropped", "thumbnail"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
NOT_A_PICTURE = "This is not a picture that can be searched with."
_ADVICE = "Use a JPEG, PNG, WebP, GIF or BMP picture."
_QUALITY = 95
_THUMBNAIL_QUALITY = 85
_SHARP_ENOUGH = 1024
"""Pixels on the longer side of a region under which a JPEG is decoded whole: the models see some hundreds."""


@dataclass(frozen=True)
class Crop:
    """A region of an upright picture, in fractions of its width and height."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Reads `x,y,width,height`.

        Raises:
            PageError: it is no region of a picture.
        """
        try:
            x, y, width, height = (float(part) for part in text.split(","))
        except ValueError:
            x = y = width = height = math.nan
        slack = 1e-6  # of fractions that were rounded on their way
        inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 - x + slack and 0 < height <= 1 - y + slack
        if not inside:  # NaN is not either
            raise PageError(
                400, "The region is not inside the picture.", "Give x,y,width,height as fractions from 0 to 1."
            )
        return cls(x, y, width, height)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in a picture of so many pixels; at least one pixel."""
        left, right = _pixels(self.x, self.width, width)
        top, bottom = _pixels(self.y, self.height, height)
        return left, top, right, bottom


def _pixels(start: float, share: float, size: int) -> tuple[int, int]:
    """The whole pixels that a share of a side touches; 0.05 + 0.1 is a little over 0.15 and touches no more for it."""
    first = min(int(round(start * size, 6)), size - 1)
    return first, min(max(math.ceil(round((start + share) * size, 6)), first + 1), size)


def check_photo(content: bytes, max_pixels: int) -> None:
    """Refuses what is no picture, or too large to decode. Reads its header alone.

    Args:
        content: of the file.
        max_pixels: width times height at most.

    Raises:
        PageError: 415 or 413.
    """
    with _opened(content, max_pixels):
        pass


def cropped(content: bytes, crop: Crop, max_pixels: int) -> bytes:
    """A region of a photo, upright: a JPEG of a JPEG, otherwise a PNG; what was transparent is white.

    Args:
        content: of the file.
        crop: what to keep.
        max_pixels: width times height at most.

    Raises:
        PageError: 415 or 413.
    """
    try:
        with warnings.catch_warnings(action="ignore"), _opened(content, max_pixels) as opened:
            kind = opened.format
            longest = max(crop.width * opened.width, crop.height * opened.height)
            scale = min(_SHARP_ENOUGH / longest, 1.0)
            opened.draft("RGB", (math.ceil(opened.width * scale), math.ceil(opened.height * scale)))
            upright = _on_white(ImageOps.exif_transpose(opened))
    except (OSError, ValueError, SyntaxError) as error:
        raise PageError(415, NOT_A_PICTURE, "The file seems to be damaged; use another one.") from error
    region = upright.crop(crop.box(*upright.size))
    buffer = io.BytesIO()
    if kind == "JPEG":
        region.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    else:
        region.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def thumbnail(path: Path, width: int, max_pixels: int) -> bytes | None:
    """A picture of the catalogue as a JPEG of at most so many pixels in width; None where the file is no larger.

    Raises:
        PageError: 415 or 413.
        OSError: the file cannot be read.
    """
    try:
        with warnings.catch_warnings(action="ignore"), _opened(path.read_bytes(), max_pixels) as opened:
            if opened.width <= width and opened.height <= 2 * width:
                return None
            opened.draft("RGB", (2 * width, 2 * width))
            upright = _on_white(ImageOps.exif_transpose(opened))
    except (ValueError, SyntaxError) as error:
        raise PageError(415, NOT_A_PICTURE) from error
    upright.thumbnail((width, 2 * width))
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _opened(content: bytes, max_pixels: int) -> PILImage:
    try:
        with warnings.catch_warnings(action="ignore"):
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_many(max_pixels) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise PageError(415, NOT_A_PICTURE, _ADVICE) from None
    if opened.width * opened.height > max_pixels:
        raise _too_many(max_pixels)
    return opened


def _too_many(max_pixels: int) -> PageError:
    return PageError(
        413, f"The photo is too large: more than {max_pixels / 1e6:g} million pixels.", "Use a smaller one."
    )


def _on_white(picture: PILImage) -> PILImage:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    plain = Image.new("RGB", clear.size, "white")
    plain.paste(clear, mask=clear.getchannel("A"))
    return plain
