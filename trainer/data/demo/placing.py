"""Where the garment stands before the camera: flip, cloth bend, rotation, perspective, size, position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.data.demo.parts import Part, Points, moved

__all__ = ["Placing", "bent", "place"]

_ROTATION_DEGREES = 9.0
_EXTENT = (0.70, 0.92)


@dataclass(frozen=True)
class Placing:
    """A homography from garment units to pixels.

    Attributes:
        matrix: [3, 3] float64.
        scale: pixels a garment unit, about the middle of the garment.
    """

    matrix: npt.NDArray[np.float64]
    scale: float

    def pixels(self, points: Points) -> Points:
        """[N, 2] garment units to [N, 2] pixels."""
        return _project(self.matrix, points)

    def units(self, size: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The garment units (u, v) of every pixel of a size x size picture, each [size, size] float32."""
        back = np.linalg.inv(self.matrix).astype(np.float32)
        at = np.arange(size, dtype=np.float32) + np.float32(0.5)
        x, y = at[None, :], at[:, None]
        depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
        u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth
        v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth
        return u, v


def _project(matrix: npt.NDArray[np.float64], points: Points) -> Points:
    flat = points @ matrix[:, :2].T + matrix[:, 2]
    return flat[:, :2] / flat[:, 2:]


def _normalised(parts: list[Part]) -> list[Part]:
    """The garment centred, its longer side two units, so that no type is larger than another."""
    points = np.concatenate([part.points for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    scale, middle = 2.0 / float((high - low).max()), (low + high) / 2.0
    return moved(moved(parts, -middle[0], -middle[1]), 0.0, 0.0, scale=scale)


def bent(rng: np.random.Generator, parts: list[Part]) -> list[Part]:
    """The garment at its common size, with the small waves and the change of proportions that cloth has."""
    parts = _normalised(parts)
    wave = rng.uniform(-0.035, 0.035, (2, 2))
    phase = rng.uniform(0.0, 2 * np.pi, (2, 2))
    pace = rng.uniform(1.5, 3.2, (2, 2))
    stretch = rng.uniform(0.90, 1.10)

    def bend(points: Points) -> Points:
        x, y = points[:, 0] * stretch, points[:, 1] / stretch
        across = wave[0, 0] * np.sin(pace[0, 0] * y + phase[0, 0]) + wave[0, 1] * np.sin(pace[0, 1] * x + phase[0, 1])
        down = wave[1, 0] * np.sin(pace[1, 0] * x + phase[1, 0]) + wave[1, 1] * np.sin(pace[1, 1] * y + phase[1, 1])
        return np.stack([x + across, y + down], axis=1)

    return [replace(part, points=bend(part.points)) for part in parts]


def place(rng: np.random.Generator, parts: list[Part], size: int) -> Placing:
    """A homography that shows the whole garment, or nearly, in a size x size picture.

    Args:
        rng: where the pose comes from.
        parts: the garment after `bent`.
        size: pixels a side.

    Returns:
        The placing.
    """
    angle = np.radians(np.clip(rng.normal(0.0, _ROTATION_DEGREES), -25.0, 25.0))
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    shear = np.array([[flip, rng.normal(0.0, 0.05), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [*rng.normal(0.0, 0.05, 2), 1.0]])
    pose = tilt @ turn @ shear
    seen = _project(pose, np.concatenate([part.points for part in parts]))
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = rng.uniform(*_EXTENT)
    scale = extent * size / float((high - low).max())
    # The room left on the longer side bounds the shift, so the garment's edge leaves the frame by a little at most.
    slack = (1.0 - extent) / 2.0 + 0.015
    middle = (low + high) / 2.0 * scale
    shift = size * (0.5 + rng.uniform(-slack, slack, 2)) - middle
    fit = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]], [0.0, 0.0, 1.0]])
    return Placing(matrix=fit @ pose, scale=scale)
