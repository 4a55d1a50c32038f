from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from export.config import IndexConfig
from export.index import build_index
from export.lookup import Lookup
from export.table_rows import TableRows
from serving.contract import FILTER_SEPARATOR
from trainer.errors import InputError

COUNT, DIMENSION, TOP_K = 300, 8, 6
COLOURS = np.array(["red", "blue", "grün", ""])[np.arange(COUNT) % 4]
LABELS = np.array(["shirt", "shoe", "watch"])[np.arange(COUNT) % 3]
IDS = np.array([f"item-{row}" for row in range(COUNT)])


def vectors(count: int = COUNT, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


def made(count: int = COUNT, filterable: tuple[str, ...] = ("label", "colour"), **changes: Any) -> Lookup:
    values = {"ids": IDS[:count], "vectors": vectors()[:count], "label": LABELS[:count], "colour": COLOURS[:count]}
    values.update(changes)
    rows = TableRows.from_arrays(values["ids"], values["vectors"], {name: values[name] for name in ("label", "colour")})
    index = build_index(IndexConfig(**changes.get("index", {})))
    index.index(rows)
    return Lookup(rows, index, top_k=TOP_K, filterable=filterable, fingerprint="f" * 64, table_fingerprint="t" * 64)


def answer(lookup: Lookup, queries: np.ndarray, **filters: list[str]) -> dict[str, np.ndarray]:
    function = lookup.signatures()["lookup_filtered" if filters else "lookup"]
    inputs = {name: tf.constant(values) for name, values in filters.items()}
    return {name: value.numpy() for name, value in function(embedding=tf.constant(queries), **inputs).items()}


def best(queries: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    table = vectors()
    scores = queries @ (table / np.linalg.norm(table, axis=1, keepdims=True)).T
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP_K]


def texts(values: np.ndarray) -> list[Any]:
    return np.char.decode(values.astype(np.bytes_), "utf-8").tolist()


def test_answers_items_with_their_attributes() -> None:
    queries = vectors(4, seed=1) * np.array([[1e-30], [1.0], [7.0], [1e30]], np.float32)
    out = answer(made(), queries)
    rows = best(queries / np.abs(queries).max(axis=1, keepdims=True))
    assert set(out) == {"ids", "scores", "label", "colour", "fingerprint", "table_fingerprint"}
    assert texts(out["ids"]) == IDS[rows].tolist()
    assert texts(out["label"]) == LABELS[rows].tolist()
    assert texts(out["colour"]) == COLOURS[rows].tolist()
    assert texts(out["fingerprint"]) == ["f" * 64] * 4
    assert texts(out["table_fingerprint"]) == ["t" * 64] * 4
    assert out["scores"].dtype == np.float32
    assert (np.abs(out["scores"]) <= 1 + 1e-6).all() and (np.diff(out["scores"]) <= 0).all()


def test_filters_by_several_attributes_and_values() -> None:
    queries = vectors(7, seed=1)
    both = FILTER_SEPARATOR.join(["shirt", "watch"])
    filters = {
        "label": ["", "shoe", both, "shirt", "boot", f"{FILTER_SEPARATOR}shoe{FILTER_SEPARATOR}", FILTER_SEPARATOR],
        "colour": ["", "", "", "grün", "", "nothing" + FILTER_SEPARATOR + "red", ""],
    }
    masks = np.stack(
        [
            np.full(COUNT, True),
            LABELS == "shoe",
            LABELS != "shoe",
            (LABELS == "shirt") & (COLOURS == "grün"),
            np.full(COUNT, False),
            (LABELS == "shoe") & (COLOURS == "red"),
            np.full(COUNT, True),
        ]
    )
    out = answer(made(), queries, **filters)
    unknown = [row == 4 for row in range(7)]
    assert texts(out["ids"]) == np.where(np.array(unknown)[:, None], "", IDS[best(queries, masks)]).tolist()
    assert (out["scores"][4] == -np.inf).all() and texts(out["label"])[4] == [""] * TOP_K
    assert np.isfinite(np.delete(out["scores"], 4, axis=0)).all()


def test_fewer_matches_than_asked_for() -> None:
    out = answer(made(10), vectors(1, seed=1), label=["watch"], colour=[""])
    assert sorted(texts(out["ids"])[0]) == ["", "", "", "item-2", "item-5", "item-8"]
    assert np.isneginf(out["scores"][0, 3:]).all() and texts(out["colour"])[0][3:] == ["", "", ""]


@pytest.mark.parametrize("settings", [{}, {"dtype": "int8"}, {"type": "ivf"}], ids=str)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_small_tables(count: int, settings: dict[str, Any]) -> None:
    lookup = made(count, index=settings)
    queries = vectors(2, seed=1)
    for out in (answer(lookup, queries), answer(lookup, queries, label=["", ""], colour=["", ""])):
        assert [len(set(row) - {b""}) for row in out["ids"].tolist()] == [count, count]
        assert (np.isfinite(out["scores"]).sum(axis=1) == count).all()
    assert lookup.item_count == count


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"dtype": "int8"}, {"type": "ivf"}], ids=str)
def test_queries_without_direction_find_nothing_and_disturb_none(settings: dict[str, Any]) -> None:
    queries = vectors(6, seed=1)
    lookup = made(index=settings)
    alone = answer(lookup, queries[:1])
    queries[1], queries[2, 3], queries[3, 0], queries[4, 1], queries[5] = 0.0, np.nan, np.inf, -np.inf, 1e-42
    out = answer(lookup, queries)
    np.testing.assert_array_equal(out["ids"][:1], alone["ids"])
    np.testing.assert_allclose(out["scores"][:1], alone["scores"], atol=1e-6)
    assert np.isneginf(out["scores"][1:]).all()
    assert set(out["ids"][1:].ravel()) | set(out["label"][1:].ravel()) == {b""}


