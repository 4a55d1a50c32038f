from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.errors import InputError
from trainer.retrieval import table as table_module
from trainer.retrieval.table import EmbeddingTable


def make(rows: int = 5, dimension: int = 3, **attributes: object) -> EmbeddingTable:
    rng = np.random.default_rng(0)
    return EmbeddingTable(
        ids=np.array([f"id {row}" for row in range(rows)]),
        vectors=rng.standard_normal((rows, dimension), dtype=np.float32),
        attributes={"label": np.array(["shirt", "heel"] * rows)[:rows], **attributes},
    )


def test_it_keeps_what_it_is_given():
    table = make(5, 3, year=np.arange(5, dtype=np.int16))
    assert len(table) == 5
    assert table.dimension == 3
    assert table.vectors.dtype == np.float32
    assert table.labels.tolist() == ["shirt", "heel", "shirt", "heel", "shirt"]
    assert table.attributes["year"].dtype == np.int16


def test_it_is_frozen_and_leaves_the_callers_array_alone():
    mine = np.ones((2, 2), dtype=np.float32)
    table = EmbeddingTable(np.array(["a", "b"]), mine, {"label": np.array(["x", "y"])})
    with pytest.raises(ValueError, match="read-only"):
        table.vectors[0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        table.labels[0] = "z"
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.ids = np.array(["c", "d"])  # type: ignore[misc]
    assert mine.flags.writeable


def test_pandas_columns_are_taken_and_a_missing_string_is_empty():
    frame = pd.DataFrame({"id": ["a", "b"], "label": ["x", "y"], "colour": ["red", None], "year": [2011.0, None]})
    attributes = {name: frame[name].to_numpy() for name in ("label", "colour", "year")}
    table = EmbeddingTable(frame["id"].to_numpy(), np.ones((2, 2)), attributes)
    assert table.ids.dtype.kind == "U"
    assert table.attributes["colour"].tolist() == ["red", ""]
    assert np.isnan(table.attributes["year"][1])


IDS = np.array(["a", "b"])
VECTORS = np.ones((2, 3), dtype=np.float32)
LABELS = {"label": np.array(["x", "y"])}


@pytest.mark.parametrize(
    ("ids", "vectors", "attributes", "message"),
    [
        (IDS, VECTORS[:1], LABELS, "one vector for each of the 2 ids, received 1"),
        (IDS, VECTORS[0], LABELS, r"shape \[N, D\], received float32 of shape \(3,\)"),
        (IDS, np.array([[1, np.nan], [1, 2]]), LABELS, "NaN or infinity in row 0"),
        (IDS, np.array([[1, 2], [1, np.inf]]), LABELS, "NaN or infinity in row 1"),
        (IDS, VECTORS[:, :0], LABELS, "at least one row and one dimension"),
        (IDS[:0], VECTORS[:0], {"label": IDS[:0]}, "at least one row and one dimension"),
        (np.array(["a", "a"]), VECTORS, LABELS, "1 of them more than once, such as 'a'"),
        (np.array(["a", ""]), VECTORS, LABELS, "'id' for every row, received none in row 1"),
        (np.array([1, 2]), VECTORS, LABELS, "'id' as strings, received int64"),
        (IDS, VECTORS, {}, "the attribute 'label'"),
        (IDS, VECTORS, {"label": np.array(["x", None])}, "'label' for every row, received none in row 1"),
        (IDS, VECTORS, {"label": np.array([1, 2])}, "'label' as strings, received int64"),
        (IDS, VECTORS, {**LABELS, "split": np.array(["test"])}, "2 values of 'split'"),
        (IDS, VECTORS, {**LABELS, "vector": np.array(["a", "b"])}, "received one named 'vector'"),
        (IDS, VECTORS, {**LABELS, "mixed": np.array(["a", 1], dtype=object)}, "'mixed' as strings"),
    ],
)
def test_what_cannot_be_used_is_refused(ids, vectors, attributes, message):
    with pytest.raises(InputError, match=message) as caught:
        EmbeddingTable(ids, vectors, attributes)
    assert "\n" not in str(caught.value)


def test_a_value_too_large_for_float32_is_refused():
    with pytest.warns(RuntimeWarning, match="overflow"), pytest.raises(InputError, match="infinity in row 0"):
        EmbeddingTable(IDS, np.full((2, 2), 1e300), LABELS)


def test_select_by_mask_and_by_rows():
    table = make(5, 3, year=np.arange(5))
    some = table.select(np.array([True, False, False, True, False]))
    assert some.ids.tolist() == ["id 0", "id 3"]
    assert some.attributes["year"].tolist() == [0, 3]
    turned = table.select(np.array([3, 0]))
    assert turned.ids.tolist() == ["id 3", "id 0"]
    np.testing.assert_array_equal(turned.vectors, table.vectors[[3, 0]])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (np.array([True, False]), "mask of 5 rows"),
        (np.zeros(5, dtype=bool), "at least one of the 5 rows"),
        (np.array([], dtype=np.int64), "at least one of the 5 rows"),
        (np.array([0, 5]), "rows from 0 to 4, received 0 to 5"),
        (np.array([-1, 0]), "rows from 0 to 4, received -1 to 0"),
        (np.array([0.0, 1.0]), "list of integers, received float64"),
        (np.array([[0, 1]]), "list of integers"),
        (np.array([1, 1]), "more than once"),
    ],
)
def test_select_refuses(chosen, message):
    with pytest.raises(InputError, match=message):
        make(5).select(chosen)


