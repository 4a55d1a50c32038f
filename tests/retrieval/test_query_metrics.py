"""What is made of the values of every query, grades, and rankings that are given rather than searched for."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.retrieval import (
    EmbeddingTable,
    Grades,
    QueryMetrics,
    RetrievalResult,
    find_neighbours,
    judge_result,
    measure_queries,
    ndcg,
    own_rows,
    query_metrics,
)
from trainer.retrieval import graded as graded_relevance

NAN = np.nan
# Class a has three queries, b one, c only a lone one. `y` counts for one query alone.
MEASURED = QueryMetrics(
    ids=np.array(["0", "1", "2", "3", "4"]),
    labels=np.array(["b", "a", "a", "c", "a"]),
    lone=np.array([False, False, False, True, False]),
    values={"x": np.array([1.0, 0.0, 0.5, NAN, 1.0]), "y": np.array([NAN, 0.25, NAN, NAN, NAN])},
)


def clusters(rows: int, classes: int, seed: int, prefix: str = "", attributes: bool = True) -> EmbeddingTable:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    vectors = rng.standard_normal((rows, 6)) + np.random.default_rng(99).standard_normal((classes, 6))[labels]
    others = {
        "gender": rng.choice(["Men", "Women", ""], rows),
        "colour": rng.choice(["red", "blue", "grey", "pink"], rows),
    }
    ids = np.array([f"{prefix}{row}" for row in range(rows)])
    return EmbeddingTable(ids, vectors, {"label": labels.astype(str)} | (others if attributes else {}))


def test_means_by_query_and_by_class():
    assert MEASURED.means() == {"queries": 5, "queries_without_match": 1, "x": 2.5 / 4, "y": 0.25}
    assert MEASURED.macro() == {"x": (0.5 + 1) / 2, "y": 0.25}
    assert MEASURED.per_class() == [
        {"label": "a", "queries": 3, "queries_without_match": 0, "x": 0.5, "y": 0.25},
        {"label": "b", "queries": 1, "queries_without_match": 0, "x": 1.0, "y": None},
        {"label": "c", "queries": 1, "queries_without_match": 1, "x": None, "y": None},
    ]


def test_some_of_the_queries():
    by_row = MEASURED.select(np.array([4, 0]))
    assert by_row.ids.tolist() == ["4", "0"] and len(by_row) == 2
    assert by_row.means() == {"queries": 2, "queries_without_match": 0, "x": 1.0, "y": None}
    by_mask = MEASURED.select(MEASURED.lone)
    assert by_mask.per_class() == [MEASURED.per_class()[2]]
    nobody = MEASURED.select(np.zeros(5, dtype=bool))
    assert nobody.means() == {"queries": 0, "queries_without_match": 0, "x": None, "y": None}
    assert nobody.macro() == {"x": None, "y": None} and nobody.per_class() == []


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"each of 2 queries, received shapes {'lone': \(3,\)}"):
        QueryMetrics(np.array(["0", "1"]), np.array(["a", "b"]), np.zeros(3, dtype=bool), {})


def graded(weights: dict[str, float], own: np.ndarray | None = None) -> Grades:
    """Three queries against four items; item 3 lacks a gender, and so does query 2."""
    queries = {"label": ["shirt", "shirt", "hat"], "gender": ["Men", "Women", ""], "size": [1.0, 2.0, NAN]}
    items = {
        "label": ["shirt", "shirt", "shoe", "hat"],
        "gender": ["Men", "Women", "Men", ""],
        "size": [2.0, 2.0, 1.0, NAN],
    }
    tables = [
        EmbeddingTable(np.arange(len(values["label"])).astype(str), np.ones((len(values["label"]), 1)), values)
        for values in ({name: np.array(value) for name, value in side.items()} for side in (queries, items))
    ]
    return Grades(*tables, weights, own)


def test_grades_worked_by_hand():
    grades = graded({"label": 2, "gender": 1, "size": 1})
    every = np.tile(np.arange(4), (3, 1))
    expected = [[3 / 4, 2 / 4, 2 / 4, 0], [3 / 4, 1, 0, 0], [0, 0, 0, 2 / 4]]
    np.testing.assert_allclose(grades.of(np.arange(3), every), expected)
    np.testing.assert_allclose(grades.of(np.array([1]), np.array([[3, 1]])), [[0, 1]])
    discount = 1 / np.log2(3)
    np.testing.assert_allclose(
        grades.ideal_gain((1, 2, 4)),
        [
            [3 / 4, 1, 2 / 4],
            [3 / 4 + 2 / 4 * discount, 1 + 3 / 4 * discount, 2 / 4],
            [3 / 4 + 2 / 4 * discount + 2 / 4 / 2, 1 + 3 / 4 * discount, 2 / 4],
        ],
    )


def test_the_own_row_is_no_part_of_the_ideal():
    weights = {"label": 2, "gender": 1, "size": 1}
    ideal = graded(weights, own=np.array([0, 1, -1])).ideal_gain((1,))
    np.testing.assert_allclose(ideal, [[2 / 4, 3 / 4, 2 / 4]])
    # The hat's own row is the only hat.
    np.testing.assert_allclose(graded(weights, own=np.array([2, 0, 3])).ideal_gain((1,)), [[3 / 4, 1, 0]])


def test_the_ideal_against_every_order(monkeypatch):
    """Many attributes and few values, so that every way of agreeing occurs, the own row left out here and there."""
    monkeypatch.setattr(graded_relevance, "COLUMNS", 7)
    rng = np.random.default_rng(1)
    names = {f"attribute {place}": float(weight) for place, weight in enumerate(rng.uniform(0.1, 2, 4))}

    def table(rows: int) -> EmbeddingTable:
        values = {name: rng.choice(["", "p", "q"], rows, p=[0.2, 0.4, 0.4]) for name in names}
        return EmbeddingTable(np.arange(rows).astype(str), np.ones((rows, 1)), {"label": np.full(rows, "x"), **values})

    queries, gallery = table(80), table(60)
    own = rng.integers(-1, 60, 80)
    grades = Grades(queries, gallery, names, own)
    every = grades.of(np.arange(80), np.tile(np.arange(60), (80, 1)))
    every[np.flatnonzero(own >= 0), own[own >= 0]] = 0
    best = -np.sort(-every, axis=1)
    discounts = 1 / np.log2(np.arange(2, 62))
    expected = [(best[:, :k] * discounts[:k]).sum(axis=1) for k in (1, 7, 60)]
    np.testing.assert_allclose(grades.ideal_gain((1, 7, 60)), expected)


def test_ndcg_worked_by_hand():
    discount = 1 / np.log2(3)
    grades = np.array([[0.5, 1.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    ideal = np.array([1 + 0.5 * discount, 1 + 0.5 * discount, 0.0])
    expected = [(0.5 + discount) / (1 + 0.5 * discount), 1, NAN]
    np.testing.assert_allclose(ndcg(grades, ideal, 2), expected)
    np.testing.assert_allclose(ndcg(grades, ideal, 9), expected)  # ranks past the depth count as 0


def test_a_blue_mens_shirt_prefers_blue_mens_shirts():
    """Both nearest are shirts; which of them is first decides the graded metric and no other."""
    attributes = {
        "label": np.array(["shirt", "shirt", "shirt"]),
        "colour": np.array(["blue", "pink", "blue"]),
    }
    angles = np.deg2rad([0, 10, 20])
    table = EmbeddingTable(np.array(["0", "1", "2"]), np.stack([np.cos(angles), np.sin(angles)], axis=1), attributes)
    weights = {"label": 1.0, "colour": 1.0}
    answer = measure_queries(table, table, (1,), same_table=True, relevance=weights)
    np.testing.assert_allclose(answer.values["ndcg@1"], [0.5, 1, 0.5])
    np.testing.assert_allclose(answer.values["precision@1"], 1)
    by_label = measure_queries(table, table, (1,), same_table=True)
    np.testing.assert_allclose(by_label.values["ndcg@1"], 1)


@pytest.mark.parametrize("same_table", [True, False])
def test_a_whole_ranking_is_judged_as_it_is_measured(same_table, monkeypatch):
    monkeypatch.setattr(query_metrics, "RANKED_CELLS", 1000)
    gallery = clusters(90, 25, 1)
    queries = gallery.select(np.arange(80, 0, -2)) if same_table else clusters(50, 30, 2)
    arguments = {"same_table": same_table, "relevance": {"label": 1.0, "gender": 0.5, "colour": 0.25}}
    measured = measure_queries(queries, gallery, (1, 5, 200), **arguments)
    own = own_rows(queries, gallery) if same_table else None
    ranking = find_neighbours(queries, gallery, len(gallery) - same_table, exclude=own)
    judged = judge_result(ranking, queries, gallery, (1, 5, 200), **arguments)
    assert measured.lone.any()
    np.testing.assert_array_equal(judged.lone, measured.lone)
    assert list(judged.values) == list(measured.values)
    for name, values in measured.values.items():
        np.testing.assert_allclose(judged.values[name], values, rtol=1e-12, err_msg=name)


def test_a_ranking_turned_round_is_judged_as_given():
    table = clusters(40, 3, 1)
    ranking = find_neighbours(table, table, 39, exclude=np.arange(40))
    some = np.array([7, 3])
    turned = RetrievalResult(some, ranking.rows[some, ::-1], ranking.scores[some, ::-1])
    judged = judge_result(turned, table, table, (1,), same_table=True)
    farthest = table.labels[ranking.rows[some, -1]] == table.labels[some]
    np.testing.assert_array_equal(judged.values["hit_rate@1"], farthest)
    np.testing.assert_array_equal(judged.ids, table.ids[some])
    np.testing.assert_array_equal(judged.labels, table.labels[some])


def test_what_a_shallow_ranking_cannot_tell_is_left_out():
    table = clusters(60, 3, 1)  # R is about 20

    def names(depth: int) -> set[str]:
        ranking = find_neighbours(table, table, depth, exclude=np.arange(60))
        return set(judge_result(ranking, table, table, (1, 10), same_table=True).values)

    at_1, at_10 = ({f"{name}@{k}" for name in ("hit_rate", "precision", "recall", "ndcg")} for k in (1, 10))
    assert names(59) == names(40) == at_1 | at_10 | {"r_precision", "map@r", "mrr"}
    assert names(15) == at_1 | at_10 | {"mrr"}
    assert names(1) == at_1


def test_rankings_that_cannot_be_judged_are_refused():
    table = clusters(20, 3, 1)
    with pytest.raises(InputError, match="without the queries' own rows"):
        judge_result(find_neighbours(table, table, 3), table, table, same_table=True)
    with pytest.raises(InputError, match="one or more K of at least 1, received \\[0\\]"):
        judge_result(find_neighbours(table, table, 3), table, table, (0,), same_table=False)


def test_weights_that_do_not_fit_are_refused():
    table, bare = clusters(20, 3, 1), clusters(20, 3, 1, attributes=False)
    refusals = [
        ({}, "weights of 1 to 8 attributes .* received 0"),
        ({f"{row}": 1.0 for row in range(9)}, "received 9"),
        ({"label": 0.0}, "finite weights above 0"),
        ({"label": NAN}, "finite weights above 0"),
        ({"label": 1.0, "color": 1.0}, "'color', which relevance weighs, in the queries; did you mean 'colour'"),
        ({"label": 1.0, "season": 1.0}, "in the queries; it has colour, gender, label"),
    ]
    for weights, message in refusals:
        with pytest.raises(InputError, match=message):
            measure_queries(table, table, same_table=True, relevance=weights)
    with pytest.raises(InputError, match="'gender', which relevance weighs, in the gallery"):
        measure_queries(table, bare, same_table=False, relevance={"gender": 1.0})
    numbered = EmbeddingTable(bare.ids, bare.vectors, {**bare.attributes, "gender": np.arange(20)})
    with pytest.raises(InputError, match="'gender' as text or as numbers in both tables"):
        measure_queries(table, numbered, same_table=False, relevance={"gender": 1.0})


def test_the_number_of_cores_changes_nothing(monkeypatch):
    table = clusters(700, 40, 3)
    arguments = {"same_table": True, "relevance": {"label": 1.0, "colour": 1.0}, "cells": 20_000}
    shared = measure_queries(table, table, **arguments)
    whole = query_metrics.Parallel
    monkeypatch.setattr(query_metrics, "Parallel", lambda n_jobs, **settings: whole(n_jobs=1, **settings))
    alone = measure_queries(table, table, **arguments)
    for name, values in shared.values.items():
        np.testing.assert_array_equal(alone.values[name], values, err_msg=name)


def test_an_error_in_a_thread_is_raised(monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(query_metrics, "best_columns", broken)
    table = clusters(200, 5, 3)
    with pytest.raises(RuntimeError, match="out of order"):
        measure_queries(table, table, same_table=True, cells=2000)
