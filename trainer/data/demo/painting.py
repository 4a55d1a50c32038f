"""Parts to pixels: paint, edges, relief and folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from trainer.data.demo.facts import COLOURS, ItemFacts
from trainer.data.demo.parts import Part
from trainer.data.demo.patterns import pattern_share
from trainer.data.demo.placing import Placing

__all__ = ["Painted", "Pixels", "paint", "smooth_noise"]

Pixels = npt.NDArray[np.float32]
_NEUTRALS = ((244, 243, 240), (226, 218, 204), (176, 178, 182), (62, 62, 66), (168, 118, 78))
_METALS = ((196, 200, 206), (212, 176, 96), (92, 94, 100), (206, 158, 138))
_FACES = ((244, 244, 240), (34, 36, 42), (232, 222, 200), (38, 54, 92))


@dataclass(frozen=True)
class Painted:
    """A garment on nothing.

    Attributes:
        colour: [S, S, 3] float32 in 0 to 255; outside the garment it is meaningless.
        cover: [S, S] uint8 mask, 255 on the garment.
    """

    colour: Pixels
    cover: Image.Image


def smooth_noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> Pixels:
    """[size, size] float32 of soft blotches in about -1 to 1; `cells` says how many across and down."""
    coarse = Image.fromarray(rng.uniform(-1.0, 1.0, (cells[1] + 1, cells[0] + 1)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


def _shade_of(rng: np.random.Generator, colour: str) -> Pixels:
    """A dye of that name: the shade differs a little from item to item."""
    base = np.asarray(COLOURS[colour], dtype=np.float32)
    return np.clip(base * rng.uniform(0.88, 1.10) + rng.normal(0.0, 7.0, 3), 12, 250).astype(np.float32)


def _second_colour(rng: np.random.Generator, first: str) -> str:
    """A colour that is told apart from the first."""
    base = np.asarray(COLOURS[first], dtype=np.float64)
    far = [name for name, value in COLOURS.items() if np.linalg.norm(np.asarray(value) - base) > 120.0]
    return str(rng.choice(far))


def _pots(rng: np.random.Generator, facts: ItemFacts, placing: Placing, size: int) -> dict[str, Pixels]:
    """Every paint: [3] float32, or [S, S, 3] float32 for the patterned fabric."""
    first = _shade_of(rng, facts.colour)
    second = _shade_of(rng, _second_colour(rng, facts.colour))
    share = pattern_share(facts.pattern, rng, *placing.units(size))[..., None]
    face = np.asarray(_FACES[rng.integers(len(_FACES))], dtype=np.float32)
    return {
        "fabric": first + (second - first) * share,
        "plain": first,
        "second": second,
        "inside": first * np.float32(0.45),
        "neutral": np.asarray(_NEUTRALS[rng.integers(len(_NEUTRALS))], dtype=np.float32),
        "metal": np.asarray(_METALS[rng.integers(len(_METALS))], dtype=np.float32),
        "face": face,
        "hands": np.float32(235.0) - face * np.float32(0.85),
    }


class _Canvas:
    """The colours laid down so far and where anything lies."""

    def __init__(self, size: int, light: npt.NDArray[np.float64], scale: float) -> None:
        self.size = size
        self.colour = np.zeros((size, size, 3), dtype=np.float32)
        self.cover = Image.new("L", (size, size))
        self._light = light
        self._scale = scale

    def _relief(self, mask: Image.Image, box: tuple[int, int, int, int], strength: float) -> Pixels:
        """Brighter towards the light, darker away from it, near the part's own edge: [h, w, 1]."""
        radius = max(1.0, 0.09 * self._scale)
        # The blur looks three radii around; the margin also gives a part of one pixel neighbours to slope towards.
        margin = int(3 * radius) + 2
        left, top, right, bottom = box
        wide = (
            max(left - margin, 0),
            max(top - margin, 0),
            min(right + margin, self.size),
            min(bottom + margin, self.size),
        )
        blurred = mask.crop(wide).filter(ImageFilter.GaussianBlur(radius))
        soft = np.asarray(blurred, dtype=np.float32) / 255.0
        down, across = np.gradient(soft)
        slope = (across * self._light[0] + down * self._light[1]) * radius * 2.2
        lit = np.asarray(((soft - 0.9) * 0.28 - slope * 0.38) * strength, dtype=np.float32)
        return lit[top - wide[1] : bottom - wide[1], left - wide[0] : right - wide[0], None]

    def lay(self, part: Part, pixels: npt.NDArray[np.float64], pot: Pixels | None) -> None:
        """Draws one part; no pot means a seam, which only changes what is there already."""
        mask = Image.new("L", (self.size, self.size))
        draw = ImageDraw.Draw(mask)
        corners = [tuple(point) for point in pixels]
        if part.stroke is None:
            draw.polygon(corners, fill=255)
        else:
            draw.line(corners, fill=255, width=max(1, round(part.stroke * self._scale)), joint="curve")
        box = mask.getbbox()
        if box is None:
            return
        left, top, right, bottom = box
        window = self.colour[top:bottom, left:right]
        share = np.asarray(mask.crop(box), dtype=np.float32)[..., None] / 255.0
        if pot is None:
            dark = window.mean(axis=2, keepdims=True) < 60.0
            window += share * np.where(dark, np.float32(26.0), window * np.float32(-0.3))
            return
        ink = (pot[top:bottom, left:right] if pot.ndim == 3 else pot) * np.float32(part.shade)
        if part.stroke is None:
            edge = Image.new("L", mask.size)
            width = max(1, round(0.016 * self._scale))
            ImageDraw.Draw(edge).line([*corners, corners[0]], fill=255, width=width)
            line = np.asarray(edge.crop(box), dtype=np.float32)[..., None] / 255.0
            ink = ink * (1.0 - 0.3 * line)
        if part.relief:
            lit = self._relief(mask, box, part.relief)
            ink = ink * (1.0 + lit) + lit * np.float32(24.0)
        window += share * (ink - window)
        self.cover.paste(255, mask=mask)


def paint(
    rng: np.random.Generator,
    parts: list[Part],
    facts: ItemFacts,
    placing: Placing,
    size: int,
    light: npt.NDArray[np.float64],
) -> Painted:
    """Paints a garment.

    Args:
        rng: where shades, pattern and folds come from.
        parts: the garment after `bent`.
        facts: its colour and pattern.
        placing: from garment units to pixels.
        size: pixels a side, already supersampled.
        light: [2] unit vector towards the light, in the picture.

    Returns:
        The garment's colours and mask.
    """
    pots = _pots(rng, facts, placing, size)
    canvas = _Canvas(size, light, placing.scale)
    for part in parts:
        canvas.lay(part, placing.pixels(part.points), None if part.paint == "seam" else pots[part.paint])
    folds = smooth_noise(rng, size, (int(rng.integers(4, 9)), int(rng.integers(2, 5))))
    if rng.random() < 0.5:
        folds = folds.T
    colour = canvas.colour * (1.0 + rng.uniform(0.04, 0.14) * folds[..., None])
    return Painted(colour=colour.astype(np.float32), cover=canvas.cover)
