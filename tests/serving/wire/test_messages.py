"""The messages against tensorflow-serving-api's, in processes of their own: TensorFlow stays out of this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.wire import GET_MODEL_STATUS, PREDICT

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_bytes_are_the_official_ones_whoever_is_imported_first(order: str) -> None:
    program = Path(__file__).with_name("same_bytes_program.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), order],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    word, checked = done.stdout.split()[-2:]
    assert word == "same"
    assert int(checked) >= 30


def test_methods_have_their_grpc_names() -> None:
    assert (PREDICT.service, PREDICT.name) == ("tensorflow.serving.PredictionService", "Predict")
    assert GET_MODEL_STATUS.path == "/tensorflow.serving.ModelService/GetModelStatus"
