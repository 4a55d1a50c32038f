"""What may be done to a search after the model is trained: steps, each a frozen value that maps a `Search` to another.

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.retrieval.postprocessing.flip import Flip
    from trainer.retrieval.postprocessing.query_expansion import QueryExpansion
    from trainer.retrieval.postprocessing.reranking import Reranking
    from trainer.retrieval.postprocessing.search import Search, Step, apply_steps
    from trainer.retrieval.postprocessing.truncation import Truncation
    from trainer.retrieval.postprocessing.whitening import Whitening

__all__ = ["Flip", "QueryExpansion", "Reranking", "Search", "Step", "Truncation", "Whitening", "apply_steps"]

_MODULES = {
    "Flip": "flip",
    "QueryExpansion": "query_expansion",
    "Reranking": "reranking",
    "Search": "search",
    "Step": "search",
    "Truncation": "truncation",
    "Whitening": "whitening",
    "apply_steps": "search",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
