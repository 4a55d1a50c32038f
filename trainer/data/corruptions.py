"""What happens to a shopper's photo and not to a catalogue's picture, done to catalogue pictures.

Each corruption has two strengths, 1 and 2, and depends on nothing but the picture and the generator of its draws. Sizes
are shares of the shorter side, so that a large picture is spoilt as a small one is. In the spirit of D. Hendrycks,
T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019, with what
matters in front of a shop: framing, tilt and background beside noise and compression.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from trainer.config.robustness import CorruptionName
from trainer.data.backdrop import find_backdrop

__all__ = ["CORRUPTIONS", "CORRUPTIONS_VERSION", "STRENGTHS", "Corruption", "corrupt_picture"]

CORRUPTIONS_VERSION = "1"
"""To be raised when a corruption changes, so that nothing measured with it before is used any longer."""

STRENGTHS = (1, 2)

_Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray | None]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        settings: what strength 1 and strength 2 are, in words.
        change: from a picture uint8 `[H, W, 3]`, a strength and a generator to a picture of the same dtype; None where
            it cannot be done to this picture.
    """

    settings: tuple[str, str]
    change: _Change


def corrupt_picture(
    picture: np.ndarray, corruption: CorruptionName, strength: int, *, seed: int, identity: str
) -> np.ndarray | None:
    """A picture after one corruption.

    Args:
        picture: uint8 `[H, W, 3]`.
        corruption: a key of `CORRUPTIONS`.
        strength: 1 or 2.
        seed: of the run.
        identity: the item's id. The same seed, corruption and id give the same draws, at both strengths.

    Returns:
        uint8 `[h, w, 3]`, of the same size but for `crop`; None where the corruption does not apply to the picture.
    """
    key = hashlib.sha256(f"{seed}/{corruption}/{identity}".encode()).digest()
    draws = np.random.default_rng(np.frombuffer(key, np.uint32))
    return CORRUPTIONS[corruption].change(picture, strength, draws)


def _jpeg(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """Saved once more as JPEG, colours at half the resolution."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=(30, 10)[strength - 1], subsampling="4:2:0")
    return np.asarray(Image.open(content))


def _blur(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian."""
    radius = (0.01, 0.02)[strength - 1] * min(picture.shape[:2])
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


_WHITE_ELECTRONS = 2000.0
"""What a small sensor's pixel collects from white at the right exposure: the scale of shot noise."""
_READ_ELECTRONS = 3.0


def _low_light(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """Too little light, not brightened afterwards: linear light is divided, shot and read noise are added."""
    stops = (2, 4)[strength - 1]
    light = _linear(picture / np.float32(255.0)) * (_WHITE_ELECTRONS / 2**stops)
    electrons = draws.poisson(light) + draws.normal(0.0, _READ_ELECTRONS, picture.shape)
    return _levels(_encoded(np.clip(electrons / _WHITE_ELECTRONS, 0.0, 1.0)) * 255.0)


def _crop(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """A window of a share of each side, anywhere."""
    share = (0.8, 0.6)[strength - 1]
    size = [max(1, round(share * side)) for side in picture.shape[:2]]
    top, left = (int(draws.random() * (side - cut + 1)) for side, cut in zip(picture.shape, size, strict=False))
    return picture[top : top + size[0], left : left + size[1]]


def _rotation(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """Tilted to either side, the corners in the border's usual colour."""
    angle = (15.0, 45.0)[strength - 1] * (1.0 if draws.random() < 0.5 else -1.0)
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    fill = tuple(int(level) for level in np.median(rim, axis=0))
    turned = Image.fromarray(picture).rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)
    return np.asarray(turned)


def _background(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray | None:
    """Another backdrop: a colour; or cloudy texture on a slope from one colour to another."""
    parts = find_backdrop(picture)
    if parts is None:
        return None
    first, second = _colour(draws), _colour(draws)
    if strength == 1:
        return parts.replaced(first)
    height, width = picture.shape[:2]
    angle = draws.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    slope = (x * np.cos(angle) + y * np.sin(angle)) / 4.0
    mixed = np.clip(0.5 + slope + _clouds(height, width, draws), 0.0, 1.0)[..., None]
    return parts.replaced(first * (1.0 - mixed) + second * mixed)


def _grey(picture: np.ndarray, strength: int, draws: np.random.Generator) -> np.ndarray:
    """Half the saturation, or none."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(picture)).enhance((0.5, 0.0)[strength - 1]))


def _colour(draws: np.random.Generator) -> np.ndarray:
    """A colour float32 `[3]`, 0 to 255, neither near white nor black."""
    hue, saturation, value = draws.random(), draws.uniform(0.2, 0.8), draws.uniform(0.25, 0.85)
    return np.asarray(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255.0


def _clouds(height: int, width: int, draws: np.random.Generator) -> np.ndarray:
    """float32 `[height, width]` around 0: noise of four sizes, the coarser the stronger."""
    total = np.zeros((height, width), np.float32)
    for octave in range(4):
        cells = 4 * 2**octave
        coarse = Image.fromarray(draws.standard_normal((cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * np.float32(0.25 / 2**octave)
    return total


def _linear(encoded: np.ndarray) -> np.ndarray:
    """sRGB values in `[0, 1]` to linear light (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0.0, 255.0)).astype(np.uint8)


CORRUPTIONS: Mapping[CorruptionName, Corruption] = {
    "jpeg": Corruption(("quality 30", "quality 10"), _jpeg),
    "blur": Corruption(("sigma 1 %", "sigma 2 %"), _blur),
    "low_light": Corruption(("2 stops", "4 stops"), _low_light),
    "crop": Corruption(("80 % of each side", "60 % of each side"), _crop),
    "rotation": Corruption(("15 degrees", "45 degrees"), _rotation),
    "background": Corruption(("another colour", "texture"), _background),
    "grey": Corruption(("half the colour", "no colour"), _grey),
}
