"""TensorFlow Serving's JSON of tensors and examples, both ways."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.server.errors import RequestError
from serving.server.signature import Signature
from serving.server.tensors import MAX_RANK, dtype_name

__all__ = ["arrays_from_json", "fill_examples", "json_of_outputs", "parse_json"]

_FLOATS = {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE}
_INTEGERS = {
    number: np.iinfo(tf.dtypes.as_dtype(number).as_numpy_dtype)
    for number in (
        types_pb2.DT_INT8,
        types_pb2.DT_INT16,
        types_pb2.DT_INT32,
        types_pb2.DT_INT64,
        types_pb2.DT_UINT8,
        types_pb2.DT_UINT16,
        types_pb2.DT_UINT32,
        types_pb2.DT_UINT64,
    )
}
_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}
SHOWN = 200
"""Characters of a wrong value that an error shows."""


def parse_json(content: bytes) -> dict[str, Any]:
    """A request's body, which must be an object.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    if not content:
        raise RequestError.invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError.invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise RequestError.invalid(f"JSON Value: {_shown(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise RequestError.invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def arrays_from_json(document: Mapping[str, Any], signature: Signature) -> tuple[dict[str, np.ndarray], bool]:
    """A Predict request's tensors.

    Args:
        document: with `instances` (a row each) or `inputs` (a column each).
        signature: what it takes.

    Returns:
        Name to array, and whether they came as rows.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    if "instances" in document and "inputs" in document:
        raise RequestError.invalid(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        return _from_rows(document["instances"], signature), True
    if "inputs" in document:
        return _from_columns(document["inputs"], signature), False
    raise RequestError.invalid("Missing 'inputs' or 'instances' key")


def _from_rows(rows: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise RequestError.invalid(f"JSON Value: {_shown(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise RequestError.invalid("JSON Value: [] No values in 'instances' array")
    named = isinstance(rows[0], dict) and not _is_base64(rows[0])
    names = {spec.alias for spec in signature.inputs}
    if not named and len(names) > 1:
        raise RequestError.invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for place, row in enumerate(rows):
        if (isinstance(row, dict) and not _is_base64(row)) != named:
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise RequestError.invalid(f"Expecting {wanted} but got {got} at item {place} of input list")
        if named and row.keys() != names:
            raise RequestError.invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {_shown(row)} keys must be "
                f"equal to: {','.join(sorted(names))}"
            )
    return {
        spec.alias: _tensor([row[spec.alias] for row in rows] if named else rows, spec.dtype)
        for spec in signature.inputs
    }


def _from_columns(columns: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(columns, dict) or _is_base64(columns):
        if len(signature.inputs) != 1:
            raise RequestError.invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        columns = {signature.inputs[0].alias: columns}
    for spec in signature.inputs:
        if spec.alias not in columns:
            raise RequestError.invalid(f"Missing named input: {spec.alias} in 'inputs' object.")
    return {spec.alias: _tensor(columns[spec.alias], spec.dtype) for spec in signature.inputs}


def _tensor(value: Any, dtype: int) -> np.ndarray:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        if len(shape) > MAX_RANK:
            raise RequestError.invalid(f"Encountered list at unexpected level: {MAX_RANK} expected < {MAX_RANK}")
        first = first[0]
    flat: list[Any] = []
    _collect(value, 0, tuple(shape), dtype, flat)
    if dtype == types_pb2.DT_STRING:
        found = np.empty(len(flat), object)
        found[:] = flat
    else:
        found = np.array(flat, tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    return found.reshape(shape)


def _collect(value: Any, level: int, shape: tuple[int, ...], dtype: int, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise RequestError.invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        flat.append(_element(value, dtype))
        return
    if level >= len(shape):
        raise RequestError.invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise RequestError.invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _collect(item, level + 1, shape, dtype, flat)


def _element(value: Any, dtype: int) -> Any:
    if dtype == types_pb2.DT_STRING:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict):
            return _decoded(value)
    elif dtype in _FLOATS and type(value) in (int, float):
        limit = (1 << 24) - 1 if dtype == types_pb2.DT_FLOAT else (1 << 53) - 1
        largest = float(np.finfo(np.float32 if dtype == types_pb2.DT_FLOAT else np.float64).max)
        lossy = abs(value) > limit if type(value) is int else largest < abs(value) < float("inf")
        if lossy:
            kind = "float" if dtype == types_pb2.DT_FLOAT else "double"
            raise RequestError.invalid(
                f"Cannot convert JSON value: {_shown(value)} to {kind} without loss of precision."
            )
        return value
    elif dtype in _INTEGERS and type(value) is int:
        if _INTEGERS[dtype].min <= value <= _INTEGERS[dtype].max:
            return value
    elif dtype == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    kind = str(value) if isinstance(value, bool) else _TYPES.get(type(value), "Object")
    raise RequestError.invalid(f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {dtype_name(dtype)}")


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _decoded(value: Mapping[str, Any]) -> bytes:
    if not _is_base64(value):
        raise RequestError.invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"]
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError.invalid("Unable to base64 decode") from error


def fill_examples(document: Mapping[str, Any], given: Any) -> None:
    """Writes a Classify or Regress request's `examples` and `context` into an `Input`.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    if "examples" not in document:
        raise RequestError.invalid(
            f"JSON Value: {_shown(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise RequestError.invalid(f"JSON Value: {_shown(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise RequestError.invalid(f"JSON Value: {_shown(document)} 'examples' value is an empty array")
    where = given.example_list
    if "context" in document:
        where = given.example_list_with_context
        _fill_example(document["context"], where.context)
    for example in examples:
        _fill_example(example, where.examples.add())


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise RequestError.invalid(f"Example must be JSON object but got JSON {_TYPES.get(type(value), str(value))}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(item, name, feature)


def _add_to_feature(item: Any, name: str, feature: Any) -> None:
    if isinstance(item, float):
        kind, number = "float_list", item
    elif isinstance(item, int):
        if not -(1 << 63) <= item < 1 << 63:
            raise RequestError.invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        kind, number = "int64_list", int(item)
    elif isinstance(item, str) or _is_base64(item):
        kind = "bytes_list"
        number = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else _decoded(item)  # type: ignore[assignment]
    else:
        raise RequestError.invalid(
            f"Feature: {name} has element with unexpected JSON type: {_TYPES.get(type(item), 'Object')}"
        )
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise RequestError.invalid(
            f"Unexpected element type in feature: {name} expecting type: {known.removesuffix('_list')}"
        )
    getattr(feature, kind).value.append(number)


def json_of_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """A Predict answer: `predictions` by row, or `outputs` by name; one output stands without its name.

    Raises:
        RequestError: INVALID_ARGUMENT: rows were asked for, and an output has none or another count of them.
    """
    if not outputs:
        raise RequestError.invalid("Cannot convert empty tensor map to JSON")
    if not rows:
        columns = {name: _listed(name, array) for name, array in outputs.items()}
        return _dumped({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    count = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise RequestError.invalid(f"Tensor name: {name} has no shape information ")
        if count not in (None, len(array)):
            raise RequestError.invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)
    listed = {name: _listed(name, array) for name, array in outputs.items()}
    if len(listed) == 1:
        return _dumped({"predictions": next(iter(listed.values()))})
    return _dumped({"predictions": [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]})


def _listed(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        if name.endswith("_bytes"):
            texts = [{"b64": base64.b64encode(item).decode()} for item in array.ravel()]
        else:
            texts = [item.decode("utf-8", "replace") for item in array.ravel()]  # type: ignore[misc]
        return _nested(texts, array.shape)
    if array.dtype == np.float32:
        # The shortest decimals that read back as the same float, which float64's are not.
        return _nested([float(text) for text in array.ravel().astype(str)], array.shape)
    return array.tolist()


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    found = np.empty(len(flat), object)
    found[:] = flat
    return found.reshape(shape).tolist()


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=4).encode()


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "…"
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
