"""Holds the client's messages against the official ones; run as a process by the tests: `python ... first|last`.

`first` imports TensorFlow before `serving`, `last` after it. Prints `same <n>`.
"""
# ruff: noqa: E402

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

if sys.argv[1] == "first":
    import tensorflow
wire: Any = importlib.import_module("serving.wire")
if sys.argv[1] == "last":
    wire.to_tensor(np.ones(2, np.float32)).SerializeToString()
    import tensorflow
from google.protobuf import any_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from serving.wire import messages

PAIRS = {
    "ModelSpec": model_pb2.ModelSpec,
    "TensorProto": tensor_pb2.TensorProto,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
}
ARRAYS: list[Any] = [
    np.arange(12, dtype=dtype).reshape(3, 4)
    for dtype in ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "complex64")
]
ARRAYS += [np.array([[b"a\0", b""], [b"\xff", b"b"]], object), np.array([True, False]), np.zeros((2, 0), np.float32)]
checked = 0


def same(ours: Any, official: Any, what: str) -> None:
    global checked
    mine, theirs = (message.SerializeToString(deterministic=True) for message in (ours, official))
    if mine != theirs:
        raise SystemExit(f"{what}: {mine!r} is not {theirs!r}")
    again = type(ours).FromString(theirs)
    if again.SerializeToString(deterministic=True) != theirs or again != ours:
        raise SystemExit(f"{what}: does not survive")
    checked += 1


def predict(kind: Any, tensors: list[Any], version: int | None, label: str) -> Any:
    request = kind()
    request.model_spec.name, request.model_spec.signature_name = "fused_search", "search_images"
    if version is not None:
        request.model_spec.version.value = version
    elif label:
        request.model_spec.version_label = label
    for place, tensor in enumerate(tensors):
        request.inputs[f"input_{place}"].ParseFromString(tensor.SerializeToString())
    request.output_filter.extend(["ids", "scores"])
    return request


for array in ARRAYS:
    if array.dtype not in (np.uint16, np.complex64, np.bool_):  # TensorFlow puts these into repeated fields
        same(wire.to_tensor(array), tensorflow.make_tensor_proto(array), f"tensor {array.dtype}")
    back = tensorflow.make_ndarray(tensor_pb2.TensorProto.FromString(wire.to_tensor(array).SerializeToString()))
    assert np.array_equal(back, array)
    for many in (array, array.ravel()[:1]):  # one element goes into a repeated field
        if array.dtype != object and many.size:
            assert np.array_equal(
                wire.to_array(wire.TensorProto.FromString(tensorflow.make_tensor_proto(many).SerializeToString())), many
            )
for version, label in ((None, ""), (0, ""), (2**40, ""), (None, "stable")):
    tensors = [wire.to_tensor(array) for array in ARRAYS]
    same(
        predict(wire.PredictRequest, tensors, version, label),
        predict(predict_pb2.PredictRequest, tensors, version, label),
        f"request {version} {label}",
    )

# every field that is declared here has the official number and type, on the wire
for name, official in PAIRS.items():
    stack = [(getattr(messages, name).DESCRIPTOR, official.DESCRIPTOR)]
    seen = set()
    while stack:
        ours, theirs = stack.pop()
        if ours.full_name in seen:
            continue
        seen.add(ours.full_name)
        assert ours.full_name == theirs.full_name, (ours.full_name, theirs.full_name)
        for field in ours.fields:
            other = theirs.fields_by_name[field.name]
            kind = field.TYPE_INT32 if other.type == other.TYPE_ENUM else other.type
            assert (field.number, field.type, field.is_repeated) == (other.number, kind, other.is_repeated), field.name
            assert field.is_packed == other.is_packed, field.name
            assert (field.containing_oneof and field.containing_oneof.name) == (
                other.containing_oneof and other.containing_oneof.name
            ), field.name
            if field.message_type is not None:
                stack.append((field.message_type, other.message_type))
        checked += 1

# an answer of the official messages, read by ours; what is unknown here is kept
defined = get_model_metadata_pb2.SignatureDefMap()
info = defined.signature_def["lookup"].inputs["embedding"]
info.name, info.dtype = "in:0", 1
info.tensor_shape.dim.add(size=-1)
info.tensor_shape.dim.add(size=256)
defined.signature_def["lookup"].outputs["sparse"].CopyFrom(
    meta_graph_pb2.TensorInfo(coo_sparse=meta_graph_pb2.TensorInfo.CooSparse(values_tensor_name="v"))
)
wrapped = any_pb2.Any()
wrapped.Pack(defined)
answer = get_model_metadata_pb2.GetModelMetadataResponse()
answer.metadata["signature_def"].CopyFrom(wrapped)
ours = wire.GetModelMetadataResponse.FromString(answer.SerializeToString())
inner = wire.SignatureDefMap.FromString(ours.metadata["signature_def"].value)
assert [dim.size for dim in inner.signature_def["lookup"].inputs["embedding"].tensor_shape.dim] == [-1, 256]
assert inner.SerializeToString(deterministic=True) == defined.SerializeToString(deterministic=True)
print("same", checked)
