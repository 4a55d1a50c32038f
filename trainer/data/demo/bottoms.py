"""Skirts and trousers: a waistband and what hangs from it."""

from __future__ import annotations

import numpy as np

from trainer.data.demo.parts import Part, ellipse, outline, ribbon, symmetric

__all__ = ["skirt", "trousers"]


def _waistband(rng: np.random.Generator, waist: float, top: float, depth: float) -> list[Part]:
    band = symmetric(
        (0.0, top + 0.03), (waist * 0.7, top + 0.03, waist, top), (waist * 1.02, top + depth),
        (0.0, top + depth + 0.03),
    )  # fmt: skip
    paint = "second" if rng.random() < 0.2 else "plain"
    return [
        Part(ellipse(0.0, top + 0.01, waist * 0.99, 0.05), "inside"),
        Part(band, paint, 0.9, relief=0.5),
    ]


def skirt(rng: np.random.Generator) -> list[Part]:
    """Pencil, A-line or flared; pleats, tiers or a row of buttons."""
    waist, hem = rng.uniform(0.26, 0.36), rng.uniform(0.36, 0.95)
    top, length = -0.7, rng.uniform(0.15, 0.95)
    hip = max(waist * 1.1, waist + (hem - waist) * rng.uniform(0.3, 0.7))
    wave = rng.uniform(0.04, 0.14)
    cloth = symmetric(
        (0.0, top + 0.1), (waist, top + 0.1), (hip, top + 0.35, hem, length - 0.35, hem, length),
        (hem * 0.55, length + wave, 0.0, length + wave),
    )  # fmt: skip
    parts = [Part(cloth, relief=1.0)]
    finish = rng.choice(["pleats", "folds", "tiers", "buttons"])
    if finish in ("pleats", "folds"):
        count = int(rng.integers(8, 13)) if finish == "pleats" else int(rng.integers(3, 6))
        for at in np.linspace(-0.9, 0.9, count):
            start = top + 0.12 if finish == "pleats" else top + rng.uniform(0.2, 0.5)
            fold = outline((at * waist, start), (at * hip, (start + length) / 2, at * hem, length + wave * (1 - at**2)))
            parts.append(Part(fold, "seam", stroke=0.018))
    elif finish == "tiers":
        for part in (0.36, 0.68):
            y, half = top + part * (length - top), waist + (hem - waist) * part * 1.05
            tier = outline((-half, y), (0.0, y + wave * 1.5, half, y))
            parts.append(Part(tier, "seam", stroke=0.03))
    else:
        parts.append(Part(outline((0.0, top + 0.1), (0.0, length + wave)), "seam", stroke=0.02))
        for y in np.linspace(top + 0.2, length - 0.1, 5):
            parts.append(Part(ellipse(0.05, y, 0.03, 0.03), "neutral"))
    return parts + _waistband(rng, waist, top, rng.uniform(0.09, 0.15))


def trousers(rng: np.random.Generator) -> list[Part]:
    """Slim, straight or flared legs, at times cut to shorts; fly, pockets, belt loops, crease."""
    waist = rng.uniform(0.30, 0.40)
    hip = waist * rng.uniform(1.10, 1.25)
    short = rng.random() < 0.15
    length = rng.uniform(-0.02, 0.25) if short else rng.uniform(1.0, 1.4)
    top, crotch = -0.9, rng.uniform(-0.30, -0.18)
    spread = rng.uniform(0.04, 0.22) if not short else 0.1
    knee, ankle = rng.uniform(0.20, 0.27), rng.uniform(0.14, 0.32)
    if short:
        ankle = rng.uniform(0.32, 0.40)
    parts = []
    for side in (1.0, -1.0):
        inner = spread / 2 + rng.normal(0.0, 0.02)
        middle = (crotch + length) / 2
        leg = outline(
            (-0.01, top + 0.1), (waist, top + 0.1), (hip, top + 0.25, hip, crotch),
            (inner + knee + 0.08, middle, inner + ankle, length), (inner, length + 0.03),
            (inner * 0.4 + 0.04, middle, 0.0, crotch), (-0.01, crotch),
        )  # fmt: skip
        parts.append(Part(leg * (side, 1.0), "fabric", 1.0 if side > 0 else 0.96, relief=1.0))
        if rng.random() < 0.5:
            crease = outline((waist * 0.55, top + 0.3), (inner + ankle * 0.55, middle, inner + ankle * 0.5, length))
            parts.append(Part(crease * (side, 1.0), "seam", stroke=0.014))
        pocket = outline((waist * 0.62, top + 0.12), (waist * 0.72, top + 0.36, hip * 0.98, top + 0.38))
        parts.append(Part(pocket * (side, 1.0), "seam", stroke=0.022))
        cuff = outline((inner + ankle, length - 0.07), (inner + 0.01, length - 0.04))
        parts.append(Part(cuff * (side, 1.0), "seam", stroke=0.018))
    fly = outline((0.0, top + 0.1), (0.0, crotch))
    parts += [
        Part(fly, "seam", stroke=0.022),
        Part(outline((0.07, top + 0.1), (0.08, crotch - 0.12, 0.0, crotch - 0.05)), "seam", stroke=0.014),
        *_waistband(rng, waist, top, 0.12),
    ]
    for at in (-0.75, -0.3, 0.3, 0.75):
        loop = outline((at * waist, top), (at * waist, top + 0.15))
        parts.append(Part(ribbon(loop, 0.04, 0.04), "plain", 0.78))
    parts.append(Part(ellipse(0.0, top + 0.09, 0.03, 0.03), "metal"))
    return parts
