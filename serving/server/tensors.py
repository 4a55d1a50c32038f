"""TensorProto to NumPy and back, with the checks that the real server's parser makes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

__all__ = ["MAX_RANK", "TensorError", "dtype_name", "fill_proto", "from_proto"]

STRING_BYTES = 24
"""Memory of an empty string in a TensorFlow tensor."""
MAX_RANK = 32
"""More dimensions than any model takes; NumPy allows 64."""

_VALUES: dict[int, tuple[Any, str]] = {
    types_pb2.DT_FLOAT: (np.float32, "float_val"),
    types_pb2.DT_DOUBLE: (np.float64, "double_val"),
    types_pb2.DT_INT32: (np.int32, "int_val"),
    types_pb2.DT_INT16: (np.int16, "int_val"),
    types_pb2.DT_INT8: (np.int8, "int_val"),
    types_pb2.DT_UINT8: (np.uint8, "int_val"),
    types_pb2.DT_UINT16: (np.uint16, "int_val"),
    types_pb2.DT_INT64: (np.int64, "int64_val"),
    types_pb2.DT_UINT32: (np.uint32, "uint32_val"),
    types_pb2.DT_UINT64: (np.uint64, "uint64_val"),
    types_pb2.DT_BOOL: (np.bool_, "bool_val"),
}
_ENUMS = {np.dtype(kind): number for number, (kind, _) in _VALUES.items()}
_PACKED = {np.dtype(np.float32): b"\x2a", np.dtype(np.float64): b"\x32", np.dtype(np.bool_): b"\x5a"}
"""Key of the repeated field whose packed form is the array's own bytes."""
_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


class TensorError(ValueError):
    """A TensorProto that is no tensor."""


def dtype_name(number: int) -> str:
    """A type as TensorFlow's runtime calls it: `float`, not `float32`."""
    try:
        name = tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"unknown dtype enum ({number})"
    return _NAMES.get(name, name)


def from_proto(proto: Any, max_bytes: int) -> np.ndarray:
    """A tensor's values; `tensor_content` is viewed, not copied.

    As in TensorFlow, fewer values than elements repeat the last, no values are zeros, more are ignored.

    Args:
        proto: a `TensorProto`.
        max_bytes: greatest size in memory that a shape may declare.

    Returns:
        Array of the declared type and shape; strings as objects that are `bytes`.

    Raises:
        TensorError: no such type, an impossible or too large shape, or content of another size.
    """
    shape = _shape(proto.tensor_shape)
    if proto.dtype not in _VALUES and proto.dtype != types_pb2.DT_STRING:
        return _unusual(proto, shape, max_bytes)
    kind, field = _VALUES.get(proto.dtype, (None, ""))
    item = STRING_BYTES if kind is None else np.dtype(kind).itemsize
    count = _count(shape, item, max_bytes)
    if kind is None:
        return _strings(proto, count).reshape(shape)
    if proto.tensor_content:
        content = proto.tensor_content
        if len(content) != count * np.dtype(kind).itemsize:
            raise TensorError("content of another size")
        return np.frombuffer(content, dtype=kind).reshape(shape)
    values = getattr(proto, field)
    return _repeated(np.array(values[:count]).astype(kind), count).reshape(shape)


def _shape(proto: Any) -> tuple[int, ...]:
    if proto.unknown_rank or len(proto.dim) > MAX_RANK:
        raise TensorError("no shape")
    shape = tuple(dim.size for dim in proto.dim)
    if any(size < 0 for size in shape):
        raise TensorError("negative dimension")
    return shape


def _count(shape: tuple[int, ...], item: int, max_bytes: int) -> int:
    if math.prod(size for size in shape if size) * item > max_bytes:
        raise TensorError("too large")
    return math.prod(shape)


def _repeated(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) == count:
        return values
    if not len(values):
        return np.zeros(count, values.dtype)
    return np.concatenate([values, np.repeat(values[-1:], count - len(values))])


def _strings(proto: Any, count: int) -> np.ndarray:
    found = np.empty(count, object)
    if proto.tensor_content:
        found[:] = _string_list(proto.tensor_content, count)
        return found
    values = proto.string_val[:count]
    found[: len(values)] = values
    found[len(values) :] = values[-1] if values else b""
    return found


def _string_list(content: bytes, count: int) -> list[bytes]:
    """Strings as TensorFlow packs them: all lengths as varints, then all bytes."""
    sizes, place = [], 0
    for _ in range(count):
        size, shift = 0, 0
        while True:
            if place >= len(content) or shift > 28:
                raise TensorError("content of another size")
            byte = content[place]
            place += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes.append(size)
    if place + sum(sizes) != len(content):
        raise TensorError("content of another size")
    strings = []
    for size in sizes:
        strings.append(content[place : place + size])
        place += size
    return strings


def _unusual(proto: Any, shape: tuple[int, ...], max_bytes: int) -> np.ndarray:
    """Types that no signature of ours takes: read by TensorFlow itself."""
    try:
        kind = tf.dtypes.as_dtype(proto.dtype)
        _count(shape, max(kind.size, 1), max_bytes)
        return np.asarray(tf.make_ndarray(proto))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise TensorError(str(error)) from error


def fill_proto(proto: Any, array: np.ndarray, tensor_content: bool) -> None:
    """Writes an array into an empty `TensorProto`.

    Args:
        proto: what to fill.
        array: strings are arrays of `bytes` objects.
        tensor_content: numbers as their bytes in one field; else in the repeated field of their type.
    """
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        proto.dtype = types_pb2.DT_STRING
        proto.string_val.extend(array.ravel().tolist())
        return
    number = _ENUMS.get(array.dtype)
    if number is None:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = number
    if tensor_content:
        proto.tensor_content = array.tobytes()
    elif array.size and (key := _PACKED.get(array.dtype)) is not None:
        content = array.tobytes()
        proto.MergeFromString(key + _varint(len(content)) + content)
    else:
        getattr(proto, _VALUES[number][1]).extend(array.ravel().tolist())


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
