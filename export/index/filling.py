"""Filling variables from a table's rows, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.table_rows import TableChunk, TableRows
from trainer.errors import InputError

__all__ = ["assign_rows", "empty_variable", "unit_chunks"]


def empty_variable(shape: tuple[int, ...], dtype: tf.DType, name: str) -> tf.Variable:
    """A variable of zeros, or of empty texts, to be assigned to by slices: its values are held once, not twice."""
    return tf.Variable(tf.zeros(shape, dtype), trainable=False, name=name)


def assign_rows(variable: tf.Variable, start: int, values: np.ndarray | tf.Tensor) -> None:
    """Assigns `values` `[n, ...]` to the rows of a variable from `start` on, in place.

    `variable[start:stop].assign(values)` would first read the slice, which shares the variable's memory, and so copy
    the whole variable.
    """
    tf.raw_ops.ResourceStridedSliceAssign(
        ref=variable.handle, begin=[start], end=[start + len(values)], strides=[1], value=values
    )


def unit_chunks(rows: TableRows) -> Iterator[tuple[int, np.ndarray]]:
    """Row numbers and vectors of unit length.

    Yields:
        The first row of a chunk, and its vectors float32 `[n, D]`.

    Raises:
        InputError: a vector is zero, not finite or of another dimension.
    """
    start = 0
    for chunk in rows.chunks():
        if chunk.vectors.shape != (len(chunk), rows.dimension):
            raise InputError(
                f"expected vectors of {rows.dimension} dimensions, received shape {chunk.vectors.shape}; write the "
                "table anew"
            )
        vectors = chunk.vectors.astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        _refuse(chunk, start, ~np.isfinite(norms), "finite numbers", "NaN or infinity; the model has diverged")
        _refuse(chunk, start, norms == 0, "a length above 0", "zeros only, which is similar to nothing")
        yield start, (vectors / norms[:, None]).astype(np.float32)
        start += len(chunk)


def _refuse(chunk: TableChunk, start: int, wrong: np.ndarray, expected: str, received: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"row {start + row}, id {str(chunk.ids[row])!r}: expected a vector of {expected}, received {received}; "
            "embed the item again or leave it out"
        )
