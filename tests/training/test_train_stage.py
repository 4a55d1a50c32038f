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
LONG: dict[str, Any] = {"dropout": 0.2, "stage": {"ema": 0.9, "accumulate": 2}}
SHORT: dict[str, Any] = {"stage": {"epochs": 2}}
Answer = dict[str, Any]


def start(
    runs: list[dict[str, Any]], environment: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps({"runs": runs, **options})],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> list[Answer]:
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == code, err[-3000:]
    return json.loads(out) if code == 0 else []


def assert_same(one: Answer, other: Answer, tolerance: float = 1e-5) -> None:
    assert len(one["history"]) == len(other["history"])
    for a, b in zip(one["history"], other["history"], strict=True):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)
    assert one["weights"] == pytest.approx(other["weights"], rel=tolerance)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What many runs in one process with two devices answer, by name."""
    root = tmp_path_factory.mktemp("stage")
    finish(start([{"folder": str(root / "killed"), "kill_at": 96, "signal": "SIGKILL", **LONG}]), -9)
    assert sorted(path.name for path in (root / "killed").glob("*.keras")) == ["best.keras", "last.keras"]
    runs: dict[str, dict[str, Any]] = {
        "whole": {"folder": "whole", **LONG},
        "whole again": {"folder": "whole", **LONG},
        "another key": {"folder": "whole", "key": "another", **SHORT},
        "after a kill": {"folder": "killed", **LONG},
        "interrupted": {"folder": "interrupted", "kill_at": 96, "signal": "SIGINT", **LONG},
        "after an interrupt": {"folder": "interrupted", **LONG},
    }
    for precision in ("float32", "mixed_float16", "mixed_bfloat16"):
        for distribution in ("none", "mirrored"):
            name = f"{precision} {distribution}"
            runs[name] = {"folder": name, "precision": precision, "distribution": distribution, **SHORT}
    for distribution in ("none", "mirrored"):
        name, stage = f"hub {distribution}", {"epochs": 2, "accumulate": 2, "weight_decay": 0.0}
        runs[name] = {"folder": name, "distribution": distribution, "hub": str(root / "module"), "stage": stage}
    placed = [{**run, "folder": str(root / run["folder"])} for run in runs.values()]
    return dict(zip(runs, finish(start(placed, logical_cpus=2, module=str(root / "module"))), strict=True))


def test_a_stage_learns(answers: dict[str, Answer]) -> None:
    history = answers["whole"]["history"]
    assert history[-1]["loss"] < history[0]["loss"] - 0.05
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert set(history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}


def test_a_killed_stage_goes_on_to_the_same_result(answers: dict[str, Answer]) -> None:
    assert_same(answers["after a kill"], answers["whole"])


def test_an_interrupted_stage_goes_on_to_the_same_result(answers: dict[str, Answer]) -> None:
    assert answers["interrupted"] == {"interrupted": True, "files": ["best.keras", "last.keras"]}
    assert_same(answers["after an interrupt"], answers["whole"])


def test_a_finished_stage_is_not_trained_again(answers: dict[str, Answer]) -> None:
    assert answers["whole again"] == answers["whole"]
    assert answers["another key"]["written"] > answers["whole"]["written"]
    assert_same(answers["another key"], answers["float32 none"])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_two_devices_train_as_one(precision: str, answers: dict[str, Answer]) -> None:
    one, two = answers[f"{precision} none"], answers[f"{precision} mirrored"]
    assert_same(two, one, 1e-4 if precision == "float32" else 0.03)


def test_a_hub_module_trains_on_two_devices_as_on_one(answers: dict[str, Answer]) -> None:
    one, two = answers["hub none"], answers["hub mirrored"]
    assert_same(two, one, 1e-4)
    assert one["history"][-1]["loss"] < one["history"][0]["loss"]
    assert {f"module/{name}" for name in ("kernel", "table", "unused")} < set(one["weights"])


def test_two_processes_train_as_one_and_write_one_checkpoint(answers: dict[str, Answer], tmp_path: Path) -> None:
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{s.getsockname()[1]}" for s in (a, b)]
    both = []
    for index in (0, 1):
        cluster = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        both.append(start([{"folder": str(tmp_path), "distribution": "multi_worker", **SHORT}], {"TF_CONFIG": cluster}))
    for process in both:
        assert_same(finish(process)[0], answers["float32 none"], 1e-4)
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == ["best.keras", "last.keras"]
