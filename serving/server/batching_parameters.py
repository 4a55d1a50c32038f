"""Batching parameters, read from TensorFlow Serving's text protocol buffer."""

from __future__ import annotations

import functools
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from serving.server.errors import RequestError

__all__ = ["BatchingParameters"]

_WRAPPED = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "max_execution_batch_size": (8, "Int64Value"),
    "enable_large_batch_splitting": (9, "BoolValue"),
}
_POSITIVE = ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size")


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are run together; the real server's names and defaults.

    Attributes:
        max_batch_size: rows of one request at most, and of a batch unless requests are split.
        batch_timeout_micros: how long a batch may wait for more.
        max_enqueued_batches: length of the queue, in full batches.
        num_batch_threads: batches of one signature that run at once.
        thread_pool_name: for metrics.
        allowed_batch_sizes: a batch is filled up to the next of these with copies of a row.
        pad_variable_length_inputs: whether inputs of different shapes are filled up to the largest.
        max_execution_batch_size: rows of a batch, where requests are split.
        enable_large_batch_splitting: whether one request may be spread over several batches.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    max_execution_batch_size: int = 0
    enable_large_batch_splitting: bool = False

    @property
    def execution_size(self) -> int:
        """Rows of a batch at most."""
        return (self.enable_large_batch_splitting and self.max_execution_batch_size) or self.max_batch_size

    def rounded(self, rows: int) -> int:
        """The size to which a batch is filled up."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    @classmethod
    def read(cls, path: Path) -> BatchingParameters:
        """Reads a `batching_params.pbtxt`.

        Raises:
            RequestError: INVALID_ARGUMENT: it cannot be read, does not parse, or makes no sense.
        """
        message = _message_class()()
        try:
            text_format.Parse(path.read_text(encoding="utf-8"), message)
        except (OSError, text_format.ParseError, UnicodeDecodeError) as error:
            raise RequestError.invalid(f"Invalid protobuf file: '{path}': {error}") from error
        values: dict[str, Any] = {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
        values["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
        values["pad_variable_length_inputs"] = message.pad_variable_length_inputs
        for name in _POSITIVE:
            if values.get(name, 1) < 1:
                raise RequestError.invalid(f"{name} must be positive; was {values[name]} in {path}")
        if values.get("batch_timeout_micros", 0) < 0:
            raise RequestError.invalid(f"batch_timeout_micros must be non-negative; was negative in {path}")
        parameters = cls(**values)
        parameters._check_sizes()
        return parameters

    def _check_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        if self.enable_large_batch_splitting and self.execution_size > self.max_batch_size:
            raise RequestError.invalid("max_execution_batch_size must be no larger than max_batch_size")
        if any(later <= earlier for earlier, later in itertools.pairwise(sizes)) or sizes[:1] == (0,):
            raise RequestError.invalid("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            raise RequestError.invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.execution_size}"
            )


@functools.cache
def _message_class() -> Any:
    """`tensorflow.serving.BatchingParameters`, which tensorflow-serving-api does not hold, in a pool of its own."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for name, (number, wrapper) in _WRAPPED.items():
        message.field.add(
            name=name,
            number=number,
            label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
        )
    message.field.add(name="allowed_batch_sizes", number=6, label=kinds.LABEL_REPEATED, type=kinds.TYPE_INT64)
    message.field.add(name="pad_variable_length_inputs", number=7, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_BOOL)
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))
