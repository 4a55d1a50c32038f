"""Post-processing steps against plain formulas, their limits, and what they must leave alone."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable, find_neighbours, judge_result, measure_queries, postprocessing
from trainer.retrieval.postprocessing import (
    Flip,
    QueryExpansion,
    Reranking,
    Search,
    Truncation,
    Whitening,
    apply_steps,
)


def make(vectors: np.ndarray | list, labels: list[str] | np.ndarray | None = None, prefix: str = "") -> EmbeddingTable:
    vectors = np.asarray(vectors, dtype=np.float32)
    ids = np.array([f"{prefix}{row}" for row in range(len(vectors))])
    return EmbeddingTable(ids, vectors, {"label": np.full(len(vectors), "x") if labels is None else np.asarray(labels)})


def random_table(rows: int, dimension: int, seed: int, classes: int = 4) -> EmbeddingTable:
    rng = np.random.default_rng(seed)
    of_class = rng.integers(0, classes, rows)
    centres = np.random.default_rng(99).standard_normal((classes, dimension))
    vectors = centres[of_class] + rng.standard_normal((rows, dimension)) * 3
    return make(vectors, [f"class {number}" for number in of_class], f"{seed}-")


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def own(table: EmbeddingTable, depth: int = 10) -> Search:
    return Search(table, table, same_table=True, depth=depth)


STEPS = [Truncation(3), Whitening.fit(random_table(60, 8, 7), 5), QueryExpansion(4, 3.0), Reranking(5, 2)]
STEPS.append(Flip(random_table(40, 8, 1)))


def test_a_search_finds_what_the_exact_search_finds() -> None:
    queries, gallery = random_table(9, 8, 1), random_table(30, 8, 2)
    found, expected = Search(queries, gallery, same_table=False, depth=6).result, find_neighbours(queries, gallery, 6)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_search_is_no_deeper_than_there_is_to_find() -> None:
    table = random_table(5, 3, 1)
    assert own(table, 100).result.rows.shape == (5, 4)
    assert Search(table, table, same_table=False, depth=100).result.rows.shape == (5, 5)


def test_measuring_follows_the_ranking_when_there_is_one() -> None:
    table = random_table(30, 8, 1)
    plain = own(table, 29)
    backwards = dataclasses.replace(plain.result, rows=plain.result.rows[:, ::-1])
    turned = dataclasses.replace(plain, ranked=backwards)
    ks = (1, 3)
    assert plain.measure(ks).means() == measure_queries(table, table, ks, same_table=True).means()
    assert turned.measure(ks).means() == judge_result(backwards, table, table, ks, same_table=True).means()
    assert turned.measure(ks).means() != plain.measure(ks).means()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("some", [False, True])
def test_no_query_finds_itself_and_nothing_given_is_changed(step: postprocessing.Step, some: bool) -> None:
    gallery = random_table(40, 8, 1)
    queries = gallery.select(np.arange(3, 40, 2)) if some else gallery
    search = Search(queries, gallery, same_table=True, depth=39)
    before = search.result.rows.copy(), search.result.scores.copy(), gallery.vectors.copy()
    after = step(search)
    rows = np.arange(3, 40, 2) if some else np.arange(40)
    np.testing.assert_array_equal(np.sort(after.result.rows), np.sort(before[0]))
    assert not (after.result.rows == rows[:, None]).any()
    assert (np.diff(after.result.scores) <= 0).all()
    assert np.abs(after.result.scores).max() <= 1
    for given, kept in zip((search.result.rows, search.result.scores, gallery.vectors), before, strict=True):
        np.testing.assert_array_equal(given, kept)
    assert after.queries.ids.tolist() == queries.ids.tolist()
    assert after.gallery.labels.tolist() == gallery.labels.tolist()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_settings_show_in_the_name_and_arrays_do_not(step: postprocessing.Step) -> None:
    assert len(repr(step)) < 50
    assert repr(step).startswith(type(step).__name__)


def test_steps_are_applied_in_order() -> None:
    search = own(random_table(40, 8, 1))
    steps = [Truncation(4), QueryExpansion(3)]
    by_hand = QueryExpansion(3)(Truncation(4)(search))
    np.testing.assert_array_equal(apply_steps(search, steps).result.scores, by_hand.result.scores)
    assert apply_steps(search, []) is search


def test_truncation_keeps_the_first_numbers_at_unit_length() -> None:
    table = make([[3, 4, 100], [0, 2, -7]])
    cut = Truncation(2)(own(table))
    np.testing.assert_allclose(cut.gallery.vectors, [[0.6, 0.8], [0, 1]], atol=1e-7)
    assert cut.queries is cut.gallery
    assert cut.bytes_per_row == 8


def test_truncation_to_the_full_width_changes_nothing() -> None:
    search = own(random_table(10, 8, 1))
    assert Truncation(8)(search) is search


def test_flip_is_the_mean_of_both_views() -> None:
    table = make([[1, 0], [0, 5], [3, 3]])
    views = np.array([[0, 7], [1, 0], [0, 1]])
    mirrored = make(views).select(np.array([2, 0, 1]))  # another order: ids decide
    flipped = Flip(mirrored)(own(table)).gallery
    np.testing.assert_allclose(flipped.vectors, unit(unit(table.vectors) + unit(views)), atol=1e-6)
    np.testing.assert_allclose(flipped.vectors[0], [np.sqrt(0.5), np.sqrt(0.5)], atol=1e-6)


def test_flip_of_pictures_that_are_their_own_mirror_image_changes_nothing() -> None:
    search = own(random_table(20, 8, 1))
    np.testing.assert_array_equal(Flip(search.gallery)(search).result.rows, search.result.rows)


# More rows than dimensions, fewer, and so few axes that not all are computed.
@pytest.mark.parametrize(("rows", "dimension"), [(50, 12), (9, 12), (40, 60)])
def test_whitening_is_that_of_the_library(rows: int, dimension: int) -> None:
    train, table = random_table(rows, dimension, 1), random_table(20, dimension, 2)
    whitened = Whitening.fit(train, 6).encode(table)
    expected = PCA(6, whiten=True, svd_solver="full").fit(unit(train.vectors)).transform(unit(table.vectors))
    # Axes have no sign and all of them share one scale, which cosine similarities do not see.
    ratios = whitened / expected
    np.testing.assert_allclose(np.abs(ratios), np.abs(ratios[0, 0]), rtol=1e-3)
    np.testing.assert_allclose(ratios, np.broadcast_to(ratios[0], ratios.shape), rtol=1e-3)


def test_whitened_rows_have_equal_variances_and_strength_says_how_equal() -> None:
    train = random_table(400, 6, 1)
    full, half, none = (np.cov(Whitening.fit(train, 6, strength).encode(train).T) for strength in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(full / full[0, 0], np.eye(6), atol=1e-4)
    np.testing.assert_allclose(half / half[0, 0], np.sqrt(np.diag(np.diag(none)) / none[0, 0]), atol=1e-4)
    assert none[0, 0] > 1.2 * none[5, 5]


def test_a_turn_alone_keeps_all_distances() -> None:
    train = random_table(100, 6, 1)
    turned = Whitening.fit(train, strength=0.0)
    centred = unit(train.vectors) - unit(train.vectors).mean(axis=0)
    np.testing.assert_allclose(turned.encode(train) @ turned.encode(train).T, centred @ centred.T, atol=1e-5)
    narrow, wide = Whitening.fit(train, 3, 0.5).encode(train), Whitening.fit(train, 6, 0.5).encode(train)
    np.testing.assert_allclose(narrow, wide[:, :3], atol=1e-6)
    np.testing.assert_allclose(Whitening.fit(train, 6, 0.5).narrowed(3).encode(train), wide[:, :3], atol=1e-6)


def test_whitening_survives_directions_in_which_nothing_varies() -> None:
    flat = np.random.default_rng(0).standard_normal((30, 6)) * [1, 1, 1, 0, 0, 0]
    found = Whitening.fit(make(flat))(own(make(flat)))
    np.testing.assert_allclose(found.gallery.vectors[:, 3:], 0, atol=1e-2)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_whitening_of_a_model_that_tells_nothing_apart_is_no_error(strength: float) -> None:
    same = make(np.ones((5, 3)))
    assert np.isfinite(Whitening.fit(same, strength=strength)(own(same)).result.scores).all()


def test_query_expansion_worked_by_hand() -> None:
    queries = make([[2, 0]])
    gallery = make([[3, 4], [0, 9], [4, 3], [-1, 0]])  # cosines 0.6, 0, 0.8, -1
    search = Search(queries, gallery, same_table=False, depth=4)
    expected = {
        QueryExpansion(1): [1 + 0.8, 0.6],
        QueryExpansion(2): [1 + 0.8 + 0.6, 0.6 + 0.8],
        QueryExpansion(2, 2.0): [1 + 0.64 * 0.8 + 0.36 * 0.6, 0.64 * 0.6 + 0.36 * 0.8],
        QueryExpansion(9): [1 + 0.8 + 0.6 + 0 - 1, 0.6 + 0.8 + 1 + 0],
        QueryExpansion(9, 1.0): [1 + 0.8 * 0.8 + 0.6 * 0.6, 0.8 * 0.6 + 0.6 * 0.8],  # what is opposite counts 0
    }
    for step, vector in expected.items():
        after = step(search)
        np.testing.assert_allclose(after.queries.vectors, unit(np.array([vector])), atol=1e-6)
        assert after.gallery is gallery


def test_query_expansion_by_its_formula_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postprocessing.query_expansion, "CHUNK", 7)
    table = random_table(40, 8, 1)
    rows = unit(table.vectors)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1)[:, :5]
    weights = np.maximum(np.take_along_axis(similar, nearest, axis=1), 0) ** 1.5
    expected = unit(rows + np.einsum("qn,qnd->qd", weights, rows[nearest]))
    after = QueryExpansion(5, 1.5)(own(table))
    np.testing.assert_allclose(after.queries.vectors, expected, atol=1e-5)
    np.testing.assert_array_equal(after.gallery.vectors, table.vectors)


def test_query_expansion_with_no_neighbours_changes_nothing() -> None:
    search = own(random_table(10, 8, 1))
    assert QueryExpansion(0, 3.0)(search) is search


def test_query_expansion_asks_with_what_a_ranking_before_it_found() -> None:
    search = Search(make([[1, 0]]), make([[1, 1], [1, -1], [0, -1]]), same_table=False, depth=3)
    turned = dataclasses.replace(search.result, rows=np.array([[2, 0, 1]]))
    after = QueryExpansion(1)(dataclasses.replace(search, ranked=turned, side_bytes=3.0))
    np.testing.assert_allclose(after.queries.vectors, [[np.sqrt(0.5), -np.sqrt(0.5)]], atol=1e-6)
    assert after.result.rows.tolist() == [[1, 2, 0]]
    assert after.side_bytes == 3  # the ranking before it still needs them


TEN = random_table(10, 8, 1)
REFUSED = {
    "a depth of at least 1": lambda: own(TEN, 0),
    "another row than the query": lambda: own(make([[1, 2]])),
    "every query to be a row": lambda: Search(random_table(3, 8, 2), TEN, True, 5).result,
    "a dimension from 1 to 8 .* received 9": lambda: Truncation(9)(own(TEN)),
    "a dimension from 1 to 8 .* received 0": lambda: Truncation(0)(own(TEN)),
    "mirrored embeddings of dimension 8, received 4": lambda: Flip(random_table(10, 4, 1))(own(TEN)),
    "received none of 10, such as '1-0'": lambda: Flip(random_table(10, 8, 2))(own(TEN)),
    "from 1 to 8 dimensions, .* received 9": lambda: Whitening.fit(random_table(20, 8, 1), 9),
    "from 1 to 2 dimensions, as 3 rows": lambda: Whitening.fit(random_table(3, 8, 1), 3),
    "strength from 0": lambda: Whitening.fit(TEN, strength=1.5),
    "dimension 4, .* received 8": lambda: Whitening.fit(random_table(20, 4, 1))(own(TEN)),
    "0 or more neighbours": lambda: QueryExpansion(-1),
    "alpha of at least 0, received 1 and nan": lambda: QueryExpansion(1, float("nan")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_done_is_refused(message: str) -> None:
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_memory_does_not_grow_with_queries_times_gallery() -> None:
    table = random_table(6000, 8, 1)
    tracemalloc.start()
    try:
        search = QueryExpansion(10)(own(table))
        assert search.result.rows.shape == (6000, 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 110 * 2**20  # the search's block of 64 MiB and what ranks it; 6000 x 6000 numbers are 137 MiB
