"""What a garment is drawn from: outlines in garment units, each with the paint it takes.

Garment units: x to the right, y downwards, the garment roughly between -1 and 1. The canvas fits the parts to the
picture afterwards, so a silhouette cares for proportions only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Part", "Points", "ellipse", "mirrored", "moved", "outline", "ribbon", "rounded_box", "symmetric"]

Points = npt.NDArray[np.float64]

_STEPS_PER_CURVE = 14


@dataclass(frozen=True)
class Part:
    """One filled outline, or one stroke where `stroke` is given.

    Attributes:
        points: [N, 2] float64, garment units.
        paint: `fabric` (colour and pattern), `plain` (the colour alone), `second` (the second colour), `neutral`
            (soles, laces), `metal`, `inside` (the shaded inner side of the fabric), `face` and `hands` (of a watch),
            `seam` (a thin line that changes what lies below it and never widens the silhouette).
        shade: factor on the paint's brightness.
        stroke: width of the line in garment units; None fills the outline.
        relief: how strongly the part's own edge is lit, 0 to 1.
    """

    points: Points
    paint: str = "fabric"
    shade: float = 1.0
    stroke: float | None = None
    relief: float = 0.0


def outline(start: tuple[float, float], *steps: tuple[float, ...]) -> Points:
    """Points along a path.

    Args:
        start: the first point.
        *steps: (x, y) for a straight line to there, (cx, cy, x, y) for a quadratic Bezier curve with control point
            (cx, cy), (c1x, c1y, c2x, c2y, x, y) for a cubic one.

    Returns:
        [N, 2] float64.
    """
    pieces = [np.asarray([start], dtype=np.float64)]
    here = np.asarray(start, dtype=np.float64)
    at = np.linspace(0.0, 1.0, _STEPS_PER_CURVE + 1)[1:, None]
    for step in steps:
        way = np.asarray(step, dtype=np.float64).reshape(-1, 2)
        end = way[-1]
        if len(way) == 1:
            pieces.append(way)
        elif len(way) == 2:
            pieces.append((1 - at) ** 2 * here + 2 * at * (1 - at) * way[0] + at**2 * end)
        else:
            near, far = way[0], way[1]
            pieces.append(
                (1 - at) ** 3 * here + 3 * at * (1 - at) ** 2 * near + 3 * at**2 * (1 - at) * far + at**3 * end
            )
        here = end
    return np.concatenate(pieces)


def mirrored(half: Points) -> Points:
    """Closes a right half, which runs from the axis to the axis, with its mirror image at x = 0."""
    return np.concatenate([half, half[::-1] * (-1.0, 1.0)])


def symmetric(start: tuple[float, float], *steps: tuple[float, ...]) -> Points:
    """A closed outline from its right half, given as `outline` takes it."""
    return mirrored(outline(start, *steps))


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """An ellipse around (x, y)."""
    angle = 2.0 * np.pi * np.linspace(0.0, 1.0, 40)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def rounded_box(left: float, top: float, right: float, bottom: float, radius: float) -> Points:
    """A box with round corners."""
    r = min(radius, (right - left) / 2, (bottom - top) / 2)
    return outline(
        (left + r, top),
        (right - r, top),
        (right, top, right, top + r),
        (right, bottom - r),
        (right, bottom, right - r, bottom),
        (left + r, bottom),
        (left, bottom, left, bottom - r),
        (left, top + r),
        (left, top, left + r, top),
    )


def ribbon(line: Points, start_width: float, end_width: float) -> Points:
    """The outline of a band along `line`, as wide as told at both ends: sleeves, straps, strings."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = along[:, ::-1] * (-1.0, 1.0)
    half = np.linspace(start_width, end_width, len(line))[:, None] / 2.0
    return np.concatenate([line + across * half, (line - across * half)[::-1]])


def moved(parts: list[Part], x: float, y: float, *, scale: float = 1.0, shade: float = 1.0) -> list[Part]:
    """The same parts, scaled about the origin, then shifted, with their brightness changed."""
    return [
        replace(
            part,
            points=part.points * scale + (x, y),
            shade=part.shade * shade,
            stroke=None if part.stroke is None else part.stroke * scale,
        )
        for part in parts
    ]
