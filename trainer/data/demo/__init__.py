"""A fashion catalogue that the project draws itself, so that everything can be tried without a download."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.data.demo.catalogue import draw_catalogue
    from trainer.data.demo.garments import GARMENT_TYPES
    from trainer.data.demo.item import draw_item, query_picture

__all__ = ["GARMENT_TYPES", "draw_catalogue", "draw_item", "query_picture"]

_HOMES = {
    "GARMENT_TYPES": "garments",
    "draw_catalogue": "catalogue",
    "draw_item": "item",
    "query_picture": "item",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
