"""What a signature takes and answers, and a request held against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.server.errors import RequestError
from serving.server.tensors import TensorError, dtype_name, from_proto

__all__ = ["InputSpec", "Signature", "check_outputs"]


@dataclass(frozen=True)
class InputSpec:
    """One input of a signature: its name there, the graph's tensor, type and shape.

    `shape` is None where the rank is unknown, and has None where a dimension is; `position` is the input's place among
    the fed tensors, which errors speak of.
    """

    alias: str
    tensor: str
    dtype: int
    shape: tuple[int | None, ...] | None
    position: int

    def check(self, array: np.ndarray, dtype: int) -> None:
        """Refuses a value of another type or shape.

        Raises:
            RequestError: INVALID_ARGUMENT.
        """
        if dtype != self.dtype:
            raise RequestError.invalid(
                f"Expects arg[{self.position}] to be {dtype_name(self.dtype)} but {dtype_name(dtype)} is provided"
            )
        if self.shape is None:
            return
        if len(self.shape) != array.ndim or any(
            expected not in (None, size) for expected, size in zip(self.shape, array.shape, strict=True)
        ):
            expected = ",".join("?" if size is None else str(size) for size in self.shape)
            raise RequestError.invalid(
                f"Expects arg[{self.position}] ({self.alias}) to have the shape [{expected}] but "
                f"[{','.join(map(str, array.shape))}] is provided"
            )


@dataclass(frozen=True)
class Signature:
    """A signature of a loaded version: its inputs and outputs in the order of their names, and its definition."""

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[tuple[str, str], ...]
    definition: Any

    @classmethod
    def of(cls, name: str, definition: Any) -> Signature:
        """Reads a `SignatureDef`."""
        fed = sorted(info.name for info in definition.inputs.values())
        inputs = tuple(
            InputSpec(alias, info.name, info.dtype, _shape(info.tensor_shape), fed.index(info.name))
            for alias, info in sorted(definition.inputs.items())
        )
        outputs = tuple((alias, info.name) for alias, info in sorted(definition.outputs.items()))
        return cls(name, inputs, outputs, definition)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(alias for alias, _ in self.outputs)

    def bind(self, protos: Mapping[str, Any], max_bytes: int) -> list[np.ndarray]:
        """A request's tensors in the order of `inputs`.

        Args:
            protos: name to `TensorProto`.
            max_bytes: greatest size in memory that a tensor's shape may declare.

        Raises:
            RequestError: INVALID_ARGUMENT: too few, too many, unknown or unreadable inputs, or of another type or
                shape.
        """
        self._check_names(protos)
        defaults = self.definition.defaults
        arrays, types = [], []
        for spec in self.inputs:
            proto = protos[spec.alias] if spec.alias in protos else defaults[spec.alias]
            try:
                arrays.append(from_proto(proto, max_bytes))
            except TensorError as error:
                raise RequestError.invalid(f"tensor parsing error: {spec.alias}") from error
            types.append(proto.dtype)
        for spec, array, dtype in zip(self.inputs, arrays, types, strict=True):
            spec.check(array, dtype)
        return arrays

    def _check_names(self, protos: Mapping[str, Any]) -> None:
        defaults = self.definition.defaults
        known = {spec.alias for spec in self.inputs}
        if protos.keys() == known:
            return
        if len(protos) > len(known) or (len(protos) < len(known) and not defaults):
            raise RequestError.invalid(
                f"input size does not match signature: {len(protos)}!={len(known)} len({{{_joined(protos)}}}) != "
                f"len({{{_joined(known)}}}). Sent extra: {{{_joined(protos.keys() - known)}}}. Missing but required: "
                f"{{{_joined(known - protos.keys())}}}."
            )
        for spec in self.inputs:
            if spec.alias not in protos and spec.alias not in defaults:
                raise RequestError.invalid(
                    f"Signature input alias: {spec.alias}(feed name: {spec.tensor}) not found in request and no "
                    f"default value provided. Inputs expected to be in the request {{{_joined(protos)}}}, or default "
                    f"input alias set: {_joined(defaults)}"
                )
        if protos.keys() - known:
            raise RequestError.invalid(
                f"Inputs contains invalid name. Used request inputs: {_joined(protos.keys() & known)}, request input: "
                f"{_joined(protos)}"
            )


def check_outputs(signature: Signature, wanted: Iterable[str]) -> tuple[str, ...]:
    """Names of the outputs to answer: all of them where none is asked for.

    Raises:
        RequestError: INVALID_ARGUMENT: an unknown one, or one twice.
    """
    known, seen = signature.output_names, []
    for alias in wanted:
        if alias not in known:
            raise RequestError.invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_joined(known)}}}."
            )
        if alias in seen:
            raise RequestError.invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return tuple(seen) or known


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)
