"""The garment types of the demo catalogue, one explicit table from label to silhouette."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.data.demo.accessories import handbag, hat, watch
from trainer.data.demo.bottoms import skirt, trousers
from trainer.data.demo.footwear import boot, heel, sports_shoe
from trainer.data.demo.parts import Part
from trainer.data.demo.tops import dress, hoodie, shirt, t_shirt

__all__ = ["GARMENTS", "GARMENT_TYPES", "Garment"]


@dataclass(frozen=True)
class Garment:
    """One type: what its titles call it, who wears it, and how one is drawn."""

    noun: str
    genders: tuple[str, ...]
    silhouette: Callable[[np.random.Generator], list[Part]]


_ALL = ("Men", "Women", "Boys", "Girls", "Unisex")
_HERS = ("Women", "Women", "Girls")

GARMENTS: dict[str, Garment] = {
    "T-shirts": Garment("T-shirt", _ALL, t_shirt),
    "Shirts": Garment("shirt", _ALL, shirt),
    "Hoodies": Garment("hoodie", _ALL, hoodie),
    "Dresses": Garment("dress", _HERS, dress),
    "Skirts": Garment("skirt", _HERS, skirt),
    "Trousers": Garment("trousers", _ALL, trousers),
    "Trainers": Garment("trainers", _ALL, sports_shoe),
    "Boots": Garment("boots", _ALL, boot),
    "Heels": Garment("heels", _HERS, heel),
    "Handbags": Garment("handbag", _HERS, handbag),
    "Watches": Garment("watch", _ALL, watch),
    "Hats": Garment("hat", _ALL, hat),
}

# The place of a type seeds its pictures: append new types, never reorder.
GARMENT_TYPES: tuple[str, ...] = tuple(GARMENTS)
