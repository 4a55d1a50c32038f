from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from trainer.errors import InputError
from trainer.evaluation.classification import (
    ConfusionMatrix,
    accuracy,
    accuracy_macro,
    classification_metrics,
    confusion_matrix,
)

LABELS = np.array(["shirt", "shirt", "shirt", "shirt", "heel", "heel"])
PREDICTED = np.array(["shirt", "shirt", "shirt", "heel", "heel", "wallet"])


def test_worked_by_hand():
    assert accuracy(LABELS, PREDICTED) == pytest.approx(4 / 6)
    assert accuracy_macro(LABELS, PREDICTED) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert classification_metrics(LABELS, PREDICTED) == {
        "accuracy": pytest.approx(4 / 6),
        "accuracy_macro": pytest.approx(5 / 8),
    }
    matrix = confusion_matrix(LABELS, PREDICTED)
    assert matrix.classes.tolist() == ["heel", "shirt", "wallet"]
    assert matrix.counts.tolist() == [[1, 0, 1], [1, 3, 0], [0, 0, 0]]


def test_macro_is_balanced_accuracy():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c", "d"], 500, p=[0.7, 0.2, 0.08, 0.02])
    predicted = np.where(rng.random(500) < 0.6, labels, rng.permutation(labels))
    assert accuracy_macro(labels, predicted) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_the_order_of_classes_can_be_given():
    matrix = confusion_matrix(LABELS, PREDICTED, classes=["wallet", "shirt", "heel", "watch"])
    assert matrix.classes.tolist() == ["wallet", "shirt", "heel", "watch"]
    assert matrix.counts.tolist() == [[0, 0, 0, 0], [0, 3, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_refusals():
    with pytest.raises(InputError, match=r"shapes \(5,\) and \(6,\)"):
        accuracy(LABELS, PREDICTED[:5])
    with pytest.raises(InputError, match="at least one"):
        accuracy_macro(LABELS[:0], PREDICTED[:0])
    with pytest.raises(InputError, match="1 others, such as 'wallet'"):
        confusion_matrix(LABELS, PREDICTED, classes=["shirt", "heel"])
    with pytest.raises(ValueError, match=r"shape \(1, 1\)"):
        ConfusionMatrix(np.array(["a"]), np.zeros((2, 2), dtype=np.int64))
