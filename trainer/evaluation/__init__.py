"""How good a trained model is, in numbers, and the tables that show it.

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.evaluation.classification import (
        ConfusionMatrix,
        accuracy,
        accuracy_macro,
        classification_metrics,
        confusion_matrix,
    )
    from trainer.evaluation.comparison import PUBLISHED_ROWS, comparison_frame, format_table, write_comparison

__all__ = [
    "PUBLISHED_ROWS",
    "ConfusionMatrix",
    "accuracy",
    "accuracy_macro",
    "classification_metrics",
    "comparison_frame",
    "confusion_matrix",
    "format_table",
    "write_comparison",
]

_COMPARISON = {"PUBLISHED_ROWS", "comparison_frame", "format_table", "write_comparison"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'comparison' if name in _COMPARISON else 'classification'}"), name)
