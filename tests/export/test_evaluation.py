"""What the trainer found for the test split, chosen and merged in chunks."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from export.evaluation import choose_queries, run_metrics, write_evaluation
from export.table_rows import TableChunk, TableRows
from serving.contract import EVALUATION_FILE
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable, find_neighbours

COUNT = 300


@pytest.fixture(scope="module")
def table() -> EmbeddingTable:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(COUNT, 6)).astype(np.float32)
    vectors[100:110] = vectors[10:20]  # equal pictures, far from each other
    attributes = {
        "label": np.where(np.arange(COUNT) % 3 == 0, "shirt", "shoe"),
        "split": np.where(np.arange(COUNT) % 4 == 0, "test", "train"),
    }
    return EmbeddingTable(np.array([f"i{row}" for row in range(COUNT)]), vectors, attributes)


@pytest.fixture(scope="module")
def path(table: EmbeddingTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "fused.parquet"
    table.write_parquet(path)
    return path


def test_all_test_items_are_asked_for_where_they_are_few(table: EmbeddingTable, path: Path) -> None:
    queries = choose_queries(path)
    assert queries is not None
    assert queries.whole
    expected = table.select(table.attributes["split"] == "test")
    assert queries.table.ids.tolist() == expected.ids.tolist()
    assert np.array_equal(queries.table.vectors, expected.vectors)
    assert queries.table.labels.tolist() == expected.labels.tolist()
    assert np.array_equal(queries.vectors["i4"], table.vectors[4])


def test_of_many_an_even_share_is_taken(path: Path) -> None:
    queries = choose_queries(path, most=4)
    assert queries is not None
    assert not queries.whole
    assert queries.table.ids.tolist() == ["i0", "i100", "i196", "i296"]


def test_a_table_without_a_test_split_has_no_queries(table: EmbeddingTable, tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    table.select(table.attributes["split"] == "train").write_parquet(path)
    assert choose_queries(path) is None
    EmbeddingTable(table.ids, table.vectors, {"label": table.labels}).write_parquet(path)
    assert choose_queries(path) is None


def test_neighbours_are_those_of_the_trainer_in_its_order(table: EmbeddingTable, path: Path, tmp_path: Path) -> None:
    queries = choose_queries(path)
    assert queries is not None
    pieces = [slice(start, start + 70) for start in (0, 70, 70 + COUNT, 140, 210, 280)]  # one of them is empty
    rows = types.SimpleNamespace(
        count=COUNT, chunks=lambda: (TableChunk(table.ids[piece], table.vectors[piece], {}) for piece in pieces)
    )
    write_evaluation(tmp_path, queries, cast(TableRows, rows), 15, {"hit_rate@1": 0.5})
    with np.load(tmp_path / EVALUATION_FILE, allow_pickle=False) as archive:
        found = dict(archive)
    expected = find_neighbours(queries.table, table, 15)
    assert found["neighbour_ids"].tolist() == table.ids[expected.rows].tolist()
    np.testing.assert_array_equal(found["scores"], expected.scores)
    assert found["query_ids"].tolist() == queries.table.ids.tolist()
    assert found["labels"].tolist() == queries.table.labels.tolist()
    assert np.array_equal(found["vectors"], queries.table.vectors)
    assert bool(found["whole"]) is True
    assert json.loads(str(found["metrics"])) == {"hit_rate@1": 0.5}


def test_at_least_ten_are_kept_and_no_more_than_there_are(table: EmbeddingTable, path: Path, tmp_path: Path) -> None:
    queries = choose_queries(path, most=3)
    assert queries is not None
    for top_k, count, expected in ((1, COUNT, 10), (12, COUNT, 12), (12, 7, 7)):
        rows = TableRows.from_arrays(table.ids[:count], table.vectors[:count], {})
        write_evaluation(tmp_path, queries, rows, top_k, {})
        with np.load(tmp_path / EVALUATION_FILE) as archive:
            assert archive["neighbour_ids"].shape == (3, expected)


def test_metrics_are_those_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Run python -m trainer evaluate first"):
        run_metrics(tmp_path, "fused")
    rows = [{"model": "fused", "split": "test"}, {"model": "hub_vit", "split": "test"}]
    (tmp_path / "metrics.json").write_text(json.dumps(rows), encoding="utf-8")
    assert run_metrics(tmp_path, "fused") == rows[:1]
    for content in ("[", "[1]", '[{"split": "test"}]'):
        (tmp_path / "metrics.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="expected metrics as JSON"):
            run_metrics(tmp_path, "fused")
