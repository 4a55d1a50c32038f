"""Lookups in the small exports with the official messages, and what the tests do to versions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

__all__ = ["Lookups", "publish", "until"]


class Lookups:
    """Official stubs of one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def lookup(self, rows: int = 1, **options: Any) -> Any:
        """Looks the first unit vector up."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "fused_lookup"
        request.inputs["embedding"].CopyFrom(tf.make_tensor_proto(np.eye(1, 16, dtype=np.float32).repeat(rows, 0)))
        return self.prediction.Predict(request, **{"timeout": 30, **options})

    def states(self) -> dict[int, tuple[int, str]]:
        """Version to state and error."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "fused_lookup"
        answer = self.models.GetModelStatus(request, timeout=30)
        return {found.version: (found.state, found.status.error_message) for found in answer.model_version_status}


def publish(exports: Path, version: int, change: Callable[[Path], None] | None = None) -> Path:
    """Copies the lowest version of the lookup model as another, in one step; `change` may spoil it first."""
    base = exports / "fused_lookup"
    first = min((path for path in base.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    aside = exports.parent / f"aside-{version}"
    shutil.copytree(first, aside)
    if change is not None:
        change(aside)
    return aside.rename(base / str(version))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
