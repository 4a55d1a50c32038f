"""Handbags, watches and hats."""

from __future__ import annotations

import numpy as np

from trainer.data.demo.parts import Part, Points, ellipse, outline, ribbon, rounded_box, symmetric

__all__ = ["handbag", "hat", "watch"]


def _handles(rng: np.random.Generator, half: float, top: float, *, wide: bool) -> list[Part]:
    """One or two top handles, or a long shoulder strap; `wide` ones start at the corners."""
    paint = "second" if rng.random() < 0.35 else "plain"
    reach = half * rng.uniform(0.45, 0.7)
    if rng.random() < 0.3:
        height, reach, width = rng.uniform(0.9, 1.3), half * 0.92, 0.05
    else:
        height, width = rng.uniform(0.45, 0.75), rng.uniform(0.06, 0.10)
    if wide:
        reach, top = half * 0.93, top - 0.12
    parts = []
    for shade, lift in ((0.72, 0.08), (0.9, 0.0)) if rng.random() < 0.6 else ((0.9, 0.0),):
        arc = outline((-reach, top + 0.1), (-reach, top - height - lift, reach, top - height - lift, reach, top + 0.1))
        parts.append(Part(ribbon(arc, width, width), paint, shade, relief=0.6))
    return parts


def handbag(rng: np.random.Generator) -> list[Part]:
    """A tote, a satchel with a flap, or a slouchy hobo; handles or a strap, a clasp, rivets."""
    half, top, bottom = rng.uniform(0.62, 0.9), rng.uniform(-0.3, -0.1), rng.uniform(0.55, 0.8)
    narrow = half * rng.uniform(0.72, 1.02)
    style = rng.choice(["tote", "satchel", "hobo"], p=[0.4, 0.4, 0.2])
    parts = _handles(rng, narrow, top, wide=style == "hobo")
    if style == "hobo":
        return [*parts, *_hobo(rng, half, narrow, top, bottom)]
    base = ((half * 1.02, bottom - 0.12), (half, bottom, half - 0.12, bottom), (0.0, bottom))
    parts.append(Part(symmetric((0.0, top), (narrow, top), *base), relief=1.0))
    if style == "satchel":
        drop = top + (bottom - top) * rng.uniform(0.4, 0.65)
        flap = symmetric(
            (0.0, top - 0.03), (narrow * 1.02, top - 0.03), (narrow * 1.04, drop - 0.1),
            (narrow * 0.9, drop + 0.05, 0.0, drop + 0.05),
        )  # fmt: skip
        clasp = rounded_box(-0.09, drop - 0.06, 0.09, drop + 0.12, 0.03)
        return [*parts, Part(flap, "fabric", 0.96, relief=0.9), Part(clasp, "metal", relief=0.7)]
    parts.append(Part(outline((-narrow, top + 0.08), (narrow, top + 0.08)), "seam", stroke=0.025))
    if rng.random() < 0.5:
        panel = symmetric((0.0, bottom - 0.26), (half * 0.98, bottom - 0.26), *base)
        parts.append(Part(panel, "second", 0.9, relief=0.5))
    for x in (-narrow * 0.55, narrow * 0.55):
        parts.append(Part(ellipse(x, top + 0.13, 0.045, 0.045), "metal", relief=0.5))
    return parts


def _hobo(rng: np.random.Generator, half: float, narrow: float, top: float, bottom: float) -> list[Part]:
    sag = rng.uniform(0.15, 0.3)
    sack = symmetric(
        (0.0, top + sag), (narrow * 0.7, top + sag, narrow * 0.86, top - 0.1), (narrow, top - 0.14),
        (half * 1.15, bottom * 0.7, half * 0.7, bottom + 0.1, 0.0, bottom + 0.1),
    )  # fmt: skip
    return [Part(sack, relief=1.0), Part(ellipse(0.0, top + 0.36, 0.06, 0.06), "metal", relief=0.6)]


def _case(rng: np.random.Generator, radius: float, square: bool) -> tuple[Points, Points]:
    """The outlines of the case and of the dial inside it."""
    rim = radius * rng.uniform(0.78, 0.86)
    if not square:
        return ellipse(0.0, 0.0, radius, radius), ellipse(0.0, 0.0, rim, rim)
    high, soft = radius * rng.uniform(0.95, 1.2), radius * rng.uniform(0.2, 0.5)
    shrink = rim / radius
    return (
        rounded_box(-radius * 0.9, -high, radius * 0.9, high, soft),
        rounded_box(-radius * 0.9 * shrink, -high * shrink, radius * 0.9 * shrink, high * shrink, soft * shrink),
    )


