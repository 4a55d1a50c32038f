"""Tensors to and from NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.wire import TensorError, TensorProto, dtype_name, fill_strings, to_array, to_tensor

NUMBERS = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()  # noqa: SIM905


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0, 4)])
def test_numbers_survive(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)).reshape(shape) - 2).astype(dtype) if dtype != "bool" else np.ones(shape, bool)
    back = to_array(TensorProto.FromString(to_tensor(array).SerializeToString()))
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.array_equal(back, array)
    assert not back.flags.writeable


def test_content_is_viewed_not_copied() -> None:
    back = to_array(to_tensor(np.ones((64, 64), np.float32)))
    base = back
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base.base, bytes)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((3, 4), np.float32).T,
        np.arange(12, dtype=np.int32)[::2],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["transposed", "strided", "big-endian", "fortran"],
)
def test_any_layout_goes_out_in_row_major_order(array: np.ndarray) -> None:
    assert np.array_equal(to_array(to_tensor(array)), array)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([b"a\0", "ü"], [b"a\0", "ü".encode()]),
        ([["a"], ["b"]], [[b"a"], [b"b"]]),
        ("a", b"a"),
        (np.array(["a", "bc"]), [b"a", b"bc"]),
        (np.array([b"a", b"bc"], dtype=object), [b"a", b"bc"]),
    ],
    ids=str,
)
def test_strings(value: Any, expected: Any) -> None:
    assert to_array(to_tensor(value)).tolist() == expected


def test_plain_numbers_become_what_tensorflow_makes_of_them() -> None:
    assert to_array(to_tensor([1.5])).dtype == np.float32
    assert to_array(to_tensor([1])).dtype == np.int32
    assert to_array(to_tensor([2**40])).dtype == np.int64
    assert to_array(to_tensor(True)).dtype == bool
    assert to_array(to_tensor(np.float64(1.5))).dtype == np.float64


def repeated(dtype: int, field: str, values: list[Any], *shape: int) -> Any:
    tensor = TensorProto(dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(values)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (repeated(1, "float_val", [1.5, 2.5], 1, 2), np.array([[1.5, 2.5]], np.float32)),
        (repeated(2, "double_val", [1.5], 1), np.array([1.5])),
        (repeated(4, "int_val", [255], 1), np.array([255], np.uint8)),
        (repeated(6, "int_val", [-1], 1), np.array([-1], np.int8)),
        (repeated(9, "int64_val", [-(2**40)], 1), np.array([-(2**40)])),
        (repeated(10, "bool_val", [True, False], 2), np.array([True, False])),
        (repeated(19, "half_val", [0x3C00], 1), np.array([1], np.float16)),
        (repeated(14, "half_val", [0x3FC0], 1), np.array([1.5], np.float32)),
        (repeated(8, "scomplex_val", [1, 2], 1), np.array([1 + 2j], np.complex64)),
        (repeated(22, "uint32_val", [2**32 - 1], 1), np.array([2**32 - 1], np.uint32)),
        (repeated(23, "uint64_val", [2**64 - 1], 1), np.array([2**64 - 1], np.uint64)),
        (repeated(1, "float_val", [7], 2, 2), np.full((2, 2), 7, np.float32)),
        (repeated(1, "float_val", [1, 7], 4), np.array([1, 7, 7, 7], np.float32)),
        (repeated(1, "float_val", [], 0, 3), np.zeros((0, 3), np.float32)),
        (repeated(7, "string_val", [b"a"], 2), np.array([b"a", b"a"], object)),
        (TensorProto(dtype=14, tensor_content=b"\xc0\x3f"), np.array(1.5, np.float32)),
    ],
)
def test_repeated_fields_are_read(tensor: Any, expected: np.ndarray) -> None:
    array = to_array(tensor)
    assert array.dtype == expected.dtype
    assert np.array_equal(array, expected)


def test_one_repeated_value_takes_no_memory() -> None:
    assert to_array(repeated(1, "float_val", [0.0], 100_000, 100_000)).strides == (0, 0)


@pytest.mark.parametrize(
    "tensor",
    [
        repeated(1, "float_val", [1.0, 2.0], 1),
        repeated(1, "float_val", [], 2),
        repeated(1, "float_val", [1.0], -2),
        repeated(1, "int_val", [1], 1),
        TensorProto(dtype=1, tensor_content=b"abc"),
        TensorProto(dtype=7, tensor_content=b"abc"),
        TensorProto(dtype=20),
        TensorProto(),
    ],
)
def test_a_tensor_that_does_not_hold_what_it_says(tensor: Any) -> None:
    with pytest.raises(TensorError, match="expected"):
        to_array(tensor)


@pytest.mark.parametrize("value", [[[1], [1, 2]], object(), [None], np.array(["2020"], "datetime64[D]"), [b"a", 1]])
def test_what_no_tensor_holds(value: Any) -> None:
    with pytest.raises(TensorError):
        to_tensor(value)


def test_names_of_dtypes() -> None:
    assert dtype_name(1) == "float32"
    assert dtype_name(7) == "string"
    assert dtype_name(20) == "DataType 20"


def test_filling_strings_refuses_others() -> None:
    with pytest.raises(TensorError, match="int"):
        fill_strings(TensorProto(), [b"a", 1], (2,))  # type: ignore[list-item]
