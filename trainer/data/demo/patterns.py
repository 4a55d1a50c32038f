"""The cloth's pattern: how much of the second colour each point of the garment takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["pattern_share"]

Plane = npt.NDArray[np.float32]

_HALF_ROOT = np.float32(0.5**0.5)


def _bands(along: Plane, period: float, filled: float, phase: float) -> Plane:
    return ((along / period + phase) % 1.0 < filled).astype(np.float32)


def _striped(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    return _bands(v, rng.uniform(0.14, 0.34), rng.uniform(0.3, 0.55), rng.random())


def _pinstriped(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    return _bands(u, rng.uniform(0.10, 0.24), rng.uniform(0.2, 0.4), rng.random())


def _checked(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    period, filled = rng.uniform(0.18, 0.36), rng.uniform(0.3, 0.5)
    both = _bands(u, period, filled, rng.random()) + _bands(v, period, filled, rng.random())
    return (both * 0.45).astype(np.float32)


def _scattered(
    rng: np.random.Generator, u: Plane, v: Plane, period: float, jitter: float
) -> tuple[Plane, Plane, Plane]:
    """Offsets of each point from the centre of its cell's blob, and a random number a cell."""
    column, row = np.floor(u / period), np.floor(v / period)
    cell = (column.astype(np.int32) % 16, row.astype(np.int32) % 16)
    shift = rng.uniform(-jitter, jitter, (2, 16, 16)).astype(np.float32)
    chance = rng.random((16, 16)).astype(np.float32)
    return u / period - column - 0.5 + shift[0][cell], v / period - row - 0.5 + shift[1][cell], chance[cell]


def _dotted(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    x, y, _ = _scattered(rng, (u + v) * _HALF_ROOT, (v - u) * _HALF_ROOT, rng.uniform(0.14, 0.26), 0.0)
    return (np.hypot(x, y) < rng.uniform(0.22, 0.34)).astype(np.float32)


def _floral(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    x, y, chance = _scattered(rng, u, v, rng.uniform(0.22, 0.38), 0.14)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    petals = 0.24 + 0.10 * np.cos(5.0 * angle + 6.28 * chance)
    bloom = (distance < petals * (0.7 + 0.5 * chance)) & (distance > 0.07)
    return (bloom & (chance < 0.85)).astype(np.float32)


def _ombre(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    slant = rng.uniform(-0.3, 0.3)
    return np.asarray(np.clip((v + slant * u + 0.6) / 1.2, 0.0, 1.0) * 0.9, dtype=np.float32)


def _printed(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """A badge, a star or two bars in one place of the garment."""
    x, y = u - rng.uniform(-0.25, 0.25), v - rng.uniform(-0.3, 0.1)
    size = rng.uniform(0.16, 0.28)
    kind = rng.integers(3)
    if kind == 0:
        distance = np.hypot(x, y)
        shown = (distance < size) & ((distance < size * 0.55) | (distance > size * 0.75))
    elif kind == 1:
        shown = np.hypot(x, y) < size * (0.75 + 0.35 * np.cos(5.0 * np.arctan2(y, x) + np.pi / 2))
    else:
        shown = (np.abs(x) < size * 1.1) & (np.abs(np.abs(y) - size / 2) < size * 0.28)
    return np.asarray(shown, dtype=np.float32)


_SHARES = {
    "Striped": _striped,
    "Pinstriped": _pinstriped,
    "Checked": _checked,
    "Dotted": _dotted,
    "Floral": _floral,
    "Ombre": _ombre,
    "Printed": _printed,
}


def pattern_share(pattern: str, rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """How much of the second colour shows.

    Args:
        pattern: a key of `facts.PATTERNS`.
        rng: where the pattern's measures come from.
        u: [H, W] float32, each pixel's garment unit to the right.
        v: [H, W] float32, each pixel's garment unit downwards.

    Returns:
        [H, W] float32 in 0 to 1.
    """
    if pattern == "Plain":
        return np.zeros_like(u)
    return _SHARES[pattern](rng, u, v)