def test_parquet_round_trip_is_exact_over_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "ROW_GROUP", 13)
    rng = np.random.default_rng(1)
    table = make(
        40,
        6,
        split=np.array(["train", "test"] * 20),
        colour=np.array(["", "blå", "日本", "x" * 300] * 10),
        year=np.arange(40, dtype=np.int32),
        rating=np.where(np.arange(40) % 3 == 0, np.nan, rng.standard_normal(40)),
        sold=np.arange(40) % 2 == 0,
    )
    path = table.write_parquet(tmp_path / "deep" / "table.parquet")
    assert pq.ParquetFile(path).num_row_groups == 4
    again = EmbeddingTable.read_parquet(path)
    np.testing.assert_array_equal(again.ids, table.ids)
    assert again.vectors.tobytes() == table.vectors.tobytes()
    assert list(again.attributes) == list(table.attributes)
    for name, values in table.attributes.items():
        assert again.attributes[name].dtype == values.dtype, name
        np.testing.assert_array_equal(again.attributes[name], values)


def test_parquet_columns_are_those_that_other_readers_expect(tmp_path):
    schema = pq.read_schema(make(4, 3).write_parquet(tmp_path / "table.parquet"))
    assert schema.names == ["id", "vector", "label"]
    assert schema.field("vector").type == pa.list_(pa.float32(), 3)


def test_reading_refuses_what_is_no_table(tmp_path):
    with pytest.raises(InputError, match=r"missing\.parquet"):
        EmbeddingTable.read_parquet(tmp_path / "missing.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("id,label\n")
    with pytest.raises(InputError, match=re.escape(str(text))):
        EmbeddingTable.read_parquet(text)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["a"], "label": ["x"]}), other)
    with pytest.raises(InputError, match="columns 'id' and 'vector'"):
        EmbeddingTable.read_parquet(other)
    ragged = tmp_path / "ragged.parquet"
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0]], "label": ["x"]}), ragged)
    with pytest.raises(InputError, match="fixed-size list of float32"):
        EmbeddingTable.read_parquet(ragged)


def test_a_torn_file_is_refused(tmp_path):
    path = make(50, 8).write_parquet(tmp_path / "table.parquet")
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="expected an embedding table"):
        EmbeddingTable.read_parquet(torn)


def test_a_failed_write_keeps_the_former_file(tmp_path, monkeypatch):
    path = make(4).write_parquet(tmp_path / "table.parquet")
    before = path.read_bytes()

    def fail(self: EmbeddingTable, rows: slice) -> pa.RecordBatch:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EmbeddingTable, "_batch", fail)
    with pytest.raises(InputError, match="No space left"):
        make(5).write_parquet(path)
    assert path.read_bytes() == before
    assert list(Path(tmp_path).iterdir()) == [path]
