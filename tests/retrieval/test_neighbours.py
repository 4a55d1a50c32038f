from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.retrieval.neighbours import RetrievalResult, find_neighbours, iter_neighbours, own_rows
from trainer.retrieval.similarity import best_columns
from trainer.retrieval.table import EmbeddingTable


def make(vectors: np.ndarray, prefix: str = "") -> EmbeddingTable:
    ids = np.array([f"{prefix}{row}" for row in range(len(vectors))])
    return EmbeddingTable(ids, vectors, {"label": np.full(len(vectors), "x")})


def random_table(rows: int, dimension: int, seed: int) -> EmbeddingTable:
    return make(np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32) * 3, f"{seed}-")


def corners(rows: int, seed: int) -> EmbeddingTable:
    """Vectors whose cosines are multiples of 1/4, computed without rounding: many are exactly equal."""
    return make(np.random.default_rng(seed).choice([-0.5, 0.5], size=(rows, 4)).astype(np.float32), f"{seed}-")


def brute(queries: EmbeddingTable, gallery: EmbeddingTable, k: int, exclude: np.ndarray | None = None):
    a = queries.vectors.astype(np.float64)
    b = gallery.vectors.astype(np.float64)
    scores = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    if exclude is not None:
        scores[exclude >= 0, exclude[exclude >= 0]] = -np.inf
    rows = np.stack([np.lexsort((np.arange(len(line)), -line))[:k] for line in scores])
    return rows, np.take_along_axis(scores, rows, axis=1)


def test_a_case_worked_by_hand():
    gallery = make(np.array([[1, 0], [0, 2], [3, 3], [-1, 0]], dtype=np.float32))
    result = find_neighbours(make(np.array([[5, 0]], dtype=np.float32)), gallery, 3)
    assert result.rows.tolist() == [[0, 2, 1]]
    np.testing.assert_allclose(result.scores, [[1, np.sqrt(0.5), 0]], atol=1e-6)
    assert result.rows.dtype == np.int64
    assert result.scores.dtype == np.float32


# Blocks smaller than k, blocks that do not divide the gallery, one block for all.
@pytest.mark.parametrize(("chunk", "block"), [(1, 1), (7, 13), (64, 50), (1024, 8192)])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_it_finds_what_brute_force_finds(chunk, block, k):
    queries, gallery = random_table(50, 16, 1), random_table(333, 16, 2)
    rows, scores = brute(queries, gallery, k)
    result = find_neighbours(queries, gallery, k, chunk=chunk, block=block)
    np.testing.assert_array_equal(result.queries, np.arange(50))
    np.testing.assert_array_equal(result.rows, rows)
    np.testing.assert_allclose(result.scores, scores, atol=1e-6)


@pytest.mark.parametrize("block", [1, 9, 100, 8192])
@pytest.mark.parametrize("k", [1, 7, 60, 299])
def test_equal_scores_are_ordered_by_gallery_row(block, k):
    table = corners(300, 3)
    exclude = np.arange(300)
    rows, scores = brute(table, table, k, exclude)
    result = find_neighbours(table, table, k, exclude=exclude, chunk=37, block=block)
    np.testing.assert_array_equal(result.rows, rows)
    np.testing.assert_array_equal(result.scores, scores)


def test_galleries_in_the_worst_order_for_the_block_by_block_search():
    angle = np.linspace(0, 1.5, 500)
    nearest_last = make(np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32))
    query = make(np.array([[1, 0], [0, 1]], dtype=np.float32))
    result = find_neighbours(query, nearest_last, 3, block=24)
    assert result.rows.tolist() == [[499, 498, 497], [0, 1, 2]]


def test_exclude_leaves_out_one_row_for_each_query_that_has_one():
    table = corners(40, 5)
    exclude = np.where(np.arange(40) % 2 == 0, np.arange(40), -1)
    rows, _ = brute(table, table, 39, exclude)
    result = find_neighbours(table, table, 39, exclude=exclude, block=6)
    np.testing.assert_array_equal(result.rows, rows)
    found_itself = (result.rows == np.arange(40)[:, None]).any(axis=1)
    assert not found_itself[::2].any()
    assert found_itself[1::2].any()


def test_a_zero_vector_is_similar_to_nothing():
    table = make(np.array([[0, 0], [1, 0], [-1, 0]], dtype=np.float32))
    result = find_neighbours(table, table, 3)
    assert result.scores[0].tolist() == [0, 0, 0]
    assert result.rows[1].tolist() == [1, 0, 2]


def test_a_copy_scores_no_more_than_one():
    table = random_table(200, 31, 8)
    twice = make(np.concatenate([table.vectors, table.vectors * 1.7]))
    assert find_neighbours(table, twice, 5).scores.max() == pytest.approx(1, abs=1e-6)
    assert find_neighbours(table, twice, 5).scores.max() <= 1


def test_the_streaming_form_gives_the_same_by_chunks():
    queries, gallery = random_table(50, 8, 1), random_table(90, 8, 2)
    whole = find_neighbours(queries, gallery, 4)
    parts = list(iter_neighbours(queries, gallery, 4, chunk=16))
    assert [len(part) for part in parts] == [16, 16, 16, 2]
    np.testing.assert_array_equal(np.concatenate([part.queries for part in parts]), whole.queries)
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)


def test_chunks_already_yielded_do_not_change():
    table = random_table(60, 8, 1)
    chunks = iter_neighbours(table, table, 2, chunk=20)
    first = next(chunks)
    before = first.scores.copy()
    list(chunks)
    np.testing.assert_array_equal(first.scores, before)


@pytest.mark.parametrize(
    ("k", "exclude", "message"),
    [
        (0, None, "k from 1 to 10"),
        (11, None, "k from 1 to 10"),
        (10, np.arange(10), "k from 1 to 9"),
        (3, np.arange(9), "for each of 10 queries"),
        (3, np.zeros(10), "received float64"),
        (3, np.full(10, 10), "from -1 to 9, received 10 to 10"),
        (3, np.full(10, -2), "from -1 to 9, received -2 to -2"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_first_chunk(k, exclude, message):
    table = random_table(10, 4, 1)
    with pytest.raises(InputError, match=message):
        iter_neighbours(table, table, k, exclude=exclude)


def test_other_refusals():
    table = random_table(10, 4, 1)
    with pytest.raises(InputError, match="dimension 4, received 5"):
        find_neighbours(random_table(3, 5, 2), table, 1)
    with pytest.raises(InputError, match="chunk and block"):
        find_neighbours(table, table, 1, chunk=0)
    with pytest.raises(ValueError, match=r"rows \[Q, K\]"):
        RetrievalResult(np.arange(2), np.zeros((3, 1), dtype=np.int64), np.zeros((3, 1), dtype=np.float32))


def test_own_rows_are_found_by_id():
    gallery = random_table(10, 4, 1)
    queries = gallery.select(np.array([7, 2]))
    assert own_rows(queries, gallery).tolist() == [7, 2]
    assert own_rows(gallery, gallery).tolist() == list(range(10))
    assert own_rows(random_table(2, 4, 9), gallery).tolist() == [-1, -1]


def test_best_columns_when_all_are_equal():
    columns, scores = best_columns(np.zeros((3, 8), dtype=np.float32), 4)
    assert columns.tolist() == [[0, 1, 2, 3]] * 3
    assert not scores.any()


def test_memory_grows_with_the_block_and_not_with_queries_times_gallery():
    table = random_table(6000, 8, 1)
    tracemalloc.start()
    try:
        for _ in iter_neighbours(table, table, 5, chunk=64, block=512):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20  # 6000 x 6000 similarities would be 137 MiB
