"""Pictures of every kind to 8-bit RGB.

The pipeline decodes with `tf.io.decode_image(content, channels=3, expand_animations=False)`, which knows few formats,
ignores EXIF rotation and drops transparency without compositing. Pictures that it reads as they are meant are used in
place; every other one is converted here, with Pillow.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

__all__ = ["UnsupportedPictureError", "as_rgb", "kind_of", "open_picture"]

# No vector formats: Pillow hands EPS to Ghostscript, which a picture of unknown origin must not reach.
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnsupportedPictureError(ValueError):
    """A picture that can be read but has no agreed way to 8-bit RGB, such as one of floating-point values."""


def open_picture(content: bytes) -> Image.Image:
    """Opens a picture without decoding its pixels.

    Args:
        content: the file's bytes.

    Returns:
        The picture; an animation or a multi-page file at its first frame.

    Raises:
        PIL.UnidentifiedImageError: the bytes are no picture of a known format.
    """
    Image.init()
    return Image.open(io.BytesIO(content), formats=[name for name in _FORMATS if name in Image.OPEN])


def kind_of(image: Image.Image, content: bytes) -> str:
    """Says what has to be converted about a picture.

    Args:
        image: the picture, its pixels loaded.
        content: the file's bytes.

    Returns:
        Nothing for a picture that TensorFlow reads as it is meant: JPEG, PNG or BMP, 8-bit RGB or grey, without
        rotation or transparency. Otherwise its format, mode, and what is peculiar, such as `JPEG RGB rotated`.
    """
    peculiar = []
    if _orientation(image) in _UPRIGHT:
        peculiar.append("rotated")
    if "transparency" in image.info:
        peculiar.append("transparent")
    usual = image.mode in ("RGB", "L") and not peculiar
    if usual and image.format in ("JPEG", "MPO"):
        return ""
    if usual and image.format == "PNG" and content[24:26] in (b"\x08\x00", b"\x08\x02"):  # 8 bits of grey, of RGB
        if _is_sound_png(content):
            return ""
        peculiar.append("damaged")
    if usual and image.format == "BMP" and _is_plain_bmp(content):
        return ""
    return " ".join([str(image.format), image.mode, *peculiar])


def as_rgb(image: Image.Image) -> Image.Image:
    """Upright, on white, 8 bits a channel.

    Args:
        image: the picture, its pixels loaded.

    Returns:
        The picture in mode RGB. Transparent parts show white; of 16 bits the upper 8 are kept, as TensorFlow does.

    Raises:
        UnsupportedPictureError: its pixel values have no agreed range.
    """
    orientation = _orientation(image)
    if image.mode.startswith("I;16"):
        image = _upper_byte(image)
    elif image.mode in ("I", "F"):
        raise UnsupportedPictureError(f"expected 8 or 16 bits a channel, received Pillow's mode {image.mode}")
    elif image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG to be inverted, as Adobe's are
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode != "RGB":
        try:
            image = image.convert("RGB")
        except ValueError as error:
            raise UnsupportedPictureError(f"no conversion from Pillow's mode {image.mode} to RGB") from error
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data may be broken in any way; the pixels are whole all the same
        return 1
    return value if isinstance(value, int) else 1


def _upper_byte(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint16)
    levels = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels[values == transparent] = 255
    return Image.fromarray(levels)


def _is_sound_png(content: bytes) -> bool:
    """Whether all checksums hold and the end is there: Pillow does without, libpng in TensorFlow does not."""
    try:
        with open_picture(content) as again:
            again.verify()
    except (OSError, SyntaxError, ValueError, struct.error, UnidentifiedImageError):
        return False
    return content.rfind(b"IEND\xaeB`\x82") > 0


def _is_plain_bmp(content: bytes) -> bool:
    """Whether it is a BMP of TensorFlow's kind: Windows header, 8 or 24 bits, not compressed."""
    header, bits, compression = *struct.unpack_from("<I", content, 14), *struct.unpack_from("<HI", content, 28)
    return header >= 40 and bits in (8, 24) and compression == 0
