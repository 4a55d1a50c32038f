"""T-shirts, shirts, hoodies and dresses: a body with a neckline, sleeves under it, and what tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.data.demo.parts import Part, Points, ellipse, mirrored, outline, ribbon, rounded_box, symmetric

__all__ = ["dress", "hoodie", "shirt", "t_shirt"]


@dataclass(frozen=True)
class _Body:
    """Half widths and heights of a top, in garment units."""

    neck: float
    neck_depth: float
    pointed_neck: bool
    shoulder: float
    chest: float
    waist: float
    hem: float
    armpit: float
    length: float
    hem_curve: float

    @classmethod
    def drawn_by(cls, rng: np.random.Generator, **fixed: float) -> _Body:
        """Proportions of one top; `fixed` overrides what the kind of garment settles."""
        chest = rng.uniform(0.42, 0.56)
        drawn = {
            "neck": rng.uniform(0.17, 0.24),
            "neck_depth": rng.uniform(0.10, 0.26),
            "shoulder": chest * rng.uniform(0.96, 1.06),
            "chest": chest,
            "waist": chest * rng.uniform(0.84, 1.02),
            "hem": chest * rng.uniform(0.96, 1.10),
            "armpit": rng.uniform(-0.40, -0.26),
            "length": rng.uniform(0.55, 0.95),
            "hem_curve": rng.uniform(-0.02, 0.06),
        }
        pointed = bool(rng.random() < 0.35)
        return cls(pointed_neck=pointed, **{**drawn, **fixed})

    def neckline(self) -> Points:
        """The right half of the neckline, from the axis up to the shoulder."""
        bottom = -0.85 + self.neck_depth
        if self.pointed_neck:
            return outline((0.0, bottom + 0.06), (self.neck * 0.45, bottom - 0.06, self.neck, -0.85))
        return outline((0.0, bottom), (self.neck * 0.85, bottom, self.neck, -0.85))

    def outline(self) -> Points:
        """The closed outline of the body without its sleeves."""
        middle = (self.armpit + self.length) / 2.0
        rest = outline(
            (self.neck, -0.85),
            (self.shoulder, -0.74),
            (self.shoulder - 0.06, -0.55, self.chest, self.armpit),
            (self.waist, middle - 0.1, self.waist, middle, self.hem, self.length),
            (self.hem * 0.5, self.length + self.hem_curve, 0.0, self.length + self.hem_curve),
        )
        return mirrored(np.concatenate([self.neckline(), rest]))

    def back_of_neck(self) -> Part:
        """The inner side that shows through the neck opening."""
        deep = -0.85 + self.neck_depth + 0.05
        half = outline((0.0, -0.89), (self.neck * 0.7, -0.89, self.neck, -0.85), (self.neck * 0.9, deep, 0.0, deep))
        return Part(mirrored(half), "inside")


def _sleeves(rng: np.random.Generator, body: _Body, length: float, width: float, cuff: str | None) -> list[Part]:
    """Both sleeves, hanging at nearly the same angle, with a cuff in the paint `cuff`."""
    parts = []
    hang = np.radians(rng.uniform(12.0, 32.0) if length > 0.7 else rng.uniform(22.0, 58.0))
    for side in (1.0, -1.0):
        angle = hang + np.radians(rng.normal(0.0, 3.0))
        along = np.array([np.sin(angle), np.cos(angle)])
        across = np.array([along[1], -along[0]])
        shoulder = np.array([body.shoulder, -0.74])
        armpit = np.array([body.chest, body.armpit])
        end = shoulder + along * length - across * (width * 0.25)
        outer, inner = end + across * width / 2, end - across * width / 2
        bend = shoulder + along * length * 0.3 + across * 0.06
        sleeve = outline(
            (body.shoulder - 0.14, -0.77), tuple(shoulder), (*bend, *outer), tuple(inner), tuple(armpit),
            (body.chest - 0.12, body.armpit),
        )  # fmt: skip
        parts.append(Part(sleeve * (side, 1.0), "fabric", 0.95, relief=0.8))
        band = outline(tuple(outer), tuple(inner))
        if cuff is None:
            parts.append(Part((band - along * 0.05) * (side, 1.0), "seam", stroke=0.014))
        else:
            depth = along * (0.12 if length > 0.7 else 0.06)
            cuff_box = np.concatenate([band, (band - depth)[::-1]])
            parts.append(Part(cuff_box * (side, 1.0), cuff, 0.88, relief=0.5))
    return parts


def _hem_seam(body: _Body, above: float) -> Part:
    y = body.length - above
    width = body.hem * 0.985
    return Part(outline((-width, y), (0.0, y + 2 * body.hem_curve, width, y)), "seam", stroke=0.014)


def t_shirt(rng: np.random.Generator) -> list[Part]:
    """Crew or V neck, mostly short sleeves, a ribbed neckline that is sometimes of the second colour."""
    body = _Body.drawn_by(rng)
    long = rng.random() < 0.15
    ringer = "second" if rng.random() < 0.3 else "plain"
    length = rng.uniform(0.95, 1.15) if long else rng.uniform(0.26, 0.52)
    width = rng.uniform(0.20, 0.25) if long else rng.uniform(0.30, 0.40)
    parts = [body.back_of_neck()]
    parts += _sleeves(rng, body, length, width, ringer if ringer == "second" else None)
    parts += [Part(body.outline(), relief=1.0), _hem_seam(body, 0.06)]
    half = body.neckline()
    rim = np.concatenate([(half * (-1.0, 1.0))[::-1], half[1:]])
    parts.append(Part(rim, ringer, 0.84, stroke=0.05))
    if rng.random() < 0.2:
        parts += _chest_pocket(rng, body)
    return parts


def _chest_pocket(rng: np.random.Generator, body: _Body) -> list[Part]:
    left = body.chest * 0.22
    top = rng.uniform(-0.36, -0.26)
    box = rounded_box(left, top, left + body.chest * 0.48, top + body.chest * 0.5, 0.05)
    return [Part(box, "fabric", 0.96, relief=0.4), Part(outline(tuple(box[0]), tuple(box[1])), "seam", stroke=0.03)]


def shirt(rng: np.random.Generator) -> list[Part]:
    """A collar, a button placket down the front, long sleeves with cuffs or short ones, a rounded tail."""
    body = _Body.drawn_by(
        rng, neck=rng.uniform(0.17, 0.22), neck_depth=0.16, length=rng.uniform(0.7, 1.0),
        hem_curve=rng.uniform(0.03, 0.16),
    )  # fmt: skip
    body = replace(body, pointed_neck=True)
    short = rng.random() < 0.25
    length, width = (rng.uniform(0.38, 0.55), 0.34) if short else (rng.uniform(1.0, 1.2), rng.uniform(0.21, 0.26))
    parts = [body.back_of_neck(), *_sleeves(rng, body, length, width, "fabric")]
    parts.append(Part(body.outline(), relief=1.0))
    bottom = body.length + body.hem_curve
    placket = rng.uniform(0.045, 0.065)
    parts.append(Part(rounded_box(-placket, -0.66, placket, bottom, 0.01), "fabric", 0.95))
    for x in (-placket, placket):
        parts.append(Part(outline((x, -0.66), (x, bottom)), "seam", stroke=0.014))
    for y in np.linspace(-0.58, bottom - 0.2, 6):
        parts.append(Part(ellipse(0.0, y, 0.026, 0.026), "neutral", 0.95))
    if rng.random() < 0.6:
        parts += _chest_pocket(rng, body)
    spread, point = rng.uniform(0.20, 0.34), rng.uniform(-0.60, -0.50)
    paint = "second" if rng.random() < 0.15 else "plain"
    for side in (1.0, -1.0):
        leaf = outline(
            (0.0, -0.66), (body.neck * 0.6, -0.72, body.neck * 0.8, -0.93), (body.neck + 0.05, -0.88), (spread, point),
            (spread * 0.45, point + 0.01, 0.0, -0.66),
        )  # fmt: skip
        parts.append(Part(leaf * (side, 1.0), paint, 0.97, relief=0.6))
    return parts


def hoodie(rng: np.random.Generator) -> list[Part]:
    """A hood behind the neck, drawstrings, a kangaroo pocket, ribbed cuffs and hem, at times a zip."""
    chest = rng.uniform(0.50, 0.60)
    body = _Body.drawn_by(rng, chest=chest, shoulder=chest, waist=chest, hem=chest * 0.94, neck=0.24, neck_depth=0.2)
    rib = "second" if rng.random() < 0.2 else "plain"
    height, width = rng.uniform(0.26, 0.40), rng.uniform(0.34, 0.42)
    hood = symmetric(
        (0.0, -0.85 - height), (width * 0.9, -0.85 - height, width, -0.95, width * 0.95, -0.76), (0.2, -0.5, 0.0, -0.5)
    )  # fmt: skip
    crown = -0.80 - height * 0.6
    opening = symmetric((0.0, crown), (0.24, crown, 0.2, -0.75), (0.12, -0.55, 0.0, -0.52))
    parts = _sleeves(rng, body, rng.uniform(0.98, 1.15), rng.uniform(0.26, 0.32), rib)
    parts.append(Part(body.outline(), relief=1.0))
    parts += [Part(hood, "fabric", 0.97, relief=1.0), Part(opening, "inside")]
    hem = rounded_box(-body.hem, body.length - 0.1, body.hem, body.length + 0.03, 0.03)
    parts.append(Part(hem, rib, 0.86, relief=0.5))
    top, low = body.length - rng.uniform(0.55, 0.62), body.length - 0.11
    if rng.random() < 0.85:
        pocket = symmetric(
            (0.0, top), (chest * 0.42, top), (chest * 0.52, top + 0.15, chest * 0.72, top + 0.24),
            (chest * 0.72, low), (0.0, low),
        )  # fmt: skip
        parts.append(Part(pocket, "fabric", 0.93, relief=0.7))
    if rng.random() < 0.4:
        parts.append(Part(outline((0.0, -0.52), (0.0, body.length)), "metal", stroke=0.035))
    for x in (-0.11, 0.11):
        end = rng.uniform(-0.2, -0.02)
        string = outline((x, -0.60), (x * 1.5, -0.4, x * rng.uniform(0.7, 1.4), end))
        parts.append(Part(string, "neutral", stroke=0.035))
    return parts


def dress(rng: np.random.Generator) -> list[Part]:
    """A fitted bodice, a waist, a skirt that flares; straps, short sleeves or long ones."""
    chest, waist = rng.uniform(0.27, 0.34), rng.uniform(0.20, 0.26)
    waist_y, length = rng.uniform(-0.22, -0.02), rng.uniform(0.75, 1.35)
    hem = rng.uniform(0.36, 0.75)
    bulge = rng.uniform(0.0, 0.5)
    style = rng.choice(["straps", "short", "long"], p=[0.5, 0.3, 0.2])
    body = _Body.drawn_by(
        rng, chest=chest, shoulder=chest * (0.82 if style == "straps" else 1.0), neck=rng.uniform(0.15, 0.19),
        neck_depth=rng.uniform(0.14, 0.34), waist=waist, hem=hem, length=length,
    )  # fmt: skip
    neck, shoulder = body.neck, body.shoulder
    side = outline(
        (neck, -0.85),
        (shoulder, -0.80 if style == "straps" else -0.76),
        (shoulder - 0.06, body.armpit - 0.2, chest, body.armpit),
        (chest, waist_y - 0.1, waist, waist_y),
        (waist + (hem - waist) * bulge, waist_y + 0.2, hem, length - 0.3, hem, length),
        (hem * 0.5, length + 0.07, 0.0, length + 0.07),
    )
    parts = [body.back_of_neck()]
    if style != "straps":
        long = style == "long"
        sleeve = rng.uniform(0.75, 0.9) if long else rng.uniform(0.2, 0.35)
        parts += _sleeves(rng, body, sleeve, 0.16 if long else 0.22, None)
    parts.append(Part(mirrored(np.concatenate([body.neckline(), side])), relief=1.0))
    for at in np.linspace(-0.75, 0.75, int(rng.integers(3, 8))):
        fold = outline((at * waist, waist_y + 0.05), (at * waist, (waist_y + length) / 2, at * hem, length + 0.03))
        parts.append(Part(fold, "seam", stroke=0.016))
    if rng.random() < 0.65:
        belt = ribbon(outline((-waist, waist_y), (0.0, waist_y + 0.03, waist, waist_y)), 0.09, 0.09)
        parts.append(Part(belt, "second" if rng.random() < 0.6 else "plain", 0.85, relief=0.5))
    if rng.random() < 0.25:
        y = length - rng.uniform(0.15, 0.3)
        parts.append(Part(outline((-hem * 0.97, y), (0.0, y + 0.1, hem * 0.97, y)), "seam", stroke=0.02))
    return parts
