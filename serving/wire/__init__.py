"""What travels: TensorFlow Serving's messages and methods, and tensors to and from NumPy. Without TensorFlow.

request = wire.PredictRequest()
request.inputs["embedding"].CopyFrom(wire.to_tensor(np.zeros((1, 256), np.float32)))
"""

from __future__ import annotations

from serving.wire.messages import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    HealthCheckRequest,
    HealthCheckResponse,
    ModelSpec,
    PredictRequest,
    PredictResponse,
    SignatureDefMap,
    TensorProto,
)
from serving.wire.methods import GET_MODEL_METADATA, GET_MODEL_STATUS, HEALTH_CHECK, PREDICT, Method
from serving.wire.tensors import TensorError, dtype_name, fill_strings, fill_tensor, to_array, to_tensor

__all__ = [
    "GET_MODEL_METADATA",
    "GET_MODEL_STATUS",
    "HEALTH_CHECK",
    "PREDICT",
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "Method",
    "ModelSpec",
    "PredictRequest",
    "PredictResponse",
    "SignatureDefMap",
    "TensorError",
    "TensorProto",
    "dtype_name",
    "fill_strings",
    "fill_tensor",
    "to_array",
    "to_tensor",
]
