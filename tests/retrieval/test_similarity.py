"""The best of a row of scores, against a stable sort of all of it."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.retrieval.similarity import best_columns, sort_columns


@pytest.mark.parametrize("k", [1, 2, 7, 30])
def test_equal_scores_keep_the_order_of_their_columns(k):
    """Few values, so that most are equal, 0 and -0 and minus infinity among them."""
    scores = np.random.default_rng(k).choice([-np.inf, -1.5, -0.25, -0.0, 0.0, 1e-30, 0.25, 1.0], (200, 30))
    scores = scores.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    columns, found = best_columns(scores, k)
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(found, np.take_along_axis(scores, order, axis=1))


def test_scores_a_last_bit_apart_are_not_equal():
    row = np.float32([0.1, 0.3, -0.3, -0.1])
    scores = np.stack([row, np.nextafter(row, np.float32(1)), np.nextafter(row, np.float32(-1))], axis=1).reshape(1, -1)
    columns = np.random.default_rng(0).permutation(12)[None]
    names, found = sort_columns(columns, scores[:, columns[0]])
    np.testing.assert_array_equal(names, np.argsort(-scores, axis=1))
    assert (np.diff(found) < 0).all()
