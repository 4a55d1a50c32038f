from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as reference

from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable, find_neighbours, measure_queries, query_metrics, retrieval_metrics
from trainer.retrieval.metrics import (
    JudgedRanking,
    hit_rate,
    map_at_r,
    precision,
    r_precision,
    recall,
    reciprocal_rank,
    relevance,
)

WEIGHTS = {"label": 2.0, "colour": 1.0, "size": 0.5}


def make(vectors: np.ndarray, labels: list[str] | np.ndarray, prefix: str = "") -> EmbeddingTable:
    """Colours are missing here and there; sizes are numbers."""
    ids = np.array([f"{prefix}{row}" for row in range(len(vectors))])
    rng = np.random.default_rng(len(vectors))
    attributes = {
        "label": np.asarray(labels),
        "colour": rng.choice(["", "red", "blue", "grey"], len(vectors)),
        "size": rng.choice([36.0, 37.0, np.nan], len(vectors)),
    }
    return EmbeddingTable(ids, np.asarray(vectors, dtype=np.float32), attributes)


def random_labels(rows: int, classes: int, seed: int) -> np.ndarray:
    """Skewed, so that R goes from 0 to many."""
    rng = np.random.default_rng(seed)
    return np.array([f"class {value}" for value in np.minimum(rng.geometric(2.5 / classes, rows), classes)])


def corners(rows: int, classes: int, seed: int) -> EmbeddingTable:
    """Vectors whose cosines are multiples of 1/4, computed without rounding: many are exactly equal, or 0 and -0."""
    vectors = np.random.default_rng(seed).choice([-0.5, 0.5], size=(rows, 4))
    return make(vectors, random_labels(rows, classes, seed), f"{seed}-")


def gaussian(rows: int, classes: int, seed: int) -> EmbeddingTable:
    vectors = np.random.default_rng(seed).standard_normal((rows, 5))
    return make(vectors, random_labels(rows, classes, seed), f"{seed}-")


def grade(queries: EmbeddingTable, query: int, gallery: EmbeddingTable, row: int) -> float:
    agreed = 0.0
    for name, weight in WEIGHTS.items():
        ours, theirs = queries.attributes[name][query], gallery.attributes[name][row]
        agreed += weight * bool(ours == theirs and ours != "")  # NaN equals nothing
    return agreed / sum(WEIGHTS.values())


def dcg(grades: list[float], k: int) -> float:
    return sum(value / math.log2(place + 2) for place, value in enumerate(grades[:k]))


def brute(queries: EmbeddingTable, gallery: EmbeddingTable, ks: tuple[int, ...], leave_out_own: bool) -> dict:
    """The metrics by their definitions, a query at a time, over full sorted lists: name to `[Q]`."""
    rows = []
    unit = gallery.vectors.astype(np.float64)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    for query in range(len(queries)):
        vector = queries.vectors[query].astype(np.float64)
        scores = unit @ (vector / np.linalg.norm(vector))
        order = sorted(range(len(gallery)), key=lambda row: (-scores[row], row))
        if leave_out_own:
            order = [row for row in order if gallery.ids[row] != queries.ids[query]]
        right = [gallery.labels[row] == queries.labels[query] for row in order]
        grades = [grade(queries, query, gallery, row) for row in order]
        total = sum(right)
        values = {}
        for k in ks:
            values[f"hit_rate@{k}"] = float(any(right[:k]))
            values[f"precision@{k}"] = sum(right[:k]) / k
            values[f"recall@{k}"] = sum(right[:k]) / total if total else 0
            values[f"ndcg@{k}"] = dcg(grades, k) / dcg(sorted(grades, reverse=True), k) if total else 0
        if total:
            values["r_precision"] = sum(right[:total]) / total
            values["map@r"] = sum(sum(right[: i + 1]) / (i + 1) for i in range(total) if right[i]) / total
            values["mrr"] = 1 / (1 + right.index(True))
        rows.append(values if total else {})
    names = {name for row in rows for name in row}
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def assert_equal(answer: query_metrics.QueryMetrics, expected: dict[str, np.ndarray]) -> None:
    assert set(answer.values) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(answer.values[name], values, rtol=1e-12, err_msg=name)
    np.testing.assert_array_equal(answer.lone, np.isnan(expected["mrr"]))


