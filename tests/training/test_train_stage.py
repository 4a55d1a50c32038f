"""A stage trains, goes on after a kill to the same result, and does the same on several devices and processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("stage_program.py")


def start(folder: Path, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps({"folder": str(folder), **options})],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err[-3000:]
    return json.loads(out) if code == 0 else {}


def assert_same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 1e-5) -> None:
    assert len(one["history"]) == len(other["history"])
    for a, b in zip(one["history"], other["history"], strict=True):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)
    assert one["weights"] == pytest.approx(other["weights"], rel=tolerance)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish(start(tmp_path_factory.mktemp("whole"), dropout=0.2, stage={"ema": 0.9, "accumulate": 2}))


def test_a_stage_learns(uninterrupted: dict[str, Any]) -> None:
    losses = [row["loss"] for row in uninterrupted["history"]]
    assert losses[-1] < losses[0] - 0.05
    assert set(uninterrupted["history"][0]) >= {
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
    }


@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_a_stopped_stage_goes_on_to_the_same_result(
    signal: str, code: int, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"dropout": 0.2, "stage": {"ema": 0.9, "accumulate": 2}}
    finish(start(tmp_path, kill_at=96, signal=signal, **options), code)
    assert (tmp_path / "last.keras").is_file()
    assert_same(finish(start(tmp_path, **options)), uninterrupted)


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = finish(start(tmp_path, stage={"epochs": 1}))
    stamp = (tmp_path / "last.keras").stat().st_mtime_ns
    assert finish(start(tmp_path, stage={"epochs": 1})) == first
    assert (tmp_path / "last.keras").stat().st_mtime_ns == stamp
    finish(start(tmp_path, stage={"epochs": 1}, key="another"))
    assert (tmp_path / "last.keras").stat().st_mtime_ns != stamp


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_two_devices_train_as_one(precision: str, tmp_path: Path) -> None:
    one = start(tmp_path / "one", precision=precision)
    two = start(tmp_path / "two", precision=precision, distribution="mirrored", logical_cpus=2)
    assert_same(finish(two), finish(one), 1e-4 if precision == "float32" else 0.03)


def test_two_processes_train_as_one_and_write_one_checkpoint(tmp_path: Path) -> None:
    one = start(tmp_path / "one")
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{s.getsockname()[1]}" for s in (a, b)]
    both = []
    for index in (0, 1):
        cluster = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        both.append(start(tmp_path / "two", {"TF_CONFIG": cluster}, distribution="multi_worker"))
    answers = [finish(process) for process in both]
    expected = finish(one)
    for answer in answers:
        assert_same(answer, expected, 1e-4)
    assert sorted(path.name for path in (tmp_path / "two").glob("*.keras")) == ["best.keras", "last.keras"]
