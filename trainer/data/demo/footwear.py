"""Sports shoes, heels and boots, from the side, toe to the right; at times as a pair."""

from __future__ import annotations

import numpy as np

from trainer.data.demo.parts import Part, ellipse, moved, outline, ribbon, rounded_box

__all__ = ["boot", "heel", "sports_shoe"]


def _maybe_pair(rng: np.random.Generator, shoe: list[Part]) -> list[Part]:
    """The shoe, in two of five pictures with its fellow behind it."""
    if rng.random() >= 0.4:
        return shoe
    x, y = rng.uniform(0.18, 0.42) * rng.choice([-1.0, 1.0]), rng.uniform(-0.34, -0.16)
    return moved(shoe, x, y, scale=0.97, shade=0.86) + shoe


def sports_shoe(rng: np.random.Generator) -> list[Part]:
    """A low shoe with a thick sole, laces, a toe cap and a stripe or a panel on its side."""
    sole, ankle = rng.uniform(0.12, 0.22), rng.uniform(-0.34, -0.20)
    toe, rise = rng.uniform(0.20, 0.30), rng.uniform(0.0, 0.07)
    ground = 0.45
    deck = ground - sole
    upper = outline(
        (-0.92, deck + 0.03), (-1.0, -0.05, -0.90, ankle - 0.06), (-0.80, ankle - 0.10, -0.74, ankle),
        (-0.55, ankle + 0.14, -0.28, ankle - 0.02), (-0.22, ankle - 0.10, -0.14, ankle - 0.06),
        (0.10, ankle + 0.22, 0.42, deck - toe), (0.98, deck - toe * 0.9, 1.0, deck + 0.03),
    )  # fmt: skip
    bottom = outline(
        (-0.98, deck), (0.0, deck + 0.05, 1.02, deck - rise), (1.10, deck + 0.02, 1.0, ground - rise),
        (0.6, ground + 0.02, -0.9, ground), (-1.04, ground - 0.02, -0.98, deck),
    )  # fmt: skip
    tongue = outline(
        (-0.34, ankle + 0.1), (-0.34, ankle - 0.2), (-0.2, ankle - 0.26, -0.12, ankle - 0.16), (0.0, ankle + 0.2)
    )  # fmt: skip
    parts = [
        Part(tongue, "plain", 0.9, relief=0.5),
        Part(ellipse(-0.52, ankle + 0.03, 0.26, 0.1), "inside"),
        Part(upper, relief=1.0),
    ]
    accent = "second" if rng.random() < 0.7 else "neutral"
    if rng.random() < 0.6:
        cap = outline(
            (0.58, deck + 0.03), (0.5, deck - toe * 0.7, 0.62, deck - toe * 0.98),
            (0.98, deck - toe * 0.85, 1.0, deck + 0.03),
        )  # fmt: skip
        parts.append(Part(cap, accent, 0.95, relief=0.5))
    if rng.random() < 0.6:
        tab = outline((-0.93, deck + 0.03), (-1.0, -0.05, -0.90, ankle - 0.04), (-0.76, ankle), (-0.66, deck + 0.03))
        parts.append(Part(tab, accent, 0.9, relief=0.4))
    slant = rng.uniform(-0.2, 0.2)
    for at in np.linspace(-0.2, 0.1, int(rng.integers(1, 4))):
        stripe = outline((at - 0.12 + slant, ankle + 0.26), (at, 0.1, at + 0.16, deck + 0.02))
        parts.append(Part(ribbon(stripe, 0.06, 0.1), accent))
    for at in np.linspace(0.08, 0.82, 5):
        x, y = -0.22 + at * 0.58, ankle + 0.02 + at * (deck - toe - ankle + 0.02)
        parts.append(Part(outline((x - 0.07, y + 0.10), (x + 0.06, y - 0.03)), "neutral", stroke=0.045))
    welt = outline((-0.98, ground - 0.05), (0.0, ground - 0.02, 1.02, ground - rise - 0.06))
    parts += [Part(bottom, "neutral", relief=0.8), Part(welt, "seam", stroke=0.022)]
    return _maybe_pair(rng, parts)


