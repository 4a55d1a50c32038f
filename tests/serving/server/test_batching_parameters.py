"""Batching parameters as TensorFlow Serving reads them."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError

FULL = """
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 7 }
num_batch_threads { value: 3 }
thread_pool_name { value: "mine" }
allowed_batch_sizes: 4
allowed_batch_sizes: 8
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 8 }
pad_variable_length_inputs: true
"""


def read(folder: Path, text: str) -> BatchingParameters:
    path = folder / "batching_params.pbtxt"
    path.write_text(text)
    return BatchingParameters.read(path)


def test_every_field(tmp_path: Path) -> None:
    assert read(tmp_path, FULL) == BatchingParameters(
        max_batch_size=32,
        batch_timeout_micros=2000,
        max_enqueued_batches=7,
        num_batch_threads=3,
        thread_pool_name="mine",
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
        max_execution_batch_size=8,
        enable_large_batch_splitting=True,
    )


def test_defaults_are_the_real_servers(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert (found.max_batch_size, found.batch_timeout_micros, found.max_enqueued_batches) == (1000, 0, 10)
    assert found.execution_size == 1000


def test_sizes_are_rounded_up(tmp_path: Path) -> None:
    found = read(tmp_path, FULL)
    assert [found.rounded(rows) for rows in (1, 4, 5, 8)] == [4, 4, 8, 8]
    assert found.execution_size == 8


@pytest.mark.parametrize(
    "text",
    [
        "max_batch_size: 32",
        "max_batch_sise { value: 32 }",
        "max_batch_size { value: 0 }",
        "batch_timeout_micros { value: -1 }",
        "max_batch_size { value: 8 } allowed_batch_sizes: 4",
        "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 4",
        "max_execution_batch_size { value: 2000 } enable_large_batch_splitting { value: true }",
        "{",
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, text)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
