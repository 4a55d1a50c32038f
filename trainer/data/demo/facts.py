"""What a shop's table would say of one drawn product: settled by seed, type and number, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.demo.garments import GARMENT_TYPES, GARMENTS

__all__ = ["COLOURS", "PATTERNS", "QUERY_NUMBERS", "ItemFacts", "item_facts", "random_streams"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "Black": (40, 40, 46),
    "White": (240, 240, 238),
    "Grey": (138, 142, 148),
    "Navy": (34, 48, 92),
    "Blue": (58, 116, 196),
    "Teal": (32, 134, 138),
    "Green": (62, 142, 78),
    "Olive": (118, 122, 62),
    "Yellow": (236, 196, 64),
    "Orange": (226, 122, 48),
    "Red": (196, 48, 52),
    "Burgundy": (116, 32, 54),
    "Pink": (230, 146, 172),
    "Purple": (122, 78, 156),
    "Beige": (212, 190, 156),
}

# Pattern to (share of the items, the word that titles use).
PATTERNS: dict[str, tuple[float, str]] = {
    "Plain": (0.44, ""),
    "Striped": (0.11, "striped"),
    "Pinstriped": (0.07, "pinstriped"),
    "Checked": (0.10, "checked"),
    "Dotted": (0.06, "dotted"),
    "Floral": (0.09, "floral"),
    "Ombre": (0.05, "ombre"),
    "Printed": (0.08, "printed"),
}

_SEASONS = ("Spring", "Summer", "Autumn", "Winter")
_WEARERS = {"Men": "men's", "Women": "women's", "Boys": "boys'", "Girls": "girls'", "Unisex": "unisex"}

# Catalogue items are numbered from 0; a number from here on belongs to a query, which no catalogue of any seed holds.
QUERY_NUMBERS = 50_000
_IDS_PER_TYPE = 100_000


@dataclass(frozen=True)
class ItemFacts:
    """One row of the catalogue's table, without its picture."""

    id: str
    label: str
    gender: str
    colour: str
    pattern: str
    season: str
    title: str


def random_streams(seed: int, label: str, number: int, count: int) -> list[np.random.Generator]:
    """Independent generators for one item, the same whatever else is drawn and in whichever process."""
    root = np.random.SeedSequence([seed, GARMENT_TYPES.index(label), number])
    return [np.random.default_rng(child) for child in root.spawn(count)]


def item_facts(label: str, number: int, *, seed: int = 0) -> ItemFacts:
    """The facts of one item.

    Colours come in shuffled rounds, each colour once a round, so every type has the same colours in the same numbers
    and the colour never tells the type.

    Args:
        label: one of `GARMENT_TYPES`.
        number: which item of this type, from 0.
        seed: the catalogue's seed.

    Returns:
        The facts; the id is unique within a catalogue.
    """
    garment = GARMENTS[label]
    place = GARMENT_TYPES.index(label)
    names = list(COLOURS)
    lap, turn = divmod(number, len(names))
    shuffled = np.random.default_rng(np.random.SeedSequence([seed, place, lap, 1])).permutation(len(names))
    colour = names[shuffled[turn]]
    rng = random_streams(seed, label, number, 1)[0]
    pattern = str(rng.choice(list(PATTERNS), p=[share for share, _ in PATTERNS.values()]))
    gender = str(rng.choice(garment.genders))
    words = [colour, PATTERNS[pattern][1], _WEARERS[gender], garment.noun]
    return ItemFacts(
        id=str((place + 1) * _IDS_PER_TYPE + number),
        label=label,
        gender=gender,
        colour=colour,
        pattern=pattern,
        season=str(rng.choice(_SEASONS)),
        title=" ".join(word for word in words if word),
    )
