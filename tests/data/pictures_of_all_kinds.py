"""Encoded pictures of every kind that a catalogue may hold, and what each must look like."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

HEIGHT, WIDTH = 30, 42


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Attributes:
        content: the file's bytes.
        pixels: uint8 `[H, W, 3]`, what it shows.
        tolerance: largest difference of a level that decoders may have.
        converted: what `kind_of` says.
    """

    content: bytes
    pixels: np.ndarray
    tolerance: int
    converted: str


def scene(seed: int = 0) -> np.ndarray:
    """A smooth picture without symmetry, so that JPEG changes it little and every rotation shows."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] / 40.0
    waves = [np.sin(rng.uniform(1, 4) * rows + rng.uniform(1, 4) * columns + rng.uniform(0, 6)) for _ in range(3)]
    return (np.stack(waves, axis=2) * 100 + 128).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **settings: Any) -> bytes:
    content = io.BytesIO()
    # Copies, since Pillow leaves settings of one encoder behind for the next.
    if "append_images" in settings:
        settings["append_images"] = [page.copy() for page in settings["append_images"]]
    image.copy().save(content, kind, **settings)
    return content.getvalue()


RGB = scene()
GREY = np.repeat(np.asarray(Image.fromarray(RGB).convert("L"))[:, :, None], 3, axis=2)
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
DEEP = np.asarray(np.add.outer(np.arange(HEIGHT) * 900, np.arange(WIDTH) * 700), np.uint16)


def on_white(pixels: np.ndarray) -> np.ndarray:
    share = ALPHA[:, :, None] / 255.0
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def rotated(orientation: int) -> Kind:
    """A JPEG whose stored pixels must be turned as EXIF says to show RGB."""
    stored: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        2: lambda shown: shown[:, ::-1],
        3: lambda shown: shown[::-1, ::-1],
        4: lambda shown: shown[::-1],
        5: lambda shown: shown.transpose(1, 0, 2),
        6: lambda shown: np.rot90(shown),
        7: lambda shown: shown[::-1, ::-1].transpose(1, 0, 2),
        8: lambda shown: np.rot90(shown, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](RGB)))
    return Kind(encoded(image, "JPEG", quality=92, subsampling=0, exif=exif), RGB, 12, "JPEG RGB rotated")


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def cmyk() -> Image.Image:
    return Image.fromarray(RGB).convert("CMYK")


def without_adobe_marker(content: bytes) -> bytes:
    """The JPEG without APP14, whose values then mean what they say; Pillow wrote them inverted."""
    start = content.index(b"\xff\xee")
    (length,) = struct.unpack(">H", content[start + 2 : start + 4])
    return content[:start] + content[start + 2 + length :]


def palette_with_alpha() -> tuple[bytes, np.ndarray]:
    """Four colours, of which the second is half transparent and the third wholly."""
    indexes = (np.indices((HEIGHT, WIDTH)).sum(axis=0) // 5 % 4).astype(np.uint8)
    image = Image.fromarray(indexes, "L").copy()
    image = image.convert("P")
    image.putdata(indexes.ravel().tolist())
    image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90])
    shown = np.array([[200, 10, 10], [132, 227, 132], [255, 255, 255], [90, 90, 90]], np.uint8)[indexes]
    return encoded(image, "PNG", transparency=bytes([255, 128, 0, 255])), shown


def colour_key() -> tuple[bytes, np.ndarray]:
    """RGB without alpha, where one colour means transparent."""
    pixels = RGB.copy()
    pixels[5:15, 5:20] = (1, 2, 3)
    shown = pixels.copy()
    shown[5:15, 5:20] = 255
    return encoded(Image.fromarray(pixels), "PNG", transparency=(1, 2, 3)), shown


def deep_png() -> bytes:
    return encoded(Image.fromarray(DEEP), "PNG")


def plain_palette() -> tuple[Image.Image, np.ndarray]:
    image = Image.fromarray(RGB).quantize(16)
    return image, np.asarray(image.convert("RGB"))


def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    image, grey = Image.fromarray(RGB), Image.fromarray(GREY[:, :, 0])
    alpha = Image.fromarray(np.dstack([RGB, ALPHA]))
    grey_alpha = Image.merge("LA", (grey, Image.fromarray(ALPHA)))
    black_white = grey.convert("1")
    black_white_pixels = np.asarray(black_white.convert("RGB"))
    palette, palette_pixels = plain_palette()
    transparent_palette, transparent_palette_pixels = palette_with_alpha()
    keyed, keyed_pixels = colour_key()
    deep_pixels = np.repeat((DEEP >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    cmyk_pixels = np.asarray(cmyk().convert("RGB"))
    adobe_cmyk = encoded(cmyk(), "JPEG", quality=92, subsampling=0)
    inverted = Image.fromarray(255 - np.asarray(cmyk()), "CMYK")
    other = Image.fromarray(scene(1))
    png = encoded(image, "PNG")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    in_place = {
        "jpeg": Kind(encoded(image, "JPEG", quality=92, subsampling=0), RGB, 12, ""),
        "jpeg progressive": Kind(encoded(image, "JPEG", quality=92, subsampling=0, progressive=True), RGB, 12, ""),
        "jpeg grey": Kind(encoded(grey, "JPEG", quality=92), GREY, 4, ""),
        "jpeg upright by exif": Kind(encoded(image, "JPEG", quality=92, subsampling=0, exif=exif_of(1)), RGB, 12, ""),
        "jpeg with a strange orientation": Kind(
            encoded(image, "JPEG", quality=92, subsampling=0, exif=exif_of(99)), RGB, 12, ""
        ),
        "jpeg with broken exif": Kind(
            encoded(image, "JPEG", quality=92, subsampling=0, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xffjunk"),
            RGB,
            12,
            "",
        ),
        "jpeg with a profile": Kind(
            encoded(image, "JPEG", quality=92, subsampling=0, icc_profile=profile), RGB, 12, ""
        ),
        "jpeg with more after it": Kind(encoded(image, "JPEG", quality=92, subsampling=0) + bytes(99), RGB, 12, ""),
        "mpo": Kind(
            encoded(image, "MPO", save_all=True, append_images=[other], quality=92, subsampling=0), RGB, 12, ""
        ),
        "png": Kind(png, RGB, 0, ""),
        "png grey": Kind(encoded(grey, "PNG"), GREY, 0, ""),
        "bmp": Kind(encoded(image, "BMP"), RGB, 0, ""),
        "bmp grey": Kind(encoded(grey, "BMP"), GREY, 0, ""),
    }
    converted = {
        **{f"jpeg orientation {number}": rotated(number) for number in range(2, 9)},
        "jpeg cmyk of adobe": Kind(adobe_cmyk, cmyk_pixels, 8, "JPEG CMYK"),
        "jpeg cmyk plain": Kind(
            without_adobe_marker(encoded(inverted, "JPEG", quality=92, subsampling=0)), cmyk_pixels, 8, "JPEG CMYK"
        ),
        "png rotated": Kind(
            encoded(Image.fromarray(RGB[::-1, ::-1]), "PNG", exif=exif_of(3)), RGB, 0, "PNG RGB rotated"
        ),
        "png alpha": Kind(encoded(alpha, "PNG"), on_white(RGB), 1, "PNG RGBA"),
        "png grey alpha": Kind(encoded(grey_alpha, "PNG"), on_white(GREY), 1, "PNG LA"),
        "png palette": Kind(encoded(palette, "PNG"), palette_pixels, 0, "PNG P"),
        "png palette with alpha": Kind(transparent_palette, transparent_palette_pixels, 1, "PNG P transparent"),
        "png with a transparent colour": Kind(keyed, keyed_pixels, 0, "PNG RGB transparent"),
        "png 16 bits": Kind(deep_png(), deep_pixels, 0, "PNG I;16"),
        "png 1 bit": Kind(encoded(black_white, "PNG"), black_white_pixels, 0, "PNG 1"),
        "png 2 bits": Kind(
            encoded(palette.quantize(4), "PNG", bits=2), np.asarray(palette.quantize(4).convert("RGB")), 0, "PNG P"
        ),
        "png with a wrong checksum": Kind(wrong_checksum(png), RGB, 0, "PNG RGB damaged"),
        "png without its end": Kind(png[:-12], RGB, 0, "PNG RGB damaged"),
        "bmp palette": Kind(encoded(palette, "BMP"), palette_pixels, 0, "BMP P"),
        "bmp 1 bit": Kind(encoded(black_white, "BMP"), black_white_pixels, 0, "BMP 1"),
        "bmp of os/2": Kind(os2_bmp(), RGB, 0, "BMP RGB"),
        "webp": Kind(encoded(image, "WEBP", lossless=True), RGB, 0, "WEBP RGB"),
        "webp with a profile": Kind(encoded(image, "WEBP", lossless=True, icc_profile=profile), RGB, 0, "WEBP RGB"),
        "webp alpha": Kind(encoded(alpha, "WEBP", lossless=True, exact=True), on_white(RGB), 1, "WEBP RGBA"),
        "webp rotated": Kind(
            encoded(Image.fromarray(RGB[::-1, ::-1]), "WEBP", lossless=True, exif=exif_of(3)),
            RGB,
            0,
            "WEBP RGB rotated",
        ),
        "webp animated": Kind(
            encoded(image, "WEBP", lossless=True, save_all=True, append_images=[other]), RGB, 0, "WEBP RGB"
        ),
        "gif": Kind(encoded(palette, "GIF"), palette_pixels, 0, "GIF P"),
        "gif animated": Kind(
            encoded(palette, "GIF", save_all=True, append_images=[other.quantize(16)]), palette_pixels, 0, "GIF P"
        ),
        "gif with a transparent colour": Kind(*transparent_gif(palette), 0, "GIF P transparent"),
        "tiff": Kind(encoded(image, "TIFF"), RGB, 0, "TIFF RGB"),
        "tiff of lzw": Kind(encoded(image, "TIFF", compression="tiff_lzw"), RGB, 0, "TIFF RGB"),
        "tiff 16 bits": Kind(encoded(Image.fromarray(DEEP), "TIFF"), deep_pixels, 0, "TIFF I;16"),
        "tiff cmyk": Kind(encoded(cmyk(), "TIFF"), cmyk_pixels, 1, "TIFF CMYK"),
        "tiff alpha": Kind(encoded(alpha, "TIFF"), on_white(RGB), 1, "TIFF RGBA"),
        "tiff of pages": Kind(encoded(image, "TIFF", save_all=True, append_images=[other]), RGB, 0, "TIFF RGB"),
        "tiff rotated": Kind(rotated_tiff(), RGB, 0, "TIFF RGB"),
        "tiff 1 bit": Kind(encoded(black_white, "TIFF"), black_white_pixels, 0, "TIFF 1"),
        "jpeg 2000": Kind(encoded(image, "JPEG2000", irreversible=False), RGB, 0, "JPEG2000 RGB"),
        "avif": Kind(encoded(image, "AVIF", quality=100, subsampling="4:4:4"), RGB, 8, "AVIF RGB"),
    }
    return in_place | converted


def wrong_checksum(png: bytes) -> bytes:
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    broken = bytearray(png)
    broken[start + 4 + length] ^= 0xFF
    return bytes(broken)


def transparent_gif(palette: Image.Image) -> tuple[bytes, np.ndarray]:
    shown = np.asarray(palette.convert("RGB")).copy()
    shown[np.asarray(palette) == 3] = 255
    return encoded(palette, "GIF", transparency=3), shown


def rotated_tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 3
    return encoded(Image.fromarray(RGB[::-1, ::-1]), "TIFF", tiffinfo=tags)


def os2_bmp() -> bytes:
    """A BMP with the header of 12 bytes, which TensorFlow would read as another size."""
    row = RGB[::-1, :, ::-1].reshape(HEIGHT, -1)
    padded = np.pad(row, ((0, 0), (0, -row.shape[1] % 4))).tobytes()
    return (
        b"BM"
        + struct.pack("<IHHI", 26 + len(padded), 0, 0, 26)
        + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
        + padded
    )
