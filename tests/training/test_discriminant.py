"""The closed-form discriminant against scikit-learn's, and its odd cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from trainer.training.discriminant import Discriminant, fit_discriminant

FEATURES, CLASSES, ROWS = 8, 4, 300


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of unequal scale and classes of unequal size."""
    random = np.random.default_rng(0)
    classes = random.choice(CLASSES, ROWS, p=[0.4, 0.3, 0.2, 0.1])
    mixing = random.normal(size=(FEATURES, FEATURES)) * np.geomspace(0.3, 3, FEATURES)
    rows = random.normal(size=(ROWS, FEATURES)) @ mixing + 2 * random.normal(size=(CLASSES, FEATURES))[classes] + 5
    return rows, classes


def fit(
    rows: np.ndarray, classes: np.ndarray, num_classes: int = CLASSES, chunk: int = 10**6, **how: float
) -> Discriminant:
    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(rows), chunk):
            yield rows[start : start + chunk], classes[start : start + chunk]

    return fit_discriminant(chunks(), num_classes, **{"count": len(rows), **how})


def assert_same(a: Discriminant, b: Discriminant) -> None:
    """Equal but for the signs of directions."""
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-9)
    signs = np.sign(np.sum(a.directions * b.directions, axis=0))
    np.testing.assert_allclose(a.directions, b.directions * signs, atol=1e-7)
    np.testing.assert_allclose(a.centres, b.centres * signs, atol=1e-7)
    width = min(a.complement.shape[1], b.complement.shape[1])
    np.testing.assert_allclose(np.abs(a.complement[:, :width]), np.abs(b.complement[:, :width]), atol=1e-6)
    np.testing.assert_allclose(a.log_priors, b.log_priors)


def test_without_a_ridge_it_projects_as_scikit_learn_does(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = data
    known = LinearDiscriminantAnalysis(solver="eigen").fit(rows, classes)
    found = fit(rows, classes, ridge=1e-13)
    assert found.directions.shape == (FEATURES, CLASSES - 1)
    assert subspace_angles(found.directions, known.scalings_[:, : CLASSES - 1]).max() < 1e-6
    projected = (rows - found.mean) @ found.directions
    expected = known.transform(rows) - known.transform(found.mean[None])  # this solver does not centre
    signs = np.sign((projected * expected).sum(axis=0))
    np.testing.assert_allclose(projected * signs, expected, atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.05, 0.5])
def test_with_a_ridge_it_decides_as_scikit_learn_does(shrinkage: float, data: tuple[np.ndarray, np.ndarray]) -> None:
    # scikit-learn shrinks to (1 - s) W + s tr(W) / F, which is (1 - s) times W + ridge tr(W) for the ridge below. Its
    # directions differ, since it shrinks the covariance between classes too; its decision rests on W alone.
    rows, classes = data
    known = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(rows, classes)
    found = fit(rows, classes, ridge=shrinkage / (1 - shrinkage) / FEATURES)
    projected = (rows - found.mean) @ found.directions
    scores = (projected @ found.centres.T - 0.5 * np.square(found.centres).sum(axis=1)) / (1 - shrinkage)
    scores += np.log(np.bincount(classes) / ROWS)
    expected = known.decision_function(rows)
    np.testing.assert_allclose(
        scores - scores.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=1e-6
    )
    np.testing.assert_allclose(found.log_priors, np.log(np.bincount(classes) / ROWS), atol=1e-3)


def test_directions_whiten_the_classes_and_the_complement_is_apart(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = data
    found = fit(rows, classes)
    means = np.stack([rows[classes == c].mean(axis=0) for c in range(CLASSES)])
    within = np.cov((rows - means[classes]).T, bias=True)
    regular = within + 1e-4 * np.trace(within) * np.eye(FEATURES)
    np.testing.assert_allclose(found.directions.T @ regular @ found.directions, np.eye(CLASSES - 1), atol=1e-8)
    assert found.complement.shape == (FEATURES, FEATURES - CLASSES + 1)
    np.testing.assert_allclose(found.directions.T @ regular @ found.complement, 0.0, atol=1e-8)
    np.testing.assert_allclose((means - found.mean) @ found.complement, 0.0, atol=1e-7)
    np.testing.assert_allclose(found.centres, (means - found.mean) @ found.directions, atol=1e-8)
    spread = np.square(found.centres * np.sqrt(np.bincount(classes) / ROWS)[:, None]).sum(axis=0)
    assert (np.diff(spread) < 0).all()


@pytest.mark.parametrize("rows_used", [ROWS, 6])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_change_nothing(chunk: int, rows_used: int, data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = data[0][:rows_used], data[1][:rows_used] % 2
    assert_same(fit(rows, classes, chunk=chunk), fit(rows, classes))


def test_few_rows_are_fitted_in_the_space_they_span() -> None:
    random = np.random.default_rng(1)
    classes = np.arange(18) % 3
    rows = random.normal(size=(18, 40)) + 2 * random.normal(size=(3, 40))[classes]
    few = fit(rows, classes, 3)
    assert few.directions.shape == (40, 2)
    assert few.complement.shape == (40, 15)
    assert_same(few, fit(rows, classes, 3, count=10**6))
    nearest = np.square((rows - few.mean) @ few.directions - few.centres[:, None]).sum(axis=2).argmin(axis=0)
    np.testing.assert_array_equal(nearest, classes)


def test_a_class_without_a_row_changes_nothing_for_the_others(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = data
    found, known = fit(rows, classes + (classes > 1), CLASSES + 1), fit(rows, classes)
    assert found.directions.shape == known.directions.shape
    np.testing.assert_allclose(np.abs(np.delete(found.centres, 2, axis=0)), np.abs(known.centres), atol=1e-7)
    np.testing.assert_array_equal(found.centres[2], 0.0)
    assert np.isfinite(found.log_priors).all()
    assert found.log_priors[2] < found.log_priors.min(where=np.arange(5) != 2, initial=0.0) - 5


@pytest.mark.parametrize("count", [ROWS, 7])
def test_constant_and_repeated_features_are_no_obstacle(count: int, data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = data[0][:count], data[1][:count]
    odd = np.concatenate([rows, np.full((count, 2), 3.0), rows[:, :1]], axis=1)
    found = fit(odd, classes)
    for values in (found.directions, found.complement, found.centres):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(found.directions[FEATURES : FEATURES + 2], 0.0, atol=1e-6)
    assert found.directions.shape[1] == len(set(classes)) - 1


@pytest.mark.parametrize("count", [4, 40])
def test_features_that_are_all_constant_give_no_direction(count: int) -> None:
    found = fit(np.full((count, 6), 2.5), np.arange(count) % 2, 2)
    assert found.directions.shape == (6, 0)
    assert np.isfinite(found.complement).all()
    np.testing.assert_allclose(found.mean, 2.5)


def test_more_classes_than_features_give_at_most_as_many_directions() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(100) % 10
    rows = random.normal(size=(100, 3)) + 9 * random.normal(size=(10, 3))[classes]
    found = fit(rows, classes, 10)
    assert found.directions.shape == (3, 3)
    assert found.complement.shape == (3, 0)


@pytest.mark.parametrize(
    ("rows", "classes"), [(np.zeros((0, 3)), []), (np.ones((1, 3)), [0]), (np.ones((9, 3)), [1] * 9)]
)
def test_two_classes_are_required(rows: np.ndarray, classes: list[int]) -> None:
    with pytest.raises(ValueError, match="expected at least two rows of at least two classes"):
        fit(rows, np.asarray(classes, int), 2)
