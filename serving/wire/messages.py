"""The messages, made from the tables below in a descriptor pool of their own.

Importing `tensorflow_serving.apis` imports all of TensorFlow, and the same names in protobuf's default pool would crash
as soon as TensorFlow loads. In a private pool they live beside TensorFlow in one process, and give the same bytes.

Only what a client needs is declared. A field that a later server adds is kept as an unknown field, as protobuf does.
Enumerations are declared as int32, which is the same on the wire; their names are in `serving.wire.tensors` and
`serving.client.results`.

Sources: tensorflow/core/framework/{tensor,tensor_shape}.proto, tensorflow/core/protobuf/meta_graph.proto,
tensorflow_serving/apis/{model,predict,get_model_metadata,get_model_status}.proto, tensorflow_serving/util/status.proto,
grpc/health/v1/health.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

__all__ = [
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "ModelSpec",
    "PredictRequest",
    "PredictResponse",
    "SignatureDefMap",
    "TensorProto",
]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}

# message -> field -> (number, type). A type is a scalar's name or a message's; `[]` marks a repeated field, `{}` a map
# from string, and `a|b` the member b of the oneof a.
_Table = Mapping[str, Mapping[str, tuple[int, str]]]

_TENSORFLOW: _Table = {
    "TensorShapeProto": {"dim": (2, "[].tensorflow.TensorShapeProto.Dim"), "unknown_rank": (3, "bool")},
    "TensorShapeProto.Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, ".tensorflow.TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "[]float"),
        "double_val": (6, "[]double"),
        "int_val": (7, "[]int32"),
        "string_val": (8, "[]bytes"),
        "scomplex_val": (9, "[]float"),
        "int64_val": (10, "[]int64"),
        "bool_val": (11, "[]bool"),
        "dcomplex_val": (12, "[]double"),
        "half_val": (13, "[]int32"),
        "uint32_val": (16, "[]uint32"),
        "uint64_val": (17, "[]uint64"),
    },
    "TensorInfo": {
        "name": (1, "encoding|string"),
        "dtype": (2, "int32"),
        "tensor_shape": (3, ".tensorflow.TensorShapeProto"),
    },
    "SignatureDef": {
        "inputs": (1, "{}.tensorflow.TensorInfo"),
        "outputs": (2, "{}.tensorflow.TensorInfo"),
        "method_name": (3, "string"),
        "defaults": (4, "{}.tensorflow.TensorProto"),
    },
}

_SERVING: _Table = {
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "version_choice|.google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "version_choice|string"),
    },
    "PredictRequest": {
        "model_spec": (1, ".tensorflow.serving.ModelSpec"),
        "inputs": (2, "{}.tensorflow.TensorProto"),
        "output_filter": (3, "[]string"),
    },
    "PredictResponse": {
        "outputs": (1, "{}.tensorflow.TensorProto"),
        "model_spec": (2, ".tensorflow.serving.ModelSpec"),
    },
    "SignatureDefMap": {"signature_def": (1, "{}.tensorflow.SignatureDef")},
    "GetModelMetadataRequest": {
        "model_spec": (1, ".tensorflow.serving.ModelSpec"),
        "metadata_field": (2, "[]string"),
    },
    "GetModelMetadataResponse": {
        "model_spec": (1, ".tensorflow.serving.ModelSpec"),
        "metadata": (2, "{}.google.protobuf.Any"),
    },
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "int32"),
        "status": (3, ".tensorflow.serving.StatusProto"),
    },
    "GetModelStatusRequest": {"model_spec": (1, ".tensorflow.serving.ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "[].tensorflow.serving.ModelVersionStatus")},
}

_HEALTH: _Table = {
    "HealthCheckRequest": {"service": (1, "string")},
    "HealthCheckResponse": {"status": (1, "int32")},
}


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, kind


def _add_field(message: Any, scope: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("{}"):
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
        _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind[2:])
        kind = f"[]{scope}.{entry.name}"
    if kind.startswith("[]"):
        field.label, kind = _Field.LABEL_REPEATED, kind[2:]
    if "|" in kind:
        group, _, kind = kind.partition("|")
        if group not in [oneof.name for oneof in message.oneof_decl]:
            message.oneof_decl.add(name=group)
        field.oneof_index = [oneof.name for oneof in message.oneof_decl].index(group)
    _set_type(field, kind)


def _file(package: str, table: _Table, depends_on: tuple[str, ...] = ()) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(depends_on)
    made: dict[str, Any] = {}
    for path, fields in table.items():
        outer, _, name = path.rpartition(".")
        message = made[path] = made[outer].nested_type.add(name=name) if outer else file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, f".{package}.{path}", field, number, kind)
    return file


def _build_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    known = (wrappers_pb2.DESCRIPTOR, any_pb2.DESCRIPTOR)
    for file in known:
        pool.AddSerializedFile(file.serialized_pb)
    names = (*(file.name for file in known), "tensorflow.proto")
    for made in (
        _file("tensorflow", _TENSORFLOW),
        _file("tensorflow.serving", _SERVING, names),
        _file("grpc.health.v1", _HEALTH),
    ):
        pool.AddSerializedFile(made.SerializeToString())
    return pool


_POOL = _build_pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = _message("tensorflow.TensorProto")
ModelSpec = _message("tensorflow.serving.ModelSpec")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
HealthCheckRequest = _message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = _message("grpc.health.v1.HealthCheckResponse")
