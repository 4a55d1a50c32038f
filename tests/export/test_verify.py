"""Verification finds what is wrong with a version, and nothing with one that is right."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from stand_in import write_version

import export.standalone_verify as standalone
from export.errors import VerificationError
from export.manifest import read_manifest, write_manifest
from export.verify import verify_versions
from serving import contract
from trainer.errors import InputError


def edit_golden(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / contract.GOLDEN_FILE
        record = json.loads(path.read_text(encoding="utf-8"))
        change(record["requests"][0]["outputs"])
        path.write_text(json.dumps(record), encoding="utf-8")
        write_manifest(folder, read_manifest(folder))

    return edit


def edit_manifest(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        write_manifest(folder, dataclasses.replace(read_manifest(folder), **changes))

    return edit


def edit_evaluation(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with np.load(folder / contract.EVALUATION_FILE) as archive:
            arrays = dict(archive)
        change(arrays)
        np.savez(folder / contract.EVALUATION_FILE, **arrays)
        write_manifest(folder, read_manifest(folder))

    return edit


def flip_a_bit(folder: Path) -> None:
    path = next((folder / "variables").glob("*.data-*"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def swap_ids(arrays: dict[str, np.ndarray]) -> None:
    arrays["neighbour_ids"][3, [1, 2]] = arrays["neighbour_ids"][3, [2, 1]]


def other_neighbours(arrays: dict[str, np.ndarray]) -> None:
    for name, first in (("neighbour_ids", "other"), ("scores", 2.0)):
        arrays[name][:, 3:] = arrays[name][:, :-3].copy()
        arrays[name][:, :3] = first


def better_metrics(arrays: dict[str, np.ndarray]) -> None:
    metrics = json.loads(str(arrays["metrics"]))
    arrays["metrics"] = np.asarray(json.dumps(metrics | {"hit_rate@1": metrics["hit_rate@1"] + 0.11}))


def shorten_warmup(folder: Path) -> None:
    path = str(folder / contract.WARMUP_FILE)
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    with tf.io.TFRecordWriter(path) as writer:
        for record in records[:-1]:
            writer.write(record)
    write_manifest(folder, read_manifest(folder))


def spoil_warmup(folder: Path) -> None:
    (folder / contract.WARMUP_FILE).write_bytes(b"no record at all")
    write_manifest(folder, read_manifest(folder))


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a flipped bit": (flip_a_bit, "files: variables/variables.data-00000-of-00001 has the SHA-256"),
    "a missing file": (lambda folder: (folder / contract.GOLDEN_FILE).unlink(), "golden.json is in the manifest"),
    "a file too many": (lambda folder: (folder / "note.txt").write_text("x"), "note.txt is there, it is not in the"),
    "no manifest": (lambda folder: (folder / contract.MANIFEST_FILE).unlink(), "FileNotFoundError"),
    "another signature": (edit_manifest(signatures=("lookup",)), "signatures: expected ['lookup', 'serving_default']"),
    "another fingerprint": (edit_manifest(fingerprint="0" * 64), ": fingerprint: the manifest says {'000"),
    "another K": (edit_manifest(top_k=7), ": top_k: the manifest says (7,), the model (12,)"),
    "other attributes": (edit_manifest(attributes=("label",)), ": attributes: the manifest says {'label'}"),
    "another filter": (edit_manifest(filterable=("split", "year")), "lookup_filtered: filterable: the manifest says"),
    "another count": (edit_manifest(item_count=41), ": item_count: the manifest says (41,), the model (40,)"),
    "a golden id": (edit_golden(lambda out: out["ids"][0].__setitem__(2, "other")), "expected 'other'"),
    "a golden score": (edit_golden(lambda out: out["scores"][0].__setitem__(2, 0.5)), "with score 0.5000000"),
    "a golden label": (edit_golden(lambda out: out["label"][0].__setitem__(0, "hat")), "label: expected [['hat'"),
    "a golden fingerprint": (edit_golden(lambda out: out.update(fingerprint=["abd"])), "fingerprint: expected ['abd']"),
    "a golden output": (edit_golden(lambda out: out.pop("label")), "expected the outputs ['fingerprint', 'ids', 'sc"),
    "another ranking": (edit_evaluation(swap_ids), "evaluation (lookup): query 3, rank 1: expected "),
    "other metrics": (edit_evaluation(better_metrics), "hit_rate@1 recomputed from the answers: expected the run's"),
    "too few warm-ups": (shorten_warmup, "warm-up: no request for lookup_filtered with batch size 3"),
    "no warm-ups": (spoil_warmup, "DataLossError"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "fused_lookup" / "1"
    write_version(folder)
    return folder


@pytest.fixture(scope="module")
def reports(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is found in one process, without project code, in versions that are spoilt in one way each."""
    root = tmp_path_factory.mktemp("spoilt")
    for name, (spoil, _) in SPOILT.items():
        shutil.copytree(whole, root / name)
        spoil(root / name)
    write_version(root / "order", spoil="order")
    write_version(root / "rank", spoil="rank")
    for name in ("recall", "low recall"):
        shutil.copytree(whole, root / name)
        edit_manifest(index={"type": "ivf", "min_recall": 0.9})(root / name)
    edit_evaluation(other_neighbours)(root / "low recall")
    names = [*SPOILT, "order", "rank", "low recall", "recall"]
    command = [sys.executable, "-I", standalone.__file__, *[str(root / name) for name in names]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=200)
    return dict(zip(names, map(json.loads, done.stdout.splitlines()), strict=True))


