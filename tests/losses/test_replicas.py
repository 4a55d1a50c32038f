"""Several devices compute the loss and the gradients that one computes on the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    program = Path(__file__).with_name("replica_program.py")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(program), "mirrored"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_two_devices_learn_what_one_does(answers: dict[str, Any]) -> None:
    assert answers["one"].keys() == answers["several"].keys()
    for name, batches in answers["one"].items():
        for one, several in zip(batches, answers["several"][name], strict=True):
            for a, b in zip(one, several, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * np.abs(a).max(), err_msg=name)


def test_there_is_something_to_learn(answers: dict[str, Any]) -> None:
    losses = {name: batches for name, batches in answers["one"].items() if not name.startswith("what")}
    for name, batches in losses.items():
        for value, *gradients in batches:
            assert value[0] > 0.0, name
            assert all(np.abs(gradient).max() > 0.0 for gradient in gradients), name