# Three queries ranked four deep. The first finds x o x o of R = 2, the second o o o o of R = 1 (at rank 5), the third
# is of a lone class.
JUDGED = JudgedRanking(
    relevant=np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=bool),
    total=np.array([2, 1, 0]),
    first=np.array([1, 5, 0]),
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (hit_rate(JUDGED, 1), [1, 0, np.nan]),
        (hit_rate(JUDGED, 3), [1, 0, np.nan]),
        (precision(JUDGED, 1), [1, 0, np.nan]),
        (precision(JUDGED, 3), [2 / 3, 0, np.nan]),
        (precision(JUDGED, 8), [2 / 8, 0, np.nan]),
        (recall(JUDGED, 1), [1 / 2, 0, np.nan]),
        (recall(JUDGED, 4), [1, 0, np.nan]),
        # Only ranks up to R = 2 count.
        (r_precision(JUDGED), [1 / 2, 0, np.nan]),
        # (1/1) / 2, and not ((1/1) + (2/3)) / 2.
        (map_at_r(JUDGED), [1 / 2, 0, np.nan]),
        (reciprocal_rank(JUDGED), [1, 1 / 5, np.nan]),
    ],
)
def test_cases_worked_by_hand(values, expected):
    np.testing.assert_allclose(values, expected)


def test_map_at_r_against_the_examples_of_its_paper():
    """R = 10; the table of Musgrave et al. (section 3.2): what is found first decides."""
    ten_then_wrong = np.zeros((3, 10), dtype=bool)
    ten_then_wrong[0, 0] = True
    ten_then_wrong[1, [0, 9]] = True
    ten_then_wrong[2, [0, 1]] = True
    judged = JudgedRanking(ten_then_wrong, total=np.full(3, 10), first=np.ones(3, dtype=np.int64))
    np.testing.assert_allclose(map_at_r(judged), [0.1, 0.12, 0.2])
    np.testing.assert_allclose(r_precision(judged), [0.1, 0.2, 0.2])


def test_a_gallery_worked_by_hand():
    angles = np.deg2rad([0, 10, 30, 60, 100])
    table = make(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a", "b", "a", "a", "lone"])
    # By angle: 0a finds b a a lone; 10b finds a a a lone; 30a finds b a a lone; 60a finds a(30) lone(100) b(10) a(0);
    # lone finds a a b a.
    answer = retrieval_metrics(table, table, (1, 2), same_table=True)
    log3 = math.log2(3)
    assert answer == {
        "queries": 5,
        "queries_without_match": 2,
        "hit_rate@1": pytest.approx(1 / 3),
        "hit_rate@2": pytest.approx(1),
        "precision@1": pytest.approx(1 / 3),
        "precision@2": pytest.approx(1 / 2),
        "recall@1": pytest.approx((0 + 0 + 1 / 2) / 3),
        "recall@2": pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3),
        "ndcg@1": pytest.approx(1 / 3),
        "ndcg@2": pytest.approx((1 / log3 + 1 / log3 + 1) / (1 + 1 / log3) / 3),
        "r_precision": pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3),
        "map@r": pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3),
        "mrr": pytest.approx((1 / 2 + 1 / 2 + 1) / 3),
    }


@pytest.mark.parametrize("build", [corners, gaussian], ids=["ties", "no ties"])
@pytest.mark.parametrize("classes", [3, 60])
@pytest.mark.parametrize("cells", [1, 1000, 10**6])
def test_one_table_against_brute_force(build, classes, cells, monkeypatch):
    monkeypatch.setattr(query_metrics, "RANKED_CELLS", 500)
    table = build(150, classes, 4)
    ks = (1, 5, 10, 200)
    answer = measure_queries(table, table, ks, same_table=True, relevance=WEIGHTS, cells=cells)
    assert answer.lone.any() == (classes == 60)
    assert_equal(answer, brute(table, table, ks, leave_out_own=True))


@pytest.mark.parametrize("build", [corners, gaussian], ids=["ties", "no ties"])
def test_two_tables_against_brute_force(build):
    queries, gallery = build(60, 30, 1), build(140, 30, 2)
    answer = measure_queries(queries, gallery, (1, 3), same_table=False, relevance=WEIGHTS, cells=5000)
    assert_equal(answer, brute(queries, gallery, (1, 3), False))


