"""How a lookup finds the rows nearest to a query: index layers behind one interface, of stock TensorFlow operations.

`build_index` makes the one that the configuration asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.index.base import Index
    from export.index.build import build_index

__all__ = ["Index", "build_index"]

_HOMES = {"Index": "export.index.base", "build_index": "export.index.build"}


def __getattr__(name: str) -> Any:
    """Imports TensorFlow only when a name is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
