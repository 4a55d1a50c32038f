from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from export import table_rows
from export.table_rows import TableRows
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable

COUNT = 23


@pytest.fixture
def table() -> EmbeddingTable:
    random = np.random.default_rng(0)
    return EmbeddingTable(
        ids=[f"é{row}" for row in range(COUNT)],
        vectors=random.standard_normal((COUNT, 3)),
        attributes={
            "label": ["a", "b"] * 11 + ["a"],
            "year": np.arange(COUNT),
            "price": np.arange(COUNT) / 2,
            "sold": np.arange(COUNT) % 2 == 0,
            "colour": [None, *["red"] * (COUNT - 1)],
        },
    )


def joined(rows: TableRows) -> dict[str, np.ndarray]:
    chunks = list(rows.chunks())
    columns = {name: np.concatenate([chunk.attributes[name] for chunk in chunks]) for name in rows.attribute_names}
    return {
        "id": np.concatenate([chunk.ids for chunk in chunks]),
        "vector": np.concatenate([chunk.vectors for chunk in chunks]),
        **columns,
    }


def test_reads_what_the_trainer_wrote_in_chunks(
    tmp_path: Path, table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "CHUNK", 7)
    rows = TableRows.from_parquet(table.write_parquet(tmp_path / "t.parquet"), ["sold", "year", "price", "colour"])
    assert (rows.count, rows.dimension, rows.attribute_names) == (COUNT, 3, ("sold", "year", "price", "colour"))
    assert max(len(chunk) for chunk in rows.chunks()) == 7
    for _ in range(2):  # again and again
        read = joined(rows)
        assert read["id"].tolist() == table.ids.tolist()
        np.testing.assert_array_equal(read["vector"], table.vectors)
        assert read["vector"].dtype == np.float32
        assert read["sold"].tolist()[:2] == ["true", "false"]
        assert read["year"].tolist()[:2] == ["0", "1"]
        assert read["price"].tolist()[:2] == ["0", "0.5"]
        assert read["colour"].tolist()[:2] == ["", "red"]


def test_where_keeps_some(tmp_path: Path, table: EmbeddingTable) -> None:
    path = table.write_parquet(tmp_path / "t.parquet")
    rows = TableRows.from_parquet(path, ["label"], where=lambda chunk: chunk.attributes["label"] == "b")
    assert rows.count == 11
    assert joined(rows)["id"].tolist() == table.ids[1::2].tolist()


def test_what_is_written_is_read(tmp_path: Path, table: EmbeddingTable) -> None:
    rows = TableRows.from_arrays(table.ids, table.vectors, {"year": table.attributes["year"]})
    again = TableRows.from_parquet(rows.write_parquet(tmp_path / "t.parquet"), ["year"])
    assert again.fingerprint() == rows.fingerprint()
    for name, values in joined(rows).items():
        np.testing.assert_array_equal(joined(again)[name], values)


def test_the_fingerprint_is_of_the_rows_not_of_the_chunks(
    table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(ids: np.ndarray = table.ids, vectors: np.ndarray = table.vectors, label: np.ndarray = table.labels) -> str:
        return TableRows.from_arrays(ids, vectors, {"label": label}).fingerprint()

    first = of()
    assert len(first) == 64
    vectors, label = table.vectors.copy(), table.labels.copy()
    vectors[5, 1] += 1e-6
    label[5] = "c"
    assert len({first, of(vectors=vectors), of(label=label), of(ids=table.ids[::-1])}) == 4
    assert TableRows.from_arrays(["ab"], np.ones((1, 2)), {"x": ["c"]}).fingerprint() != (
        TableRows.from_arrays(["a"], np.ones((1, 2)), {"x": ["bc"]}).fingerprint()
    )
    monkeypatch.setattr(table_rows, "CHUNK", 4)
    assert of() == first


def test_no_rows(tmp_path: Path) -> None:
    rows = TableRows.from_arrays([], np.empty((0, 4), np.float32), {"label": []})
    assert (rows.count, list(rows.chunks())) == (0, [])
    assert TableRows.from_parquet(rows.write_parquet(tmp_path / "t.parquet"), ["label"]).count == 0


def test_missing_texts_are_empty() -> None:
    rows = TableRows.from_arrays(["a", "b", "c"], np.ones((3, 1)), {"x": np.array(["u", None, np.nan], object)})
    assert joined(rows)["x"].tolist() == ["u", "", ""]


def test_refusals(tmp_path: Path, table: EmbeddingTable) -> None:
    path = table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="lacks \\['size'\\]"):
        TableRows.from_parquet(path, ["size"])
    with pytest.raises(InputError, match="received"):
        TableRows.from_parquet(tmp_path / "none.parquet", [])
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="run python -m trainer evaluate"):
        TableRows.from_parquet(tmp_path / "other.parquet", [])
    pd.DataFrame({"id": ["a"], "vector": [[1.0, 2.0]]}).to_parquet(tmp_path / "ragged.parquet")
    with pytest.raises(InputError, match="fixed-size list"):
        TableRows.from_parquet(tmp_path / "ragged.parquet", [])
    with pytest.raises(InputError, match="one 'id' for each of 2 vectors, received 1"):
        TableRows.from_arrays(["a"], np.ones((2, 2)), {})
    with pytest.raises(InputError, match=r"\[N, D\]"):
        TableRows.from_arrays(["a"], np.ones(1), {})
    rows = TableRows.from_parquet(path, [])
    table.select(np.arange(5)).write_parquet(path)
    with pytest.raises(InputError, match="has changed"):
        list(rows.chunks())