def test_a_version_that_is_right_is_found_right(whole: Path) -> None:
    [verification] = verify_versions([whole])
    checks = dict(verification.checks)
    assert verification.name == "fused_lookup"
    assert checks["files"].startswith(f"{len(read_manifest(whole).files)} with")
    assert checks["golden requests"] == "6 answered as recorded"
    assert checks["warm-up requests"] == "6 answered, batch sizes 1, 3"
    assert checks["top-K against the trainer's"].startswith("20 of 20 queries with the identical 12 ids")
    assert checks["recall@10 against the trainer's"] == "1.0000"
    for name in ("hit_rate@1", "hit_rate@5", "hit_rate@10", "precision@1", "precision@5", "precision@10"):
        value, _, theirs = checks[name].partition(" (run: ")
        assert value == theirs.rstrip(")")
    assert 0 < float(checks["precision@5"].split()[0]) < 1
    assert str(verification).startswith("fused_lookup\n  files ")


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_found(name: str, reports: dict[str, dict[str, Any]]) -> None:
    difference = reports[name]["difference"]
    assert difference is not None
    assert SPOILT[name][1] in difference
    assert "\n" not in difference


def test_a_graph_that_answers_otherwise_is_found(reports: dict[str, dict[str, Any]]) -> None:
    assert "golden request 0 (lookup): query 0, rank" in reports["order"]["difference"]
    assert "warm-up of" in reports["rank"]["difference"] or "fingerprint" in reports["rank"]["difference"]


def test_an_index_that_is_not_exact_is_held_to_its_recall(reports: dict[str, dict[str, Any]]) -> None:
    assert reports["recall"]["difference"] is None
    assert ["recall@10 against the trainer's", "1.0000"] in reports["recall"]["checks"]
    assert not any(what.startswith("top-K") for what, _ in reports["recall"]["checks"])
    assert reports["low recall"]["difference"] == "recall@10: expected at least 0.9, received 0.7000"


def test_the_first_difference_is_raised(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "1")
    flip_a_bit(tmp_path / "1")
    with pytest.raises(VerificationError, match=r"1: files: variables/.* has the SHA-256"):
        verify_versions([tmp_path / "1"])


def test_what_is_no_version_is_refused_before_a_process_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected an exported version such as EXPORTS/fused_search/1"):
        verify_versions([tmp_path])


