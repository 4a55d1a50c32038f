"""Every index layer held against NumPy."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from export.config import IndexConfig
from export.index import Index, build_index, selection
from export.table_rows import TableRows
from trainer.errors import InputError

EXACT = {"dtype": "float32"}
# With as many candidates as there are rows, all that can differ from exact is what should not.
ALL = [
    EXACT,
    {"dtype": "bfloat16"},
    {"dtype": "int8"},
    {"type": "ivf", "nprobe": 6, "lists": 6},
    {"type": "approximate"},
]
BLOCK = 256


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", BLOCK)


def unit(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(settings: dict[str, Any], vectors: np.ndarray) -> Index:
    index = build_index(IndexConfig(**settings))
    index.index(TableRows.from_arrays(np.arange(len(vectors)).astype(str), vectors, {}))
    return index


def ask(index: Index, queries: np.ndarray, k: int, admitted: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    call = tf.function(lambda asked, mask: index(asked, k, mask))
    scores, rows = call(tf.constant(queries), None if admitted is None else tf.constant(admitted))
    assert scores.shape == rows.shape == (len(queries), k)
    assert (scores.dtype, rows.dtype) == (tf.float32, tf.int32)
    return scores.numpy(), rows.numpy()


def expected(vectors: np.ndarray, queries: np.ndarray, k: int, mask: np.ndarray | None = None) -> Any:
    """Scores and rows by a stable sort of all, filled up with minus infinity and -1."""
    scores = queries @ vectors.T
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    scores = np.pad(scores, [(0, 0), (0, k)], constant_values=-np.inf)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, rows, axis=1)
    return best, np.where(best > -np.inf, rows, -1)


@pytest.mark.parametrize("settings", ALL, ids=str)
@pytest.mark.parametrize(("count", "k"), [(6, 10), (BLOCK, 3), (BLOCK + 1, 1), (3 * BLOCK + 37, 12)])
def test_finds_what_numpy_finds(settings: dict[str, Any], count: int, k: int) -> None:
    vectors, queries = unit(count, 24), unit(5, 24, seed=1)
    scores, rows = ask(filled(settings, vectors), queries, k)
    best, order = expected(vectors, queries, k)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, best, atol=1e-6)


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_one_query(settings: dict[str, Any]) -> None:
    vectors, queries = unit(700, 5), unit(1, 5, seed=1)
    np.testing.assert_array_equal(ask(filled(settings, vectors), queries, 4)[1], expected(vectors, queries, 4)[1])


@pytest.mark.parametrize("settings", [*ALL[:3], {"type": "approximate"}, {"type": "ivf"}], ids=str)
@pytest.mark.parametrize("count", [0, 1])
def test_no_row_and_one_row(settings: dict[str, Any], count: int) -> None:
    vectors = unit(count, 3)
    scores, rows = ask(filled(settings, vectors), unit(2, 3, seed=1), 4)
    assert rows.tolist() == [[*range(count), *[-1] * (4 - count)]] * 2
    assert np.isfinite(scores).sum() == 2 * count


@pytest.mark.parametrize("settings", ALL[:3], ids=str)
def test_among_equals_the_lower_row_wins(settings: dict[str, Any]) -> None:
    # Axes and their opposites: every score is 1, 0 or -1 in any arithmetic, so all of it is ties.
    axes = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    vectors = axes[np.random.default_rng(0).integers(0, 8, 3 * BLOCK + 50)]
    queries = axes[:3]
    for k in (1, 7, 150):
        scores, rows = ask(filled(settings, vectors), queries, k)
        best, order = expected(vectors, queries, k)
        np.testing.assert_array_equal(rows, order)
        np.testing.assert_allclose(scores, best, atol=1e-6)


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_filters_before_it_selects(settings: dict[str, Any]) -> None:
    vectors, queries = unit(3 * BLOCK + 37, 16), unit(4, 16, seed=1)
    groups = np.random.default_rng(2).integers(0, 5, len(vectors))
    groups[11], groups[500:503] = 5, 6
    admitted = np.zeros((4, 7), bool)
    admitted[0], admitted[1, [0, 3]], admitted[2, 5] = True, True, True
    index = filled(settings, vectors)
    index.set_groups(groups)
    scores, rows = ask(index, queries, 9, admitted)
    best, order = expected(vectors, queries, 9, admitted[:, groups])
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, best, atol=1e-6)
    assert rows[2].tolist() == [11] + [-1] * 8
    assert (rows[3] == -1).all()


@pytest.mark.parametrize("settings", [EXACT, {"dtype": "int8"}, {"type": "ivf"}], ids=str)
@pytest.mark.parametrize(("value", "word"), [(np.nan, "finite"), (np.inf, "finite"), (0.0, "length above 0")])
def test_refuses_vectors_without_direction(settings: dict[str, Any], value: float, word: str) -> None:
    vectors = unit(9000, 4)
    vectors[8500] = value
    with pytest.raises(InputError, match=rf"row 8500, id '8500': expected .*{word}"):
        filled(settings, vectors)


def test_the_length_of_rows_does_not_count() -> None:
    vectors, queries = unit(50, 8), unit(3, 8, seed=1)
    lengths = np.geomspace(1e-30, 1e30, 50, dtype=np.float32)[:, None]
    scores, rows = ask(filled(EXACT, vectors * lengths), queries, 5)
    best, order = expected(vectors, queries, 5)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, best, atol=1e-6)


def test_eight_bits_find_nearly_all_with_few_candidates() -> None:
    vectors, queries = unit(4000, 64), unit(50, 64, seed=1)
    found = ask(filled({"dtype": "int8", "candidates": 3}, vectors), queries, 10)[1]
    true = expected(vectors, queries, 10)[1]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)])
    assert recall >= 0.99


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_only_the_exact_one_says_so(settings: dict[str, Any]) -> None:
    assert build_index(IndexConfig(**settings)).is_exact == (settings == EXACT)


def test_windows_select_exactly() -> None:
    random = np.random.default_rng(0)
    for count, k in [(6400, 3), (6401, 40), (1000, 7), (90, 200)]:
        scores = random.integers(0, 30, (count, 4)).astype(np.float32)  # nothing but ties
        scores[:, 3] = -np.inf
        scores[count // 2 :, 2] = -np.inf
        best, rows = selection.best_of_block(tf.constant(scores), count, k)
        order = np.argsort(-scores.T, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(rows, order)
        np.testing.assert_array_equal(best, np.take_along_axis(scores.T, order, axis=1))


def test_windows_keep_the_order_of_rows_among_equals() -> None:
    scores = np.zeros((6400, 1), np.float32)
    scores[6000], scores[[10, 20, 6001]] = 2, 1  # the last of these is in the window that comes first
    assert selection.best_of_block(tf.constant(scores), 6400, 3)[1].numpy().tolist() == [[6000, 10, 20]]


def test_equals_that_eight_bits_tell_apart() -> None:
    vectors = np.array([[0.6, 0.8, 0, 0], [0.6, 0.48, 0.64, 0], [0, 0, 0, 1]], np.float32)
    scores, rows = ask(filled({"dtype": "int8"}, vectors), np.eye(1, 4, dtype=np.float32), 2)
    assert scores[0, 0] == scores[0, 1]
    assert rows.tolist() == [[0, 1]]


def test_the_graph_does_not_grow_with_the_table() -> None:
    sizes = []
    for count in (BLOCK, 20 * BLOCK):
        index = filled(EXACT, unit(count, 8))
        spec = tf.TensorSpec([None, 8], tf.float32)
        graph = tf.function(lambda asked, index=index: index(asked, 10)).get_concrete_function(spec).graph
        sizes.append(len(graph.as_graph_def().SerializeToString()))
    assert sizes[1] < sizes[0] + 5000


def test_approximate_compiles_with_xla_to_the_operation_for_tpus() -> None:
    vectors, queries = unit(600, 16), unit(4, 16, seed=1)
    index = filled({"type": "approximate"}, vectors)
    index.set_groups(np.arange(600) % 3)
    admitted = tf.constant([[True, False, True]] * 4)
    call = tf.function(lambda asked, mask: index(asked, 10, mask), jit_compile=True)
    best, order = expected(vectors, queries, 10, (np.arange(600) % 3 != 1)[None])
    scores, rows = call(tf.constant(queries), admitted)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, best, atol=1e-6)
    assert "TopK" in call.experimental_get_compiler_ir(tf.constant(queries), admitted)(stage="hlo")
