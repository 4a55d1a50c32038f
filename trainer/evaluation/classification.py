"""How often the predicted label is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable

__all__ = [
    "CONFIDENCE",
    "PREDICTED_LABEL",
    "ConfusionMatrix",
    "accuracy",
    "accuracy_macro",
    "classification_metrics",
    "confusion_matrix",
    "right_predictions",
]

PREDICTED_LABEL = "predicted_label"
CONFIDENCE = "confidence"
"""Attributes of a classifier's embedding table: the label it finds most probable, and that probability."""


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Which label was taken for which.

    Args:
        classes: `[C]` strings.
        counts: `[C, C]` int64, row: the true class, column: the predicted one.
    """

    classes: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        size = len(self.classes)
        if self.counts.shape != (size, size):
            raise ValueError(f"expected counts of shape {(size, size)}, received {self.counts.shape}")


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Micro accuracy: right predictions / all predictions. A frequent class weighs as much as it is frequent.

    Args:
        labels: `[N]` strings, the true labels.
        predicted: `[N]` strings.

    Returns:
        A number in `[0, 1]`.

    Raises:
        InputError: the lengths differ or are 0.
    """
    labels, predicted = _pair(labels, predicted)
    return float((labels == predicted).mean())


def accuracy_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Macro accuracy: the mean over classes of (right predictions / rows of the class). Every class weighs the same.

    Also known as balanced accuracy or macro recall. Departures: none from balanced accuracy; classes that are predicted
    but carried by no row are not classes here, where scikit-learn's macro recall would count them as 0.

    Args:
        labels: `[N]` strings, the true labels.
        predicted: `[N]` strings.

    Returns:
        A number in `[0, 1]`.

    Raises:
        InputError: the lengths differ or are 0.
    """
    labels, predicted = _pair(labels, predicted)
    present = np.unique(labels)
    return float(metrics.recall_score(labels, predicted, labels=present, average="macro", zero_division=0))


def classification_metrics(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """`accuracy` and `accuracy_macro` under these keys, as a row of `metrics.json` has them."""
    return {"accuracy": accuracy(labels, predicted), "accuracy_macro": accuracy_macro(labels, predicted)}


def right_predictions(table: EmbeddingTable) -> np.ndarray | None:
    """The terms of `accuracy`, row by row.

    Args:
        table: N items.

    Returns:
        `[N]` float64, 1 where the predicted label is the label and 0 elsewhere; None for a table without predictions.
    """
    predicted = table.attributes.get(PREDICTED_LABEL)
    return None if predicted is None else (table.labels == predicted).astype(np.float64)


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str] | np.ndarray | None = None
) -> ConfusionMatrix:
    """Counts which label was taken for which.

    Args:
        labels: `[N]` strings, the true labels.
        predicted: `[N]` strings.
        classes: the order of rows and columns; by default all that occur, in alphabetical order.

    Raises:
        InputError: the lengths differ or are 0, or a label is not one of `classes`.
    """
    labels, predicted = _pair(labels, predicted)
    occurring = np.unique(np.concatenate([labels, predicted]))
    order = occurring if classes is None else np.asarray(classes, dtype=np.str_)
    strange = np.setdiff1d(occurring, order)
    if strange.size:
        raise InputError(
            f"expected labels among the {len(order)} classes given, received {strange.size} others, "
            f"such as {str(strange[0])!r}; give the classes the model was trained on"
        )
    return ConfusionMatrix(classes=order, counts=metrics.confusion_matrix(labels, predicted, labels=order))


def _pair(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels, dtype=np.str_), np.asarray(predicted, dtype=np.str_)
    if labels.ndim != 1 or labels.shape != predicted.shape or not labels.size:
        raise InputError(
            "expected one predicted label for each true one, at least one in all; "
            f"received shapes {predicted.shape} and {labels.shape}"
        )
    return labels, predicted