def test_a_process_that_dies_is_told(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import sys; sys.exit('out of memory')", encoding="utf-8")
    monkeypatch.setattr("export.verify._SCRIPT", script)
    with pytest.raises(VerificationError, match="ended with 1: out of memory"):
        verify_versions([whole])


def test_project_code_is_out_of_reach() -> None:
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('standalone', {standalone.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nmodule.main([])\n"
        "for name in ('trainer', 'export.publish', 'serving.contract'):\n"
        "    try:\n        __import__(name)\n    except ImportError as error:\n        print(error)\n"
        "print(sorted({'trainer', 'export', 'serving'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("project code is not to be used here") == 3
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_knows_the_names_of_the_contract() -> None:
    ours = (standalone.EXTRA, standalone.MANIFEST, standalone.WARMUP, standalone.GOLDEN, standalone.EVALUATION)
    theirs = (
        contract.ASSETS_EXTRA,
        contract.MANIFEST_FILE,
        contract.WARMUP_FILE,
        contract.GOLDEN_FILE,
        contract.EVALUATION_FILE,
    )
    assert ours == theirs
    assert standalone.BATCHING == contract.BATCHING_FILE


def test_items_as_near_as_the_true_ones_count_as_found() -> None:
    """Variants that share one picture have one score; which of them an index finds says nothing of it."""
    version = standalone.Version.__new__(standalone.Version)
    version.checks, version.all_asked, version.exact = [], False, False
    version.manifest = {"precision": "int8", "index": {"min_recall": 0.9}}
    version.recorded = {
        "neighbour_ids": np.array([["a", "b", "c"]]),
        "scores": np.array([[0.9, 0.8, 0.8]], np.float32),
    }
    for scores, recall in (([0.9, 0.8, 0.8], "1.0000"), ([0.9, 0.8, 0.7], "0.6667")):
        answer = {"ids": np.array([["a", "b", "d"]]), "scores": np.array([scores], np.float32)}
        version._ask_all = lambda *_, answer=answer: answer  # type: ignore[method-assign]
        with contextlib.nullcontext() if recall == "1.0000" else pytest.raises(standalone.Difference, match="recall@3"):
            version._evaluate_ranking("lookup", "embedding", np.zeros((1, 2)))
        assert version.checks[-1][1] == recall


def rank(found: list[str], found_scores: list[float]) -> tuple[int, int]:
    ids, scores = np.array([["a", "b", "c", "d"]]), np.array([[0.9, 0.8, 0.8 - 5e-7, 0.2]])
    answer = (np.array([found]), np.array([found_scores]))
    return standalone.ranking("here", ids, scores, *answer, tie=1e-6, tolerance=1e-5)


def test_near_ties_may_change_places() -> None:
    assert rank(["a", "b", "c", "d"], [0.9, 0.8, 0.8, 0.2]) == (0, 0)
    assert rank(["a", "c", "b", "d"], [0.9, 0.8, 0.8, 0.2]) == (2, 1)
    assert rank(["a", "b", "c", "e"], [0.9, 0.8, 0.8, 0.2]) == (1, 1)  # it can only have tied with the last


@pytest.mark.parametrize(
    ("found", "scores"),
    [
        (["b", "a", "c", "d"], [0.9, 0.8, 0.8, 0.2]),
        (["a", "e", "c", "d"], [0.9, 0.8, 0.8, 0.2]),
        (["a", "c", "c", "d"], [0.9, 0.8, 0.8, 0.2]),
        (["a", "b", "c", "d"], [0.9, 0.8, 0.8, 0.21]),
        (["a", "b", "c", "d"], [0.9, 0.8, 0.8, -np.inf]),
        (["a", "b", "c", "d"], [0.9, 0.8, np.nan, 0.2]),
    ],
)
def test_what_is_no_near_tie_is_a_difference(found: list[str], scores: list[float]) -> None:
    with pytest.raises(standalone.Difference, match="here: query 0, rank "):
        rank(found, scores)


@pytest.mark.parametrize(
    ("metrics", "whole", "expected"),
    [
        ({"hit_rate@1": 1.0, "r_precision": 1.0}, True, "1.0000 (run: 1.0000)"),
        ({"hit_rate@1": 0.5}, True, "0.5000 (run: 0.5000)"),  # of a run that counted them as misses
        ({"hit_rate@1": 1.0, "r_precision": 1.0}, False, "0.5000"),
    ],
)
def test_a_query_with_nothing_to_find_counts_as_in_the_run(
    metrics: dict[str, float], whole: bool, expected: str
) -> None:
    version = standalone.Version.__new__(standalone.Version)
    version.checks, version.exact, version.manifest = [], True, {"precision": "float32"}
    labels = np.array(["a", "a", "lone", "alone"])
    version.recorded = {"labels": labels, "whole": np.asarray(whole), "metrics": np.asarray(json.dumps(metrics))}
    version._metrics(np.array([[True], [True], [False], [False]]), slack=0.0)
    assert version.checks[0] == ("hit_rate@1", expected)