def heel(rng: np.random.Generator) -> list[Part]:
    """A pump or a sandal on a stiletto, a block or a kitten heel, with or without an ankle strap."""
    height, ground = rng.uniform(0.62, 1.0), 0.55
    back = ground - height
    tip, width = rng.uniform(-0.02, 0.06), rng.choice([0.05, 0.09, 0.2])
    open_toe = rng.random() < 0.2
    sole = outline(
        (-0.86, back + 0.10), (-0.45, back + 0.12, -0.1, ground - 0.06, 0.28, ground - 0.05),
        (0.6, ground - 0.02, 1.0, ground - 0.02 - tip), (1.0, ground + 0.02 - tip), (0.6, ground + 0.04, 0.28, ground),
        (-0.1, ground - 0.02, -0.45, back + 0.2, -0.86, back + 0.16),
    )  # fmt: skip
    stem = outline(
        (-0.90, back + 0.05), (-0.50, back + 0.16), (-0.62, back + 0.3, -0.80 + width, ground),
        (-0.82, ground), (-0.86, back + 0.4, -0.90, back + 0.05),
    )  # fmt: skip
    counter = rng.uniform(0.22, 0.32)
    vamp = rng.uniform(0.18, 0.40)
    upper = outline(
        (-0.88, back + 0.13), (-0.98, back - 0.05, -0.88, back - counter), (-0.80, back - counter - 0.02),
        (-0.62, back + 0.10, -0.10, ground - 0.22, vamp, ground - 0.26),
        (0.72, ground - 0.24, 1.02, ground - 0.04 - tip), (0.6, ground - 0.02, 0.28, ground - 0.04),
        (-0.1, ground - 0.05, -0.45, back + 0.14, -0.88, back + 0.13),
    )  # fmt: skip
    parts = [Part(stem, "plain", 0.82, relief=0.7)]
    if open_toe:
        band = outline(
            (0.04, ground - 0.06), (0.02, ground - 0.40, 0.14, ground - 0.44),
            (0.52, ground - 0.40, 0.78, ground - 0.03),
        )  # fmt: skip
        parts.append(Part(band, "fabric", relief=0.9))
        rear = outline(
            (-0.88, back + 0.13), (-0.98, back - 0.05, -0.88, back - counter), (-0.80, back - counter),
            (-0.72, back + 0.02, -0.5, back + 0.19),
        )  # fmt: skip
        parts.append(Part(rear, relief=0.8))
    else:
        inner = outline(
            (-0.84, back - counter), (-0.4, back + 0.1, vamp, ground - 0.26), (-0.2, ground - 0.14, -0.7, back + 0.16)
        )  # fmt: skip
        parts += [Part(inner, "inside"), Part(upper, relief=1.0)]
    parts.append(Part(sole, "neutral", 0.7, relief=0.4))
    if open_toe or rng.random() < 0.35:
        y = back - counter
        strap = outline(
            (-0.86, y + 0.04), (-0.84, y - 0.16, -0.42, y - 0.2, -0.40, y - 0.02),
            (-0.42, y + 0.08, -0.8, y + 0.1, -0.86, y + 0.04),
        )  # fmt: skip
        parts.append(Part(strap, "plain", 0.9, stroke=0.05))
        parts.append(Part(ellipse(-0.6, y + 0.06, 0.035, 0.035), "metal"))
    elif rng.random() < 0.3:
        parts.append(Part(ellipse(vamp + 0.14, ground - 0.24, 0.08, 0.06), "metal", relief=0.6))
    return _maybe_pair(rng, parts)


def boot(rng: np.random.Generator) -> list[Part]:
    """A shaft from the ankle to the knee, a low or a block heel; laces, a zip, a buckle or an elastic side."""
    shaft = rng.uniform(0.35, 1.25)
    calf = rng.uniform(0.0, 0.14)
    sole, lift = rng.uniform(0.06, 0.13), rng.uniform(0.06, 0.30)
    ground, toe = 0.62, rng.uniform(0.22, 0.32)
    deck = ground - sole
    top = 0.02 - shaft
    upper = outline(
        (-0.62, deck - lift), (-0.66, deck - lift - 0.25, -0.56, 0.0), (-0.60 - calf, top * 0.6, -0.60 - calf, top),
        (-0.2, top + 0.05, 0.06 + calf * 0.6, top + rng.uniform(-0.04, 0.08)),
        (0.10 + calf * 0.4, top * 0.5, 0.02, -0.02),
        (0.08, deck - toe - 0.06, 0.34, deck - toe), (0.86, deck - toe * 0.95, 0.86, deck),
        (0.3, deck), (0.0, deck - lift * 0.1, -0.2, deck - lift),
    )  # fmt: skip
    bottom = outline(
        (-0.64, deck - lift - 0.02), (-0.2, deck - lift), (0.0, deck - lift * 0.1, 0.3, deck - 0.02),
        (0.88, deck - 0.02), (0.94, deck, 0.88, ground), (0.2, ground), (-0.1, deck, -0.22, deck - lift + sole),
        (-0.26, ground), (-0.62, ground), (-0.64, deck - lift),
    )  # fmt: skip
    parts = [
        Part(ellipse(-0.27 - calf * 0.2, top + 0.02, 0.33 + calf * 0.7, 0.06), "inside"),
        Part(upper, relief=1.0),
        Part(bottom, "neutral", 0.55, relief=0.6),
    ]
    finish = rng.choice(["laces", "zip", "buckle", "elastic"])
    if finish == "laces":
        for y in np.linspace(max(top + 0.1, -0.7), deck - toe - 0.06, 6):
            parts.append(Part(outline((-0.16, y + 0.06), (0.06, y)), "neutral", stroke=0.045))
    elif finish == "zip":
        parts.append(Part(outline((-0.3, top + 0.08), (-0.32, 0.0, -0.26, deck - lift - 0.1)), "metal", stroke=0.03))
    elif finish == "buckle":
        strap = outline((-0.62, -0.02), (-0.3, 0.1, 0.06, -0.0))
        parts.append(Part(ribbon(strap, 0.1, 0.1), "second", 0.85, relief=0.5))
        parts.append(Part(rounded_box(-0.3, -0.02, -0.14, 0.12, 0.02), "metal", stroke=0.03))
    else:
        side = outline((-0.44, top + 0.04), (-0.14, top + 0.04), (-0.26, 0.16), (-0.34, 0.16))
        parts.append(Part(side, "second", 0.75, relief=0.4))
    parts.append(Part(outline((0.16, deck - 0.02), (0.2, deck - toe * 0.8, 0.34, deck - toe)), "seam", stroke=0.022))
    return _maybe_pair(rng, parts)
