"""k-reciprocal re-ranking against the paper's formulas written out densely, and its limits."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable
from trainer.retrieval.postprocessing import QueryExpansion, Reranking, Search, Whitening, reciprocal, reranking
from trainer.retrieval.postprocessing.reciprocal import reciprocal_encodings


def make(vectors: np.ndarray, prefix: str = "") -> EmbeddingTable:
    ids = np.array([f"{prefix}{row}" for row in range(len(vectors))])
    return EmbeddingTable(ids, np.asarray(vectors, np.float32), {"label": np.full(len(vectors), "x")})


def clusters(rows: int, seed: int, dimension: int = 6) -> EmbeddingTable:
    """Points that lie in clumps of different density, so that being a neighbour is often not mutual."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, dimension))
    spread = np.array([0.1, 0.3, 0.6, 1.0, 2.0])
    of_clump = rng.integers(0, 5, rows)
    vectors = centres[of_clump] + rng.standard_normal((rows, dimension)) * spread[of_clump, None]
    return make(vectors, f"{seed}-")


def dense_encodings(vectors: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """`[P, P]`: the paper's equations 1 to 7 and 11, set by set."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, np.inf)  # a point is its own nearest neighbour
    order = np.argsort(-similar, axis=1, kind="stable").tolist()
    count = len(vectors)

    def near(p: int, k: int) -> list[int]:
        return order[p][: k + 1]

    def mutual(p: int, k: int) -> set[int]:
        return {q for q in near(p, k) if p in near(q, k)}

    weights = np.zeros((count, count))
    for p in range(count):
        expanded = set(mutual(p, k1))
        for q in mutual(p, k1):
            half = mutual(q, k1 // 2)
            if len(mutual(p, k1) & half) >= 2 / 3 * len(half) - 1e-9:
                expanded |= half
        for q in expanded:
            weights[p, q] = np.exp(-(1 - unit[p] @ unit[q]))
        weights[p] /= weights[p].sum()
    return np.stack([weights[near(p, k2 - 1)].mean(axis=0) for p in range(count)])


def dense_scores(vectors: np.ndarray, k1: int, k2: int, lambda_: float) -> np.ndarray:
    """`[P, P]`: 1 minus the final distance, equations 10 and 12."""
    encodings = dense_encodings(vectors, k1, k2)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    least = np.minimum(encodings[:, None], encodings[None]).sum(axis=2)
    most = np.maximum(encodings[:, None], encodings[None]).sum(axis=2)
    return 1 - ((1 - lambda_) * (1 - least / most) + lambda_ * (1 - unit @ unit.T))


SETTINGS = [(20, 6, 0.3), (5, 1, 0.3), (6, 3, 0.0), (1, 1, 0.5), (200, 4, 0.3), (3, 9, 0.2)]


@pytest.mark.parametrize(("k1", "k2", "lambda_"), SETTINGS)
def test_all_rows_querying_each_other_get_the_dense_formulas_scores(k1: int, k2: int, lambda_: float) -> None:
    table = clusters(70, 1)
    after = Reranking(k1, k2, lambda_)(Search(table, table, True, 69)).result
    expected = dense_scores(table.vectors, k1, k2, lambda_)
    np.testing.assert_allclose(after.scores, np.take_along_axis(expected, after.rows, axis=1), atol=2e-6)
    assert (np.sort(after.rows) != np.arange(70)[:, None]).all()
    assert (np.diff(after.scores) <= 0).all()


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_chunks_make_no_difference(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = clusters(40, 2)
    search = Search(table, table, True, 39)
    expected = Reranking(6, 3)(search).result
    monkeypatch.setattr(reciprocal, "CHUNK", chunk)
    monkeypatch.setattr(reranking, "CHUNK", chunk)
    after = Reranking(6, 3)(search).result
    np.testing.assert_array_equal(after.rows, expected.rows)
    np.testing.assert_allclose(after.scores, expected.scores, atol=1e-7)


def test_queries_beside_the_gallery_are_points_too() -> None:
    queries, gallery = clusters(9, 1), clusters(50, 2)
    after = Reranking(6, 3)(Search(queries, gallery, False, 50)).result
    points = np.concatenate([gallery.vectors, queries.vectors])
    expected = dense_scores(points, 6, 3, 0.3)[50:, :50]
    np.testing.assert_allclose(after.scores, np.take_along_axis(expected, after.rows, axis=1), atol=2e-6)
    alone = Reranking(6, 3)(Search(queries.select(np.array([4])), gallery, False, 50)).result
    expected = dense_scores(np.concatenate([gallery.vectors, queries.vectors[4:5]]), 6, 3, 0.3)[50:, :50]
    np.testing.assert_allclose(alone.scores, np.take_along_axis(expected, alone.rows, axis=1), atol=2e-6)


def test_some_rows_of_the_gallery_get_what_they_get_among_all() -> None:
    gallery = clusters(50, 2)
    rows = np.array([40, 3, 17])
    search = Search(gallery.select(rows), gallery, True, 49)
    np.testing.assert_array_equal(
        Reranking(6, 3)(search).result.rows, Reranking(6, 3)(Search(gallery, gallery, True, 49)).result.rows[rows]
    )
    whitened = Whitening.fit(clusters(60, 5))(search)  # the queries are no longer the gallery's very numbers
    assert Reranking(6, 3)(whitened).result.rows.shape == (3, 49)


def test_candidates_are_the_top_of_the_search() -> None:
    table = clusters(60, 3)
    whole, top = Search(table, table, True, 59), Search(table, table, True, 12)
    after, full = Reranking(6, 3)(top).result, Reranking(6, 3)(whole).result
    np.testing.assert_array_equal(np.sort(after.rows), np.sort(top.result.rows))
    for row in range(60):
        scores = dict(zip(full.rows[row].tolist(), full.scores[row].tolist(), strict=True))
        np.testing.assert_allclose(after.scores[row], [scores[found] for found in after.rows[row].tolist()], atol=1e-7)


def test_with_all_weight_on_the_original_distance_nothing_changes() -> None:
    table = clusters(50, 4)
    search = Search(table, table, True, 49)
    after = Reranking(6, 3, 1.0)(search).result
    np.testing.assert_array_equal(after.rows, search.result.rows)
    np.testing.assert_array_equal(after.scores, search.result.scores)


def test_with_none_on_it_what_shares_nothing_keeps_its_order() -> None:
    angles = np.radians([0, 10, 20, 80, 90])
    table = make(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    after = Reranking(1, 1, 0.0)(Search(table, table, True, 4)).result
    # N(p, 1) is p and its nearest: 0-10, 10-0 (the first of equals), 20-10, 80-90, 90-80. Mutual: 0-10 and 80-90.
    # Their weights are 1 and w = exp(-(1 - cos 10)) over 1 + w, the other way round: d_J is 1 - 2 w / 2.
    weight = np.exp(np.cos(np.radians(10)) - 1)
    assert after.scores[0].tolist() == pytest.approx([weight, 0, 0, 0], abs=1e-6)
    assert after.rows[0].tolist() == [1, 2, 3, 4]
    assert after.scores[3].tolist() == pytest.approx([weight, 0, 0, 0], abs=1e-6)
    assert after.rows[3].tolist() == [4, 2, 1, 0]
    assert after.rows[2].tolist() == [1, 0, 3, 4]
    assert after.scores[2].tolist() == [0, 0, 0, 0]


def test_encodings_are_sparse_and_sum_to_one() -> None:
    table = clusters(80, 6)
    encodings = reciprocal_encodings(table, 8, 3)
    np.testing.assert_allclose(encodings.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encodings.toarray(), dense_encodings(table.vectors, 8, 3), atol=1e-6)
    assert encodings.data.min() > 0


def test_what_the_server_must_hold_is_told() -> None:
    table = clusters(80, 6)
    search = Search(table, table, True, 10)
    after = Reranking(8, 1)(search)
    weights = np.count_nonzero(dense_encodings(table.vectors, 8, 1)) / 80
    assert search.bytes_per_row == 24
    assert after.bytes_per_row == pytest.approx(24 + 8 * weights)  # a float32 weight and an int32 column each


def test_a_gallery_of_two() -> None:
    table = make(np.eye(2))
    assert Reranking()(Search(table, table, True, 1)).result.rows.tolist() == [[1], [0]]


def test_what_cannot_be_done_is_refused() -> None:
    table = clusters(20, 1)
    search = Search(table, table, True, 10)
    for settings in [(0, 1, 0.5), (1, 0, 0.5), (1, 1, 1.1), (1, 1, -0.1), (1, 1, float("nan"))]:
        with pytest.raises(InputError, match="expected k1 and k2 of at least 1 and lambda from 0 to 1"):
            Reranking(*settings)
    with pytest.raises(InputError, match="before query expansion, not after"):
        Reranking(5, 2)(QueryExpansion(3)(search))
    strangers = dataclasses.replace(table, ids=np.array([f"other {row}" for row in range(20)]))
    with pytest.raises(InputError, match="such as 'other 0'"):
        Reranking(5, 2)(Search(strangers, table, True, 10))


def test_memory_grows_with_points_and_not_with_their_square() -> None:
    table = clusters(5000, 1)
    tracemalloc.start()
    try:
        after = Reranking(6, 2)(Search(table, table, True, 20)).result
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert after.rows.shape == (5000, 20)
    assert peak < 90 * 2**20  # 5000 x 5000 float32 are 95 MiB