def test_without_filterable_attributes_there_is_no_filtered_signature() -> None:
    assert set(made(filterable=()).signatures()) == {"serving_default", "lookup"}
    assert set(made().signatures()) == {"serving_default", "lookup", "lookup_filtered"}


def test_refusals() -> None:
    twice = IDS.copy()
    twice[250] = "item-3"
    with pytest.raises(InputError, match="row 250: expected every id once, received 'item-3' again"):
        made(ids=twice)
    with pytest.raises(InputError, match="row 7: expected an id"):
        made(ids=np.where(np.arange(COUNT) == 7, "", IDS))
    with pytest.raises(InputError, match="filterable: expected some of the attributes"):
        made(filterable=("size",))
    with pytest.raises(InputError, match="without line feeds"):
        made(label=np.array(["a\nb"] * COUNT))
    rows = TableRows.from_arrays(IDS, vectors(), {"scores": LABELS})
    index = build_index(IndexConfig())
    index.index(rows)
    with pytest.raises(InputError, match="attributes: expected none of"):
        Lookup(rows, index, top_k=1, filterable=(), fingerprint="", table_fingerprint="")
    with pytest.raises(InputError, match="index the same rows"):
        Lookup(
            TableRows.from_arrays(IDS[:5], vectors(5), {}),
            index,
            top_k=1,
            filterable=(),
            fingerprint="",
            table_fingerprint="",
        )


OTHER_PROCESS = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
answers = {}
for name in ("lookup", "serving_default"):
    out = loaded.signatures[name](embedding=tf.constant(json.loads(sys.argv[2])))
    answers[name] = [out["ids"].numpy().astype(str).tolist(), out["scores"].numpy().tolist()]
out = loaded.signatures["lookup_filtered"](
    embedding=tf.constant(json.loads(sys.argv[2])), label=tf.constant(["shoe"] * 2), colour=tf.constant(["", "red"])
)
answers["lookup_filtered"] = [out["ids"].numpy().astype(str).tolist(), out["scores"].numpy().tolist()]
assert not {"trainer", "export", "serving"} & set(sys.modules)
print(json.dumps(answers))
"""


def test_a_process_without_project_code_answers_the_same(tmp_path: Path) -> None:
    lookup = made(index={"dtype": "int8"})
    tf.saved_model.save(lookup, str(tmp_path / "saved"), signatures=lookup.signatures())
    queries = vectors(2, seed=1)
    child = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "saved"), json.dumps(queries.tolist())],
        check=True,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    told = json.loads(child.stdout.splitlines()[-1])
    plain, filtered = answer(lookup, queries), answer(lookup, queries, label=["shoe"] * 2, colour=["", "red"])
    for name, out in (("lookup", plain), ("serving_default", plain), ("lookup_filtered", filtered)):
        assert told[name][0] == out["ids"].astype(str).tolist()
        np.testing.assert_allclose(told[name][1], out["scores"], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"dtype": "int8"}, {"type": "ivf"}], ids=str)
def test_the_graph_is_small_and_of_stock_operations(settings: dict[str, Any]) -> None:
    for function in made(index=settings).signatures().values():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
        names = {node.op for node in nodes}
        assert not names & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaLaunch", "ApproxTopK"}
        assert not any(node.attr["_XlaMustCompile"].b for node in nodes)
        assert not any("Random" in name for name in names)
        assert graph.ByteSize() < 200_000
        for tensor in [*function.inputs[:1], *function.outputs]:
            assert tensor.shape.rank >= 1 and tensor.shape[0] is None