def test_queries_that_are_some_rows_of_the_gallery():
    gallery = gaussian(140, 30, 2)
    queries = gallery.select(np.arange(139, 0, -3))
    answer = measure_queries(queries, gallery, (1, 3), same_table=True, relevance=WEIGHTS)
    assert_equal(answer, brute(queries, gallery, (1, 3), True))
    np.testing.assert_array_equal(answer.ids, queries.ids)
    np.testing.assert_array_equal(answer.labels, queries.labels)


def test_equal_ids_of_other_pictures_are_not_left_out():
    queries, gallery = gaussian(40, 5, 2), gaussian(40, 5, 2)
    answer = retrieval_metrics(queries, gallery, (1,), same_table=False)
    assert answer["hit_rate@1"] == 1


def test_the_driver_ranks_as_the_neighbour_search_does():
    table = corners(120, 8, 6)
    result = find_neighbours(table, table, 10, exclude=np.arange(120))
    right = relevance(result, table, table)
    answer = retrieval_metrics(table, table, (1, 10), same_table=True)
    assert answer["hit_rate@1"] == pytest.approx(right[:, 0].mean())
    assert answer["hit_rate@10"] == pytest.approx(right.any(axis=1).mean())
    assert answer["precision@10"] == pytest.approx(right.mean())


def test_against_scikit_learn_where_it_measures_the_same():
    """One relevant row a query: MRR is label ranking average precision, the hit rate is top-k accuracy."""
    rng = np.random.default_rng(3)
    gallery = make(rng.standard_normal((30, 6)), [f"{row:02}" for row in range(30)])
    truth = rng.integers(0, 30, 200)
    queries = make(rng.standard_normal((200, 6)), [f"{row:02}" for row in truth], "q")
    unit = [table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True) for table in (queries, gallery)]
    scores = unit[0] @ unit[1].T
    answer = retrieval_metrics(queries, gallery, (1, 5), same_table=False)
    one_hot = np.eye(30)[truth]
    assert answer["mrr"] == pytest.approx(reference.label_ranking_average_precision_score(one_hot, scores))
    for k in (1, 5):
        assert answer[f"hit_rate@{k}"] == pytest.approx(reference.top_k_accuracy_score(truth, scores, k=k))
        # With R = 1 a hit is all there is to recall.
        assert answer[f"recall@{k}"] == answer[f"hit_rate@{k}"]


def test_one_query_against_scikit_learn():
    """R many: what scikit-learn measures of the set of the K nearest, and of a whole ranking."""
    table = gaussian(200, 4, 8)
    answer = measure_queries(table, table, (1, 10), same_table=True)
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    for query in range(0, 200, 7):
        others = np.delete(np.arange(200), query)
        scores = unit[others] @ unit[query]
        right = table.labels[others] == table.labels[query]
        rank = np.argsort(np.argsort(-scores))
        of = {name: value[query] for name, value in answer.values.items()}
        assert of["precision@10"] == pytest.approx(reference.precision_score(right, rank < 10))
        assert of["recall@10"] == pytest.approx(reference.recall_score(right, rank < 10))
        within_r = rank < right.sum()
        assert of["r_precision"] == pytest.approx(reference.precision_score(right, within_r))
        # Average precision of those among the first R, which it takes for all there are to find.
        found = reference.average_precision_score(right & within_r, scores) if of["r_precision"] else 0
        assert of["map@r"] == pytest.approx(found * of["r_precision"])
        assert of["map@r"] < reference.average_precision_score(right, scores)


def test_ndcg_against_scikit_learn():
    """Equal where no two scores are: where some are, scikit-learn takes the mean over their orders."""
    table = gaussian(120, 6, 8)
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    scores = unit @ unit.T
    grades = np.array([[grade(table, query, table, row) for row in range(120)] for query in range(120)])
    np.fill_diagonal(scores, -2)
    np.fill_diagonal(grades, 0)
    answer = measure_queries(table, table, (1, 10, 119), same_table=True, relevance=WEIGHTS)
    for query in np.flatnonzero(~answer.lone)[::5]:
        for k in (1, 10, 119):
            theirs = reference.ndcg_score(grades[query : query + 1], scores[query : query + 1], k=k)
            assert answer.values[f"ndcg@{k}"][query] == pytest.approx(theirs)


