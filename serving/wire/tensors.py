"""Tensors to and from NumPy.

Numbers are sent as `tensor_content`. Answers are read from it as a view, without copying, or from the repeated fields,
which TensorFlow Serving uses unless it runs with `--enable_serialization_as_tensor_content`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.wire.messages import TensorProto

__all__ = ["TensorError", "dtype_name", "fill_strings", "fill_tensor", "to_array", "to_tensor"]

# NumPy's name of a dtype -> number in tensorflow/core/framework/types.proto, repeated field
_DTYPES: dict[str, tuple[int, str]] = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    "string": (7, "string_val"),
    "complex64": (8, "scomplex_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "bfloat16": (14, "half_val"),
    "uint16": (17, "int_val"),
    "complex128": (18, "dcomplex_val"),
    "float16": (19, "half_val"),
    "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}
_STRING = _DTYPES["string"][0]
_BY_NUMBER = {number: (name, field) for name, (number, field) in _DTYPES.items()}
# what the repeated field holds where that is not the dtype itself
_HELD_AS: dict[str, Any] = {
    "float16": np.uint16,
    "bfloat16": np.uint16,
    "complex64": np.float32,
    "complex128": np.float64,
}
_NUMBERS = {np.dtype(name): number for name, (number, _) in _DTYPES.items() if name not in ("string", "bfloat16")}
_ITERATED = {name: np.dtype(_HELD_AS.get(name, name)) for name in _DTYPES if name not in ("string", "bfloat16")}
_ITERATED["bfloat16"] = np.dtype(np.uint16)


class TensorError(ValueError):
    """A value that no tensor can hold, or a tensor that does not hold what it says."""


def dtype_name(number: int) -> str:
    """NumPy's name of a `DataType`, `string` for strings, or `DataType <number>` for one that is not carried here."""
    return _BY_NUMBER[number][0] if number in _BY_NUMBER else f"DataType {number}"


def to_tensor(value: Any) -> Any:
    """A `TensorProto` of an array or of what NumPy makes an array of.

    Args:
        value: an array of numbers or bool; an array or nested sequence of `bytes` or `str` (sent as UTF-8); or plain
            Python numbers, which become float32 and int32 (int64 where they need it), as TensorFlow has it.

    Raises:
        TensorError: ragged, or of a type that no tensor has.
    """
    tensor = TensorProto()
    fill_tensor(tensor, value)
    return tensor


def fill_tensor(tensor: Any, value: Any) -> None:
    """As `to_tensor`, into an empty `TensorProto` that exists, such as one of a request's inputs."""
    array = value if isinstance(value, np.ndarray) else _as_array(value)
    if array.dtype.kind in "OSU":
        fill_strings(tensor, array.ravel().tolist(), array.shape)
        return
    number = _NUMBERS.get(array.dtype)
    if number is None:  # bfloat16 comes from a package that need not be there; its name tells
        number = _DTYPES.get(array.dtype.name, (0, ""))[0]
    if not number:
        raise TensorError(f"expected one of {', '.join(_DTYPES)}; received an array of {array.dtype}")
    tensor.dtype = number
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    add = tensor.tensor_shape.dim.add
    for size in array.shape:
        add(size=size)
    # sets the field's presence for a scalar, whose shape has no dimension
    tensor.tensor_shape.SetInParent()
    tensor.tensor_content = array.tobytes()


def fill_strings(tensor: Any, values: Sequence[bytes | str], shape: Sequence[int]) -> None:
    """Fills an empty `TensorProto` with strings in row-major order."""
    tensor.dtype = _STRING
    add = tensor.tensor_shape.dim.add
    for size in shape:
        add(size=size)
    tensor.tensor_shape.SetInParent()
    try:
        tensor.string_val.extend([value.encode() if isinstance(value, str) else value for value in values])
    except TypeError:
        kinds = sorted({type(value).__name__ for value in values if not isinstance(value, bytes | str)})
        raise TensorError(f"expected bytes or str throughout; received {', '.join(kinds)}") from None


def _as_array(value: Any) -> np.ndarray:
    has_dtype = hasattr(value, "dtype") or hasattr(value, "__array__")
    leaf = value
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if isinstance(leaf, bytes | str):  # NumPy's fixed-length strings would lose NULs at their ends
        return np.asarray(value, dtype=object)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TensorError(f"expected rows of the same length, received ragged ones: {error}") from None
    if has_dtype:
        return array
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int64 and (array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)):
        return array.astype(np.int32)
    return array


def to_array(tensor: Any) -> np.ndarray:
    """The array of a `TensorProto`, read-only.

    Returns:
        A view of `tensor_content` where the tensor has one. Strings come as an object array of `bytes`. bfloat16 comes
        as float32, which holds every value of it and needs no further package.

    Raises:
        TensorError: of a dtype that is not carried here, or its values are not as many as its shape says.
    """
    try:
        name, field = _BY_NUMBER[tensor.dtype]
    except KeyError:
        raise TensorError(f"expected one of {', '.join(_DTYPES)}; received DataType {tensor.dtype}") from None
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    size = math.prod(shape)
    content = tensor.tensor_content
    flat = _of_content(content, name) if content else _of_values(getattr(tensor, field), name)
    if flat.size != size:
        flat = _repeat_last(flat, size, shape)
    array = flat.reshape(shape)
    array.flags.writeable = False
    return array


def _of_content(content: bytes, name: str) -> np.ndarray:
    if name == "string":
        raise TensorError("expected strings in string_val, received tensor_content")
    dtype = np.dtype(_HELD_AS[name] if name == "bfloat16" else name).newbyteorder("<")
    if len(content) % dtype.itemsize:
        raise TensorError(f"expected whole values of {name}, received {len(content)} bytes")
    flat = np.frombuffer(content, dtype)
    return _widened(flat) if name == "bfloat16" else flat


def _of_values(values: Any, name: str) -> np.ndarray:
    if name == "string":
        flat = np.empty(len(values), dtype=object)
        flat[:] = values
        return flat
    flat = np.fromiter(values, _ITERATED[name], len(values))
    if name == "bfloat16":
        return _widened(flat)
    return flat.view(name) if name in _HELD_AS else flat


def _widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16's bits as float32, whose upper half they are."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _repeat_last(flat: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor may leave out values at its end that equal the last one."""
    if min(shape, default=0) < 0 or not 0 < flat.size < size:
        raise TensorError(f"expected {size} values for shape {shape}, received {flat.size}")
    if flat.size == 1:
        return np.broadcast_to(flat, size).view()
    return np.concatenate([flat, np.broadcast_to(flat[-1:], size - flat.size)])
