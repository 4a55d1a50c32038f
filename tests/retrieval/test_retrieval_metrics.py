from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as reference

from trainer.errors import InputError
from trainer.retrieval import metrics
from trainer.retrieval.metrics import (
    JudgedRanking,
    hit_rate,
    map_at_r,
    precision,
    recall,
    reciprocal_rank,
    relevance,
    retrieval_metrics,
)
from trainer.retrieval.neighbours import find_neighbours
from trainer.retrieval.table import EmbeddingTable


def make(vectors: np.ndarray, labels: list[str] | np.ndarray, prefix: str = "") -> EmbeddingTable:
    ids = np.array([f"{prefix}{row}" for row in range(len(vectors))])
    return EmbeddingTable(ids, np.asarray(vectors, dtype=np.float32), {"label": np.asarray(labels)})


def random_labels(rows: int, classes: int, seed: int) -> np.ndarray:
    """Skewed, so that R goes from 0 to many."""
    rng = np.random.default_rng(seed)
    return np.array([f"class {value}" for value in np.minimum(rng.geometric(2.5 / classes, rows), classes)])


def corners(rows: int, classes: int, seed: int) -> EmbeddingTable:
    """Vectors whose cosines are multiples of 1/4, computed without rounding: many are exactly equal."""
    vectors = np.random.default_rng(seed).choice([-0.5, 0.5], size=(rows, 4))
    return make(vectors, random_labels(rows, classes, seed), f"{seed}-")


def gaussian(rows: int, classes: int, seed: int) -> EmbeddingTable:
    vectors = np.random.default_rng(seed).standard_normal((rows, 5))
    return make(vectors, random_labels(rows, classes, seed), f"{seed}-")


def brute(queries: EmbeddingTable, gallery: EmbeddingTable, ks: tuple[int, ...], leave_out_own: bool) -> dict:
    """The metrics by their definitions, a query at a time, over full sorted lists."""
    values: dict[str, list[float]] = {name: [] for name in ("map@r", "mrr")}
    for k in ks:
        values |= {f"hit_rate@{k}": [], f"precision@{k}": [], f"recall@{k}": []}
    lone = 0
    unit = gallery.vectors.astype(np.float64)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    for query in range(len(queries)):
        vector = queries.vectors[query].astype(np.float64)
        scores = unit @ (vector / np.linalg.norm(vector))
        order = sorted(range(len(gallery)), key=lambda row: (-scores[row], row))
        if leave_out_own:
            order = [row for row in order if gallery.ids[row] != queries.ids[query]]
        right = [gallery.labels[row] == queries.labels[query] for row in order]
        total = sum(right)
        lone += total == 0
        for k in ks:
            values[f"hit_rate@{k}"].append(float(any(right[:k])))
            values[f"precision@{k}"].append(sum(right[:k]) / k)
            if total:
                values[f"recall@{k}"].append(sum(right[:k]) / total)
        if total:
            values["map@r"].append(sum(sum(right[: i + 1]) / (i + 1) for i in range(total) if right[i]) / total)
            values["mrr"].append(1 / (1 + right.index(True)))
    means = {name: float(np.mean(value)) if value else None for name, value in values.items()}
    return {"queries": len(queries), "queries_without_match": lone} | means


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
        (hit_rate(JUDGED, 1), [1, 0, 0]),
        (hit_rate(JUDGED, 3), [1, 0, 0]),
        (precision(JUDGED, 1), [1, 0, 0]),
        (precision(JUDGED, 3), [2 / 3, 0, 0]),
        (precision(JUDGED, 8), [2 / 8, 0, 0]),
        (recall(JUDGED, 1), [1 / 2, 0, np.nan]),
        (recall(JUDGED, 4), [1, 0, np.nan]),
        # Only ranks up to R = 2 count: (1/1) / 2, and not ((1/1) + (2/3)) / 2.
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


def test_a_gallery_worked_by_hand():
    angles = np.deg2rad([0, 10, 30, 60, 100])
    table = make(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a", "b", "a", "a", "lone"])
    # By angle: 0a finds b a a lone; 10b finds a a a lone; 30a finds b a a lone; 60a finds a(30) lone(100) b(10) a(0);
    # lone finds a a b a.
    answer = retrieval_metrics(table, table, (1, 2), same_table=True)
    assert answer == {
        "queries": 5,
        "queries_without_match": 2,
        "hit_rate@1": pytest.approx(1 / 5),
        "hit_rate@2": pytest.approx(3 / 5),
        "precision@1": pytest.approx(1 / 5),
        "precision@2": pytest.approx(3 / 10),
        "recall@1": pytest.approx((0 + 0 + 1 / 2) / 3),
        "recall@2": pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3),
        "map@r": pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3),
        "mrr": pytest.approx((1 / 2 + 1 / 2 + 1) / 3),
    }


@pytest.mark.parametrize("build", [corners, gaussian], ids=["ties", "no ties"])
@pytest.mark.parametrize("classes", [3, 60])
@pytest.mark.parametrize("cells", [1, 1000, 10**6])
def test_one_table_against_brute_force(build, classes, cells):
    table = build(150, classes, 4)
    ks = (1, 5, 10, 200)
    answer = retrieval_metrics(table, table, ks, same_table=True, cells=cells)
    expected = brute(table, table, ks, leave_out_own=True)
    assert (expected["queries_without_match"] > 0) == (classes == 60)
    assert answer == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize("build", [corners, gaussian], ids=["ties", "no ties"])
def test_two_tables_against_brute_force(build):
    queries, gallery = build(60, 30, 1), build(140, 30, 2)
    answer = retrieval_metrics(queries, gallery, (1, 3), same_table=False, cells=5000)
    assert answer == {n: pytest.approx(v) for n, v in brute(queries, gallery, (1, 3), False).items()}


def test_queries_that_are_some_rows_of_the_gallery():
    gallery = gaussian(140, 30, 2)
    queries = gallery.select(np.arange(139, 0, -3))
    answer = retrieval_metrics(queries, gallery, (1, 3), same_table=True)
    assert answer == {n: pytest.approx(v) for n, v in brute(queries, gallery, (1, 3), True).items()}


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


def test_the_order_of_the_rows_changes_nothing():
    table = gaussian(100, 20, 5)
    turned = table.select(np.random.default_rng(0).permutation(100))
    first = retrieval_metrics(table, table, same_table=True, cells=1000)
    assert retrieval_metrics(turned, turned, same_table=True, cells=700) == {
        name: pytest.approx(value) for name, value in first.items()
    }


def test_only_lone_classes():
    table = make(np.eye(3), ["a", "b", "c"])
    answer = retrieval_metrics(table, table, (1,), same_table=True)
    assert answer == {
        "queries": 3,
        "queries_without_match": 3,
        "hit_rate@1": 0.0,
        "precision@1": 0.0,
        "recall@1": None,
        "map@r": None,
        "mrr": None,
    }


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


def test_memory_does_not_grow_with_queries_times_gallery(monkeypatch):
    table = gaussian(4000, 50, 1)
    tracemalloc.start()
    try:
        retrieval_metrics(table, table, same_table=True, cells=2**17)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20  # 4000 x 4000 similarities would be 61 MiB
    assert metrics.CELLS * 16 <= 128 * 2**20


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
