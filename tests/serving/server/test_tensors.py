"""Tensors against TensorFlow's own reading and writing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.tensors import TensorError, fill_proto, from_proto

LIMIT = 1 << 20
ARRAYS = [
    np.arange(6, dtype=kind).reshape(2, 3)
    for kind in ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8")
] + [
    np.array([[True, False]]),
    np.float32(3),
    np.zeros((0, 4), np.float32),
    np.array([np.nan, np.inf, -0.0], np.float32),
    np.array([[b"a", b""], [b"\xff", "ü".encode()]], object),
]


def same(left: Any, right: Any) -> None:
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
@pytest.mark.parametrize("content", [False, True])
def test_what_is_written_tensorflow_reads(array: Any, content: bool) -> None:
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, np.asarray(array), content)
    same(np.asarray(tf.make_ndarray(proto)), np.asarray(array))
    again = tensor_pb2.TensorProto.FromString(proto.SerializeToString())
    same(from_proto(again, LIMIT), np.asarray(array))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_what_tensorflow_writes_is_read(array: Any) -> None:
    same(from_proto(tf.make_tensor_proto(array), LIMIT), np.asarray(array))
    native = tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(tf.constant(array)).numpy())
    same(from_proto(native, LIMIT), np.asarray(array))


def proto(shape: list[int], dtype: int = 1, **fields: Any) -> Any:
    made = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize(
    ("strange", "expected"),
    [
        (proto([3], float_val=[1.0, 2.0]), [1.0, 2.0, 2.0]),
        (proto([2]), [0.0, 0.0]),
        (proto([1], float_val=[1.0, 2.0]), [1.0]),
        (proto([3], 7, string_val=[b"x"]), [b"x"] * 3),
        (proto([2], 7), [b"", b""]),
        (proto([2], 7, tensor_content=b"\x01\x02abc"), [b"a", b"bc"]),
        (proto([2], 4, int_val=[300, 1]), [44, 1]),
    ],
)
def test_tensorflows_liberties(strange: Any, expected: list[Any]) -> None:
    assert from_proto(strange, LIMIT).tolist() == expected
    native = tf.io.parse_tensor(strange.SerializeToString(), tf.dtypes.as_dtype(strange.dtype)).numpy()
    assert native.tolist() == expected


@pytest.mark.parametrize(
    "bad",
    [
        proto([1 << 40]),
        proto([1 << 31, 1 << 31, 1 << 31]),
        proto([0, 1 << 62]),
        proto([1 << 40], 7, string_val=[b"x"]),
        proto([1 << 40], 19),
        proto([1] * 100, float_val=[1.0]),
        proto([-1]),
        proto([2], tensor_content=b"123"),
        proto([2], 7, tensor_content=b"\x01\xff\xff\xff\xff\xff\xff"),
        proto([2], 7, tensor_content=b"\x01\x02ab"),
        proto([1], 0),
        proto([1], 20),
        proto([1], 21),
        proto([1], 101),
        proto([1], 9999),
        tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
    ],
    ids=str,
)
def test_bombs_are_refused_quickly(bad: Any) -> None:
    start = time.monotonic()
    with pytest.raises(TensorError):
        from_proto(bad, LIMIT)
    assert time.monotonic() - start < 0.5