def test_the_order_of_the_rows_changes_nothing():
    table = gaussian(100, 20, 5)
    turned = table.select(np.random.default_rng(0).permutation(100))
    first = measure_queries(table, table, same_table=True, relevance=WEIGHTS, cells=1000).means()
    assert measure_queries(turned, turned, same_table=True, relevance=WEIGHTS, cells=700).means() == {
        name: pytest.approx(value) for name, value in first.items()
    }


def test_only_lone_classes():
    table = make(np.eye(3), ["a", "b", "c"])
    answer = retrieval_metrics(table, table, (1,), same_table=True)
    names = ("hit_rate@1", "precision@1", "recall@1", "ndcg@1", "r_precision", "map@r", "mrr")
    assert answer == {"queries": 3, "queries_without_match": 3} | dict.fromkeys(names)


def test_shuffled_labels_score_at_chance():
    """Ten equal clusters: perfect with their own labels; with shuffled ones an item in ten is right, at every depth."""
    rng = np.random.default_rng(0)
    labels = np.repeat([f"class {row}" for row in range(10)], 60)
    vectors = np.repeat(rng.standard_normal((10, 16)), 60, axis=0) + 0.1 * rng.standard_normal((600, 16))
    true = make(vectors, labels)
    assert retrieval_metrics(true, true, same_table=True)["map@r"] == 1
    table = make(vectors, rng.permutation(labels))
    answer = retrieval_metrics(table, table, same_table=True)
    for name in ("precision@1", "precision@10", "ndcg@10", "r_precision"):
        assert answer[name] == pytest.approx(59 / 599, abs=0.03)
    assert answer["hit_rate@10"] == pytest.approx(1 - 0.9**10, abs=0.06)


def test_a_collapsed_model_ranks_by_row():
    table = make(np.ones((40, 3)), ["a", "b"] * 20)
    answer = retrieval_metrics(table, table, (1,), same_table=True)
    # Row 0 (a) is first for all but itself, whose first is row 1 (b).
    assert answer["hit_rate@1"] == pytest.approx(19 / 40)


def test_refusals():
    table = gaussian(10, 3, 1)
    for ks in ((), (0, 1)):
        with pytest.raises(InputError, match="one or more K"):
            retrieval_metrics(table, table, ks, same_table=True)
    with pytest.raises(InputError, match="received 10 that are not, such as '2-0'"):
        retrieval_metrics(gaussian(10, 3, 2), table, same_table=True)
    alone = table.select(np.array([0]))
    with pytest.raises(InputError, match="another row than the query"):
        retrieval_metrics(alone, alone, same_table=True)
    with pytest.raises(ValueError, match="depth 7"):
        map_at_r(JudgedRanking(np.zeros((1, 5), dtype=bool), np.array([7]), np.array([6])))
    with pytest.raises(ValueError, match=r"total \[Q\]"):
        JudgedRanking(np.zeros((2, 5), dtype=bool), np.array([7]), np.array([6]))


def test_memory_does_not_grow_with_queries_times_gallery():
    table = gaussian(4000, 50, 1)
    tracemalloc.start()
    try:
        measure_queries(table, table, same_table=True, cells=2**17)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20  # 4000 x 4000 similarities would be 61 MiB
    assert query_metrics.CELLS * 4 <= 64 * 2**20


def test_real_pictures_find_their_kind(shared_root):
    """Plain 16 x 16 thumbnails of two article types that look nothing alike."""
    pandas = pytest.importorskip("pandas")
    from PIL import Image

    folder = shared_root / "data" / "fashion-products"
    frame = pandas.read_csv(folder / "styles.csv", usecols=["id", "articleType"], dtype=str, on_bad_lines="skip")
    frame = frame[frame["articleType"].isin(["Watches", "Shirts"])]
    frame["path"] = [folder / "images" / f"{identity}.jpg" for identity in frame["id"]]
    frame = frame[[path.exists() for path in frame["path"]]].head(120)
    pixels = []
    for path in frame["path"]:
        with Image.open(path) as picture:
            pixels.append(np.asarray(picture.convert("RGB").resize((16, 16)), dtype=np.float32).reshape(-1))
    vectors = np.stack(pixels) - np.mean(pixels, axis=0)
    table = EmbeddingTable(frame["id"].to_numpy(), vectors, {"label": frame["articleType"].to_numpy()})
    answer = retrieval_metrics(table, table, same_table=True)
    assert answer["queries_without_match"] == 0
    assert (answer["hit_rate@1"] or 0) > 0.9
    assert answer["hit_rate@10"] == 1
