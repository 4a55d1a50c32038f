"""What is answered: typed, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = [
    "Classification",
    "Embedding",
    "Label",
    "Match",
    "ModelMetadata",
    "Prediction",
    "SearchResult",
    "ShardedResult",
    "Signature",
    "TensorSpec",
    "VersionState",
    "VersionStatus",
]


class Match(NamedTuple):
    """An item of the catalogue that was found. A named tuple, since many are made for every answer.

    Attributes:
        id: of the item.
        score: cosine similarity to what was asked with.
        attributes: of the item, as the table ships them; read-only.
    """

    id: str
    score: float
    attributes: Mapping[str, str] = MappingProxyType({})

    def __hash__(self) -> int:
        return hash((self.id, self.score))

    def __reduce__(self) -> tuple[Any, tuple[str, float, dict[str, str]]]:
        return _match, (self.id, self.score, dict(self.attributes))


def _match(id: str, score: float, attributes: dict[str, str]) -> Match:
    return Match(id, score, MappingProxyType(attributes))


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The nearest items, the most similar first.

    Attributes:
        matches: at most k; fewer where a filter admits fewer.
        model: served name.
        version: the number that answered, whatever label was asked for.
        fingerprint: of the encoder whose embeddings the table holds.
        table_fingerprint: of the table that answered.
        scores: of the matches, float32 `[len(matches)]`: a read-only view of the answer.
        no_match_threshold: a best score below it is no good match; None where the model tells none, and for words.
    """

    matches: tuple[Match, ...]
    model: str
    version: int
    fingerprint: str
    table_fingerprint: str
    scores: np.ndarray = field(compare=False, repr=False)
    no_match_threshold: float | None = None

    @property
    def no_match(self) -> bool | None:
        """Whether even the best match is no good one; None where there is no threshold to tell by."""
        if self.no_match_threshold is None:
            return None
        return not self.matches or self.matches[0].score < self.no_match_threshold

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the matches."""
        return tuple([match.id for match in self.matches])


@dataclass(frozen=True, slots=True)
class ShardedResult:
    """The nearest items of all shards, the most similar first; equal scores in the order of the shards.

    Attributes:
        matches: at most k.
        fingerprint: of the encoder, the same on all shards.
        scores: of the matches, float32 `[len(matches)]`, read-only.
        shards: name of the shard to its own answer.
        missing: name of the shard to why it gave none; only where partial answers were asked for.
    """

    matches: tuple[Match, ...]
    fingerprint: str
    scores: np.ndarray = field(compare=False, repr=False)
    shards: Mapping[str, SearchResult] = field(repr=False, hash=False)
    missing: Mapping[str, Exception] = field(default_factory=dict, hash=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the matches."""
        return tuple([match.id for match in self.matches])

    @property
    def partial(self) -> bool:
        """Whether a shard is missing, so that better matches may exist."""
        return bool(self.missing)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A picture or a text as a point on the sphere that both share.

    NumPy takes it for its vector: `np.asarray(embedding)`.

    Attributes:
        vector: float32 `[D]`, of unit length: a read-only view of the answer.
        model: served name.
        version: the number that answered.
        fingerprint: of the encoder of pictures, whose sphere it is; `lookup` compares it with the table's.
    """

    vector: np.ndarray
    model: str
    version: int
    fingerprint: str

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.vector, dtype=dtype, copy=copy)


@dataclass(frozen=True, slots=True)
class Label:
    """A class of products with its probability."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Classification:
    """What a picture shows.

    Attributes:
        labels: at most k, the likeliest first.
        model: served name.
        version: the number that answered.
        fingerprint: of the encoder.
        scores: probabilities of the labels, float32 `[len(labels)]`: a read-only view of the answer.
    """

    labels: tuple[Label, ...]
    model: str
    version: int
    fingerprint: str
    scores: np.ndarray = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What any model answers.

    Attributes:
        outputs: name to read-only array; strings as an object array of `bytes`.
        model: served name.
        signature: that answered, resolved.
        version: the number that answered.
    """

    outputs: Mapping[str, np.ndarray]
    model: str
    signature: str
    version: int

    def __getitem__(self, name: str) -> np.ndarray:
        return self.outputs[name]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a signature.

    Attributes:
        dtype: NumPy's name, or `string`.
        shape: None for a dimension of any size, such as the batch; None altogether where even the rank is open.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature takes and answers, by name."""

    inputs: Mapping[str, TensorSpec] = field(hash=False)
    outputs: Mapping[str, TensorSpec] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a loaded version of a model can be asked.

    Attributes:
        model: served name.
        version: the number that answered.
        signatures: by name.
    """

    model: str
    version: int
    signatures: Mapping[str, Signature] = field(hash=False)


VersionState = Literal["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """Where a version of a model stands.

    Attributes:
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: 0, or TensorFlow's code of what went wrong.
        error: what went wrong, or empty.
    """

    version: int
    state: VersionState
    error_code: int = 0
    error: str = ""
