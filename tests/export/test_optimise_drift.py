"""How far embeddings moved, measured and refused."""

from __future__ import annotations

import numpy as np
import pytest

from export.optimise.drift import Drift, measure_drift
from trainer.errors import InputError

BEFORE = np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], np.float32)
LABELS = np.array(["a", "a", "b", "b"])


def test_nothing_moved() -> None:
    asked: list[slice] = []

    def embed(rows: slice) -> np.ndarray:
        asked.append(rows)
        return BEFORE[rows]

    drift = measure_drift(BEFORE, LABELS, embed, batch_size=3)
    assert asked == [slice(0, 3), slice(3, 4)]
    assert drift.pictures == 4 and drift.max_difference == 0
    assert drift.mean_cosine == pytest.approx(1) and drift.min_cosine == pytest.approx(1)
    # of [0, 1] the nearest is [-0.6, 0.8] (0.8 against 0.6), of [0.8, 0.6] it is [1, 0]
    assert drift.hit_rate_before == drift.hit_rate_after == 1
    drift.check(0.9999, 0.0)
    assert set(drift.as_dict()) == set(Drift.__dataclass_fields__)


def test_what_moved_is_counted() -> None:
    after = BEFORE.copy()
    after[0] = [0, -1]
    drift = measure_drift(BEFORE, LABELS, lambda rows: after[rows])
    assert drift.min_cosine == pytest.approx(0)
    assert drift.mean_cosine == pytest.approx(0.75)
    assert drift.max_difference == pytest.approx(1)
    assert drift.hit_rate_before == 1 and drift.hit_rate_after == 0.75


def test_too_far_is_refused() -> None:
    drift = Drift(10, 0.998, 0.9, 0.1, 0.93, 0.91)
    drift.check(0.99, 0.05)
    with pytest.raises(InputError, match=r"mean cosine of 0.999 to the trained model, received 0.998"):
        drift.check(0.999, 0.05)
    with pytest.raises(InputError, match=r"at most 0.01 of hit_rate@1, received 0.9300 before and 0.9100 after"):
        drift.check(0.99, 0.01)
    assert "0.9300 before, 0.9100 after" in str(drift)


def test_what_is_not_finite_is_refused() -> None:
    drift = measure_drift(BEFORE, LABELS, lambda rows: np.full_like(BEFORE[rows], np.nan))
    with pytest.raises(InputError, match="mean cosine"):
        drift.check(-1, 1)
    with pytest.raises(InputError, match="at least 2 pictures"):
        measure_drift(BEFORE[:1], LABELS[:1], lambda rows: BEFORE[rows])


def test_labels_that_no_two_share_have_nothing_to_lose() -> None:
    drift = measure_drift(BEFORE, np.arange(len(BEFORE)), lambda rows: BEFORE[rows])
    assert drift.hit_rate_before == drift.hit_rate_after == 0
    drift.check(0.9999, 0.0)
