"""Several requests as one: joining their inputs, filling the batch up, and taking the answers apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError

__all__ = ["joined", "rows_of", "taken_apart"]


def rows_of(arrays: Sequence[np.ndarray]) -> int:
    """The size of a request: the first dimension, which all its inputs must share.

    Raises:
        RequestError: INVALID_ARGUMENT: no input, one without dimensions, or two that differ.
    """
    if not arrays:
        raise RequestError.invalid("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in arrays):
        raise RequestError.invalid("Batching Run() input tensors must have at least one dimension")
    if any(len(array) != len(arrays[0]) for array in arrays):
        raise RequestError.invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return len(arrays[0])


def joined(
    tasks: Sequence[Sequence[np.ndarray]], names: Sequence[str], total: int, parameters: BatchingParameters
) -> list[np.ndarray]:
    """The inputs of all tasks, one after the other, filled up to an allowed size with the last task's first row.

    Args:
        tasks: each task's arrays, in the order of the signature's inputs.
        names: the inputs' names.
        total: rows of all tasks.
        parameters: allowed sizes, and whether different shapes are filled up.

    Raises:
        RequestError: FAILED_PRECONDITION: the shapes of two tasks differ; INVALID_ARGUMENT: nothing to fill up with.
    """
    missing = parameters.rounded(total) - total
    if len(tasks) == 1 and not missing:
        return list(tasks[0])
    merged = []
    for place, name in enumerate(names):
        parts = [task[place] for task in tasks]
        if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            parts = _same_shapes(parts, name, parameters)
        if missing:
            parts.append(np.repeat(parts[-1][:1], missing, axis=0))
        merged.append(np.concatenate(parts))
    return merged


def _same_shapes(parts: list[np.ndarray], name: str, parameters: BatchingParameters) -> list[np.ndarray]:
    if not parameters.pad_variable_length_inputs or any(part.ndim != parts[0].ndim for part in parts):
        raise RequestError.failed_precondition(
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set "
            "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
            "starting with the first dim."
        )
    if any(not part.size for part in parts):
        raise RequestError.invalid("Got empty tensor in batch of non-empty tensors.")
    largest = np.max([part.shape[1:] for part in parts], axis=0)
    filled = []
    for part in parts:
        whole = np.full((len(part), *largest), part.flat[0], dtype=part.dtype)
        whole[tuple(slice(size) for size in part.shape)] = part
        filled.append(whole)
    return filled


def taken_apart(outputs: Sequence[np.ndarray], sizes: Sequence[int], run: int) -> list[list[np.ndarray]]:
    """Each task's rows of every output, as views.

    Args:
        outputs: of the whole batch.
        sizes: rows of each task; what is left over was filling.
        run: rows of the batch that ran.

    Raises:
        RequestError: FAILED_PRECONDITION: an output lost the first dimension.
    """
    for output in outputs:
        if output.ndim == 0:
            raise RequestError.failed_precondition("Batched output tensor has 0 dimensions")
        if len(output) != run:
            raise RequestError.failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors"
            )
    answers, start = [], 0
    for size in sizes:
        answers.append([output[start : start + size] for output in outputs])
        start += size
    return answers
