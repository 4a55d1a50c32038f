"""Requests, made with the official messages, and the status that they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

__all__ = ["TIMEOUT", "predict_request", "refused"]

TIMEOUT = 30


def predict_request(model: str, signature: str = "", version: int | str | None = None, **inputs: Any) -> Any:
    """A PredictRequest; a version may be a number or a label, an input an array, a list or a TensorProto."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if isinstance(version, str):
        request.model_spec.version_label = version
    elif version is not None:
        request.model_spec.version.value = version
    for name, value in _protos(inputs).items():
        request.inputs[name].CopyFrom(value)
    return request


def _protos(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        if isinstance(value, tensor_pb2.TensorProto)
        else tf.make_tensor_proto(np.asarray(value, np.float32) if isinstance(value, list) else value)
        for name, value in inputs.items()
    }


def refused(call: Callable[..., Any], request: Any, timeout: float = TIMEOUT) -> tuple[grpc.StatusCode, str]:
    """Code and message with which a request is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=timeout)
    error: Any = caught.value
    return error.code(), error.details()
