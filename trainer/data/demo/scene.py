"""Around the garment: background, shadow, things in front, and the camera."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from trainer.data.demo.painting import Painted, Pixels, smooth_noise
from trainer.data.demo.parts import ellipse, outline, rounded_box

__all__ = ["background", "cast_shadow", "exposed", "with_props"]

# Background to its share of the pictures, the same for every type.
_ROOMS = {"studio": 0.35, "wall": 0.17, "gradient": 0.14, "texture": 0.10, "floor": 0.12, "clutter": 0.12}


def _tone(rng: np.random.Generator, low: float, high: float, vivid: float) -> Pixels:
    """A random colour between two brightnesses; `vivid` bounds how far it departs from grey."""
    grey = rng.uniform(low, high)
    return np.clip(grey + rng.uniform(-vivid, vivid, 3), 5, 252).astype(np.float32)


def _random_shape(rng: np.random.Generator, size: int, reach: tuple[float, float]) -> list[tuple[float, float]]:
    """A leaf, a disc, a box or a strip somewhere in the picture, as polygon corners."""
    kind = rng.integers(4)
    if kind == 0:
        points = outline((-1.0, 0.0), (0.0, -0.75, 1.0, 0.0), (0.0, 0.75, -1.0, 0.0))
    elif kind == 1:
        points = ellipse(0.0, 0.0, 1.0, rng.uniform(0.6, 1.0))
    elif kind == 2:
        points = rounded_box(-1.0, -rng.uniform(0.4, 1.0), 1.0, rng.uniform(0.4, 1.0), 0.2)
    else:
        points = rounded_box(-3.0, -0.18, 3.0, 0.18, 0.1)
    angle = rng.uniform(0.0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = points @ turn * (rng.uniform(*reach) * size) + rng.uniform(0.0, 1.0, 2) * size
    return [tuple(point) for point in placed]


def background(rng: np.random.Generator, size: int) -> Pixels:
    """What the garment stands before, one of `_ROOMS`: [size, size, 3] float32."""
    kind = str(rng.choice(list(_ROOMS), p=list(_ROOMS.values())))
    plain = np.ones((size, size, 1), dtype=np.float32)
    if kind == "studio":
        return plain * _tone(rng, 236, 250, 4)
    base, other = _tone(rng, 130, 238, 24), _tone(rng, 130, 238, 24)
    if kind == "wall":
        return plain * base
    if kind == "gradient":
        angle = rng.uniform(0.0, 2 * np.pi)
        at = np.linspace(-0.7, 0.7, size, dtype=np.float32)
        share = np.clip(0.5 + np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None], 0.0, 1.0)[..., None]
        return np.asarray(base + (other - base) * share, dtype=np.float32)
    if kind == "texture":
        grain = smooth_noise(rng, size, (int(rng.integers(3, 40)), int(rng.integers(3, 40))))[..., None]
        return np.asarray(plain * base + grain * rng.uniform(8.0, 26.0), dtype=np.float32)
    picture = Image.new("RGB", (size, size), _ink(base))
    draw = ImageDraw.Draw(picture)
    if kind == "floor":
        horizon = rng.uniform(0.55, 0.85) * size
        slope = rng.normal(0.0, 0.03) * size
        draw.polygon([(0, horizon - slope), (size, horizon + slope), (size, size), (0, size)], fill=_ink(other))
    else:
        for _ in range(int(rng.integers(3, 9))):
            draw.polygon(_random_shape(rng, size, (0.06, 0.3)), fill=_ink(_tone(rng, 100, 240, 40)))
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.02) * size))
    return np.asarray(picture, dtype=np.float32)


def _ink(colour: Pixels) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def cast_shadow(rng: np.random.Generator, behind: Pixels, painted: Painted, light: npt.NDArray[np.float64]) -> Pixels:
    """The garment before its background, with the shadow it throws away from the light."""
    size = painted.cover.width
    throw = -light * rng.uniform(0.01, 0.045) * size
    shadow = Image.new("L", (size, size))
    shadow.paste(painted.cover, (round(throw[0]), round(throw[1])))
    shadow = shadow.filter(ImageFilter.GaussianBlur(rng.uniform(0.01, 0.035) * size))
    dark = np.asarray(shadow, dtype=np.float32)[..., None] * np.float32(rng.uniform(0.15, 0.45) / 255.0)
    share = np.asarray(painted.cover, dtype=np.float32)[..., None] / np.float32(255.0)
    return np.asarray(behind * (1.0 - dark) * (1.0 - share) + painted.colour * share, dtype=np.float32)


def with_props(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """In a fifth of the pictures, something lies in front of the garment."""
    if rng.random() >= 0.2:
        return picture
    size = picture.shape[0]
    for _ in range(int(rng.integers(1, 3))):
        mask = Image.new("L", (size, size))
        ImageDraw.Draw(mask).polygon(_random_shape(rng, size, (0.05, 0.11)), fill=255)
        shadow = mask.filter(ImageFilter.GaussianBlur(0.012 * size))
        picture = picture * (1.0 - np.asarray(shadow, dtype=np.float32)[..., None] * np.float32(0.3 / 255.0))
        share = np.asarray(mask, dtype=np.float32)[..., None] / np.float32(255.0)
        picture = picture + share * (_tone(rng, 70, 230, 50) - picture)
    return picture


def exposed(rng: np.random.Generator, scene: Pixels, image_size: int, comment: bytes) -> bytes:
    """What the camera makes of the scene: uneven light, white balance, blur, noise, JPEG.

    Args:
        rng: where all of that comes from.
        scene: [S, S, 3] float32 in 0 to 255, supersampled.
        image_size: pixels a side of the picture.
        comment: kept in the file.

    Returns:
        The bytes of an RGB JPEG file.
    """
    sharp = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)).resize((image_size,) * 2, Image.Resampling.BOX)
    soft = sharp.filter(ImageFilter.GaussianBlur(max(0.0, rng.uniform(-0.4, 0.8)) * image_size / 96.0))
    light = 1.0 + rng.uniform(0.0, 0.12) * smooth_noise(rng, image_size, (2, 2))[..., None]
    balance = rng.normal(1.0, 0.035, 3) * rng.uniform(0.90, 1.10)
    seen = np.asarray(soft, dtype=np.float32) * light * balance
    seen = (seen - 128.0) * rng.uniform(0.82, 1.10) + 128.0 + rng.normal(0.0, rng.uniform(0.5, 5.0), seen.shape)
    file = io.BytesIO()
    picture = Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))
    picture.save(file, format="JPEG", quality=int(rng.integers(60, 95)), comment=comment)
    return file.getvalue()
