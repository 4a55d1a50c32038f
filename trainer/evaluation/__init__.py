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
        right_predictions,
    )
    from trainer.evaluation.comparison import PUBLISHED_ROWS, comparison_frame, format_table, write_comparison
    from trainer.evaluation.intervals import (
        PairedTest,
        bootstrap_interval,
        bootstrap_intervals,
        holm,
        paired_test,
        paired_tests,
    )

__all__ = [
    "PUBLISHED_ROWS",
    "ConfusionMatrix",
    "PairedTest",
    "accuracy",
    "accuracy_macro",
    "bootstrap_interval",
    "bootstrap_intervals",
    "classification_metrics",
    "comparison_frame",
    "confusion_matrix",
    "format_table",
    "holm",
    "paired_test",
    "paired_tests",
    "right_predictions",
    "write_comparison",
]

_MODULES = {
    "ConfusionMatrix": "classification",
    "accuracy": "classification",
    "accuracy_macro": "classification",
    "classification_metrics": "classification",
    "confusion_matrix": "classification",
    "right_predictions": "classification",
    "PUBLISHED_ROWS": "comparison",
    "comparison_frame": "comparison",
    "format_table": "comparison",
    "write_comparison": "comparison",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'intervals')}"), name)
