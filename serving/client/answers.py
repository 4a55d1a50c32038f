"""From messages to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, get_args

import numpy as np

from serving.client.calls import Call
from serving.client.errors import BadAnswerError, BadInputError
from serving.client.results import (
    Classification,
    Embedding,
    Label,
    Match,
    ModelMetadata,
    Prediction,
    SearchResult,
    Signature,
    TensorSpec,
    VersionState,
    VersionStatus,
)
from serving.contract import EMBEDDING, FINGERPRINT, IDS, LABELS, NO_MATCH_THRESHOLD, SCORES, TABLE_FINGERPRINT
from serving.wire import SignatureDefMap, TensorError, dtype_name, to_array

__all__ = ["classifications", "embeddings", "metadata", "prediction", "search_results", "statuses"]

_NOTHING: MappingProxyType[str, str] = MappingProxyType({})
_NOT_ATTRIBUTES = frozenset({IDS, SCORES, FINGERPRINT, TABLE_FINGERPRINT, NO_MATCH_THRESHOLD})
_STATES: dict[int, VersionState] = dict(zip((0, 10, 20, 30, 40, 50), get_args(VersionState), strict=True))


def _refuse(call: Call, message: str, kind: type[BadAnswerError | BadInputError] = BadAnswerError) -> NoReturn:
    raise kind(message, address=call.address, model=call.model, signature=call.signature, request_id=call.request_id)


class _Reader:
    """The outputs of an answer, checked against what was asked."""

    def __init__(self, call: Call, response: Any, rows: int) -> None:
        self.call = call
        self.outputs = response.outputs
        self.rows = rows
        self.version: int = response.model_spec.version.value

    def _tensor(self, name: str) -> Any:
        if name not in self.outputs:
            _refuse(self.call, f"expected an output {name}, received {', '.join(sorted(self.outputs)) or 'none'}")
        return self.outputs[name]

    def numbers(self, name: str) -> np.ndarray:
        """float32 `[rows, width]`."""
        try:
            array = to_array(self._tensor(name))
        except TensorError as error:
            _refuse(self.call, f"output {name}: {error}")
        if array.ndim != 2 or array.shape[0] != self.rows or array.dtype != np.float32:
            _refuse(self.call, f"expected {name} as float32 [{self.rows}, …], received {array.dtype} {array.shape}")
        return array

    def thresholds(self) -> list[float] | list[None]:
        """Of each row, below which its best score is no good match; None where the model tells none."""
        if NO_MATCH_THRESHOLD not in self.outputs:
            return [None] * self.rows
        values = to_array(self.outputs[NO_MATCH_THRESHOLD])
        if values.shape != (self.rows,) or values.dtype != np.float32:
            _refuse(self.call, f"expected {NO_MATCH_THRESHOLD} as float32 [{self.rows}], received {values.shape}")
        found: list[float] = values.tolist()
        return found

    def strings(self, name: str, width: int) -> Sequence[bytes]:
        """`rows * width` of them in row-major order, still to be decoded: few of them may be wanted."""
        values: Sequence[bytes] = self._tensor(name).string_val
        size = self.rows * width
        if 0 < len(values) < size:  # a tensor may leave out values at its end that equal the last
            values = [*values, *[values[-1]] * (size - len(values))]
        if len(values) != size:
            _refuse(self.call, f"expected {size} strings in {name}, received {len(values)}")
        return values

    def texts(self, values: Sequence[bytes]) -> list[str]:
        """Decoded."""
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError as error:
            _refuse(self.call, f"expected texts in UTF-8: {error}")

    def shown(self, k: int, width: int, what: str) -> None:
        """Refuses a k that the answer cannot fill."""
        if k > width:
            message = f"expected k from 1 to {width}, which {what} answers at most; received {k}"
            _refuse(self.call, message, BadInputError)


def search_results(call: Call, response: Any, rows: int, k: int) -> list[SearchResult]:
    """One result a query, of a search or a lookup."""
    reader = _Reader(call, response, rows)
    scores = reader.numbers(SCORES)
    width = scores.shape[1]
    reader.shown(k, width, "the table")
    ids = reader.strings(IDS, width)
    names = sorted(name for name in reader.outputs if name not in _NOT_ATTRIBUTES)
    columns = [reader.strings(name, width) for name in names]
    fingerprints = reader.texts(reader.strings(FINGERPRINT, 1))
    table_fingerprints = reader.texts(reader.strings(TABLE_FINGERPRINT, 1))
    thresholds = reader.thresholds()
    results = []
    for row in range(rows):
        start = row * width
        found = reader.texts(ids[start : start + k])
        count = found.index("") if "" in found else k
        values = scores[row, :count]
        cells = zip(*[reader.texts(column[start : start + count]) for column in columns], strict=True)
        described = [MappingProxyType(dict(zip(names, cell, strict=True))) for cell in cells] or [_NOTHING] * count
        matches = tuple(map(Match._make, zip(found, values.tolist(), described, strict=False)))
        results.append(
            SearchResult(
                matches, call.model, reader.version, fingerprints[row], table_fingerprints[row], values, thresholds[row]
            )
        )
    return results


def embeddings(call: Call, response: Any, rows: int) -> list[Embedding]:
    """One embedding a picture."""
    reader = _Reader(call, response, rows)
    vectors = reader.numbers(EMBEDDING)
    fingerprints = reader.texts(reader.strings(FINGERPRINT, 1))
    return [Embedding(vectors[row], call.model, reader.version, fingerprints[row]) for row in range(rows)]


def classifications(call: Call, response: Any, rows: int, k: int) -> list[Classification]:
    """One classification a picture."""
    reader = _Reader(call, response, rows)
    scores = reader.numbers(SCORES)
    width = scores.shape[1]
    reader.shown(k, width, "the encoder")
    names = reader.strings(LABELS, width)
    fingerprints = reader.texts(reader.strings(FINGERPRINT, 1))
    results = []
    for row in range(rows):
        values = scores[row, :k]
        shown = reader.texts(names[row * width : row * width + k])
        labels = tuple([Label(*pair) for pair in zip(shown, values.tolist(), strict=True)])
        results.append(Classification(labels, call.model, reader.version, fingerprints[row], values))
    return results


def prediction(call: Call, response: Any) -> Prediction:
    """Every output of any model."""
    try:
        outputs = {name: to_array(response.outputs[name]) for name in sorted(response.outputs)}
    except TensorError as error:
        _refuse(call, str(error))
    spec = response.model_spec
    return Prediction(outputs, call.model, spec.signature_name or call.signature, spec.version.value)


def _specs(infos: Any) -> Mapping[str, TensorSpec]:
    specs = {}
    for name in sorted(infos):
        shape = infos[name].tensor_shape
        sizes = None if shape.unknown_rank else tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
        specs[name] = TensorSpec(dtype_name(infos[name].dtype), sizes)
    return specs


def metadata(call: Call, response: Any) -> ModelMetadata:
    """What a model can be asked."""
    if "signature_def" not in response.metadata:
        _refuse(call, "expected signature_def in the metadata, received none")
    defined = SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    signatures = {
        name: Signature(_specs(defined[name].inputs), _specs(defined[name].outputs)) for name in sorted(defined)
    }
    return ModelMetadata(call.model, response.model_spec.version.value, signatures)


def statuses(response: Any) -> tuple[VersionStatus, ...]:
    """Where the versions of a model stand, the highest first."""
    return tuple(
        VersionStatus(
            item.version, _STATES.get(item.state, "UNKNOWN"), item.status.error_code, item.status.error_message
        )
        for item in sorted(response.model_version_status, key=lambda item: -item.version)
    )