def watch(rng: np.random.Generator) -> list[Part]:
    """A round or a square case with a dial, hands and a crown, between two halves of a strap."""
    radius, width = rng.uniform(0.40, 0.56), rng.uniform(0.38, 0.56)
    reach, taper = rng.uniform(0.95, 1.25), rng.uniform(0.6, 0.85)
    square = bool(rng.random() < 0.3)
    links = rng.random() < 0.3
    parts = []
    for side in (1.0, -1.0):
        line = outline((0.0, radius * 0.6 * side), (0.0, reach * side))
        strap = ribbon(line, width, width * taper)
        parts.append(Part(strap, "plain" if links else "fabric", 0.97, relief=0.9))
        for y in np.linspace(radius + 0.12, reach - 0.08, 6 if links else 3):
            if links:
                parts.append(Part(outline((-width / 2, y * side), (width / 2, y * side)), "seam", stroke=0.03))
            elif side > 0:
                parts.append(Part(ellipse(0.0, y, 0.022, 0.03), "inside"))
    buckle = rounded_box(-width * taper * 0.6, -reach - 0.08, width * taper * 0.6, -reach + 0.04, 0.03)
    parts.append(Part(buckle, "metal", stroke=0.05))
    case, dial = _case(rng, radius, square)
    parts += [
        Part(rounded_box(radius * 0.8, -0.07, radius + 0.1, 0.07, 0.03), "metal", 0.9, relief=0.5),
        Part(case, "metal" if rng.random() < 0.7 else "plain", relief=1.0),
        Part(dial, "face"),
    ]
    marks = rng.choice([4, 12, 12])
    rim = radius * 0.66
    for turn in np.arange(marks) / marks:
        way = np.array([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)])
        parts.append(Part(outline(tuple(way * rim * 0.84), tuple(way * rim)), "hands", stroke=0.03))
    if rng.random() < 0.3:
        parts.append(Part(ellipse(0.0, radius * 0.32, 0.1, 0.1), "hands", stroke=0.02))
    for length, thick in ((0.50, 0.045), (0.82, 0.028)):
        turn = rng.uniform(0.0, 2 * np.pi)
        way = np.array([np.cos(turn), np.sin(turn)])
        parts.append(Part(outline((0.0, 0.0), tuple(way * rim * length)), "hands", stroke=thick))
    parts.append(Part(ellipse(0.0, 0.0, 0.035, 0.035), "hands"))
    return parts


def hat(rng: np.random.Generator) -> list[Part]:
    """A cap with a peak, a hat with a brim and a band, or a knitted beanie."""
    style = rng.choice(["cap", "brim", "beanie"], p=[0.5, 0.3, 0.2])
    if style == "cap":
        return _cap(rng)
    return _brimmed(rng) if style == "brim" else _beanie(rng)


def _cap(rng: np.random.Generator) -> list[Part]:
    high, peak, droop = rng.uniform(0.62, 0.82), rng.uniform(0.95, 1.25), rng.uniform(0.06, 0.22)
    dome = outline(
        (-0.72, 0.22), (-0.76, -high * 0.9, -0.3, -high, 0.0, -high), (0.42, -high, 0.58, -high * 0.4, 0.56, 0.2),
        (0.0, 0.34, -0.72, 0.22),
    )  # fmt: skip
    visor = outline(
        (0.02, 0.20), (0.3, 0.02, 0.58, 0.06), (peak, 0.08, peak, 0.2 + droop),
        (peak - 0.1, 0.26 + droop, 0.55, 0.36, 0.02, 0.30),
    )  # fmt: skip
    paint = "second" if rng.random() < 0.4 else "fabric"
    parts = [Part(dome, relief=1.0)]
    for at in (-0.42, 0.12, 0.42):
        parts.append(Part(outline((-0.02, -high), (at * 1.5, -high * 0.6, at, 0.26)), "seam", stroke=0.02))
    parts.append(Part(ellipse(-0.02, -high, 0.06, 0.035), paint, 0.85))
    parts.append(Part(visor, paint, 0.9, relief=0.9))
    for inset in (0.05, 0.1):
        stitch = outline((0.25, 0.16 + inset), (peak - 0.15, 0.1 + inset, peak - 0.06 - inset, 0.18 + droop))
        parts.append(Part(stitch, "seam", stroke=0.014))
    if rng.random() < 0.4:
        parts.append(Part(ellipse(0.26, -high * 0.35, 0.13, 0.13), "second", relief=0.4))
    return parts


def _brimmed(rng: np.random.Generator) -> list[Part]:
    high, crown, brim = rng.uniform(0.55, 0.8), rng.uniform(0.46, 0.56), rng.uniform(0.85, 1.1)
    dip = rng.uniform(0.0, 0.12)
    tip = 0.18 + rng.uniform(-0.12, 0.1)
    wide = symmetric((0.0, 0.12), (brim * 0.6, 0.1, brim, tip), (brim * 0.7, 0.48, 0.0, 0.48))
    dome = symmetric(
        (0.0, -high + dip), (crown * 0.4, -high - 0.1, crown * 0.9, -high * 0.9, crown, 0.24),
        (crown * 0.6, 0.36, 0.0, 0.36),
    )  # fmt: skip
    band = ribbon(outline((-crown * 0.99, 0.12), (0.0, 0.34, crown * 0.99, 0.12)), 0.16, 0.16)
    return [Part(wide, "fabric", 0.94, relief=0.9), Part(dome, relief=1.0), Part(band, "second", 0.9, relief=0.5)]


def _beanie(rng: np.random.Generator) -> list[Part]:
    high, half, cuff = rng.uniform(0.6, 0.85), rng.uniform(0.52, 0.66), rng.uniform(0.22, 0.34)
    dome = symmetric((0.0, -high), (half * 0.8, -high, half, -0.2, half, 0.3), (0.0, 0.3))
    low = 0.12 + cuff
    fold = symmetric((0.0, 0.16), (half * 1.06, 0.12), (half * 1.08, low), (half * 0.5, low + 0.08, 0.0, low + 0.08))
    parts = [Part(dome, relief=1.0)]
    if rng.random() < 0.5:
        bobble = ellipse(0.0, -high - 0.08, 0.17, 0.17)
        parts.insert(0, Part(bobble, "second" if rng.random() < 0.5 else "plain", relief=1.0))
    parts.append(Part(fold, "plain", 0.9, relief=0.9))
    for at in np.linspace(-0.85, 0.85, 9):
        parts.append(Part(outline((at * half, 0.18), (at * half * 1.04, low)), "seam", stroke=0.02))
    return parts
