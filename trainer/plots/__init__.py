"""Pictures of data, training and results: one plot a file, each a function that writes one PNG and answers its path.

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.plots.confusion import plot_confusion
    from trainer.plots.distribution import plot_distribution
    from trainer.plots.embedding_map import plot_embedding_map
    from trainer.plots.retrieval_grid import plot_retrieval_grid
    from trainer.plots.training_curves import plot_training_curves
    from trainer.plots.word_grid import plot_word_grid

__all__ = [
    "plot_confusion",
    "plot_distribution",
    "plot_embedding_map",
    "plot_retrieval_grid",
    "plot_training_curves",
    "plot_word_grid",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.removeprefix('plot_')}"), name)
