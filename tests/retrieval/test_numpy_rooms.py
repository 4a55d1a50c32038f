"""The rooms that only read numbers must not load TensorFlow: a report or a plot then starts in a second."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

ROOMS = ("trainer.retrieval", "trainer.evaluation", "trainer.plots")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room):
    package = importlib.import_module(room)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_none_of_them_loads_tensorflow():
    code = f"""
import importlib, sys
for room in {ROOMS}:
    package = importlib.import_module(room)
    [getattr(package, name) for name in package.__all__]
print(sorted({{"tensorflow", "keras", "torch", "jax", "matplotlib.pyplot"}} & set(sys.modules)))
"""
    assert run(code).strip() == "[]"


def test_importing_the_packages_alone_loads_nothing_heavy():
    code = f"""
import importlib, sys
[importlib.import_module(room) for room in {ROOMS}]
print(sorted({{"numpy", "pandas", "sklearn", "matplotlib", "pyarrow"}} & set(sys.modules)))
"""
    assert run(code).strip() == "[]"
