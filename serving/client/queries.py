"""Checks of vectors, filters, k and call options, before anything is sent."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from serving.client.errors import BadInputError, MixedFingerprintsError
from serving.client.results import Embedding, Signature
from serving.contract import EMBEDDING, FILTER_SEPARATOR, IMAGE_BYTES, SCORES, TEXT, WEIGHT

__all__ = [
    "Filters",
    "Vector",
    "admitted",
    "check_k",
    "check_metadata",
    "check_name",
    "check_seconds",
    "check_token",
    "filter_values",
    "fits_dimension",
    "fits_k",
    "one_vector",
    "several_vectors",
]

Filters: TypeAlias = Mapping[str, str | Sequence[str]]
"""Attribute to the value, or the several values, of which an item must have one; all attributes must be met."""

Vector: TypeAlias = "Embedding | np.ndarray | Sequence[float]"
"""What `embed` answered, or D numbers."""

_HEADER = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")
_LONGEST = 1_000_000_000  # seconds; gRPC takes deadlines that are centuries away for past ones


def check_k(k: int) -> int:
    """An integer of at least 1.

    Raises:
        BadInputError: it is not.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise BadInputError(f"expected k as an integer of at least 1, received {k!r}")
    return int(k)


def check_name(what: str, name: str) -> str:
    """A text in Unicode that is not empty.

    Raises:
        BadInputError: it is not.
    """
    if not isinstance(name, str) or not name or not _encodable(name):
        raise BadInputError(f"expected the name of a {what}, received {name!r}")
    return name


def _encodable(text: str) -> bool:
    """Whether UTF-8 can hold it: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_seconds(name: str, seconds: float) -> float:
    """A time over 0, and not for ever.

    Raises:
        BadInputError: it is not.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        raise BadInputError(f"expected {name} in seconds, over 0 and at most {_LONGEST:,}; received {seconds!r}")
    return float(seconds)


def check_metadata(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs that gRPC takes.

    Raises:
        BadInputError: a name or value that it does not.
    """
    if not isinstance(metadata, Mapping):
        raise BadInputError(f"expected metadata as name to value, received {type(metadata).__name__}")
    pairs = []
    for name, value in metadata.items():
        if (
            not isinstance(name, str)
            or not _HEADER.fullmatch(name)
            or name.startswith("grpc-")
            or name.endswith("-bin")
        ):
            raise BadInputError(
                f"expected metadata names of a-z, 0-9, _, - and ., without grpc- and -bin; received {name!r}"
            )
        if not isinstance(value, str) or not _TEXT.fullmatch(value):
            raise BadInputError(f"expected the metadata {name} as printable ASCII")  # it may be a secret
        pairs.append((name, value))
    return pairs


def check_token(token: str) -> str:
    """A token that can be sent as `authorization: Bearer`.

    Raises:
        BadInputError: it cannot; says nothing of what is in it.
    """
    if not isinstance(token, str):
        raise BadInputError(f"expected the token as a text, received {type(token).__name__}")
    if not token.strip() or not _TEXT.fullmatch(token):
        raise BadInputError(
            "expected the token as printable ASCII; it is empty, or has other characters or a line feed"
        )
    return token


def one_vector(vector: Vector) -> tuple[np.ndarray, str]:
    """float32 `[1, D]`, and the fingerprint of its encoder, empty where it is not known.

    Raises:
        BadInputError: it is not a vector, or has no direction: NaN, infinite, all zero.
    """
    if isinstance(vector, Embedding):
        return vector.vector[np.newaxis], vector.fingerprint
    array = _numbers(vector)
    if array.ndim != 1:
        raise BadInputError(f"expected one vector [D], received {list(array.shape)}; use lookup_many for several")
    return _with_direction(array[np.newaxis]), ""


def several_vectors(vectors: Iterable[Vector]) -> tuple[np.ndarray, str]:
    """float32 `[N, D]`, and the fingerprint of their encoder, empty where it is not known.

    Raises:
        BadInputError: they are not vectors of one length, or one has no direction.
        MixedFingerprintsError: they come from different encoders.
    """
    if isinstance(vectors, np.ndarray):
        array = _numbers(vectors)
        if array.ndim != 2:
            raise BadInputError(f"expected vectors [N, D], received {list(array.shape)}; use lookup for one")
        return _with_direction(array), ""
    if isinstance(vectors, Embedding) or not isinstance(vectors, Iterable):
        raise BadInputError(f"expected several vectors, received {type(vectors).__name__}; use lookup for one")
    listed = list(vectors)
    known = {vector.fingerprint for vector in listed if isinstance(vector, Embedding)}
    if len(known) > 1:
        raise MixedFingerprintsError(
            f"expected embeddings of one encoder, received {', '.join(sorted(known))}; embed all pictures anew"
        )
    if not listed:
        return np.zeros((0, 0), np.float32), ""
    rows = [one_vector(vector)[0] for vector in listed]
    if len({row.shape[1] for row in rows}) > 1:
        lengths = sorted({row.shape[1] for row in rows})
        raise BadInputError(f"expected vectors of one length, received lengths {lengths}")
    return np.concatenate(rows), known.pop() if known else ""


def _numbers(vector: Any) -> np.ndarray:
    try:
        array = np.asarray(vector)
    except (ValueError, TypeError) as error:
        raise BadInputError(f"expected numbers of one length, received ragged ones: {error}") from None
    if array.dtype.kind not in "fiu":
        raise BadInputError(f"expected real numbers, received {array.dtype}")
    with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return array.astype(np.float32, copy=False)


def _with_direction(vectors: np.ndarray) -> np.ndarray:
    if vectors.shape[1] == 0:
        raise BadInputError("expected vectors of at least one number, received none")
    with np.errstate(all="ignore"):
        if len(vectors) == 1 and 0 < float(vectors[0] @ vectors[0]) < math.inf:  # nearly always, and quick
            return vectors
    lengths = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)  # float32 squares may overflow
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        place = int(bad.argmax())
        raise BadInputError(f"expected finite vectors of a length over 0; vector {place} is NaN, infinite or zero")
    return vectors


def admitted(filters: Filters | None) -> dict[str, str]:
    """Filters as the signatures take them: attribute to admitted values, joined.

    Raises:
        BadInputError: a value that cannot be meant.
    """
    if filters is None:
        return {}
    if not isinstance(filters, Mapping):
        raise BadInputError(f"expected filters as attribute to value or values, received {type(filters).__name__}")
    joined = {}
    for name, value in filters.items():
        values = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else []
        if not values or not all(isinstance(item, str) and item and _encodable(item) for item in values):
            raise BadInputError(f"expected texts to filter {name} by, received {value!r}; leave it out to admit all")
        if any(FILTER_SEPARATOR in item for item in values):
            raise BadInputError(f"expected values of {name} without a line feed, received {value!r}")
        joined[name] = FILTER_SEPARATOR.join(values)
    return joined


def filter_values(signature: Signature, filters: Mapping[str, str]) -> dict[str, str]:
    """The value of every attribute that the signature filters by, empty for those that admit all.

    Raises:
        BadInputError: an attribute that cannot be filtered by.
    """
    known = sorted(signature.inputs.keys() - {EMBEDDING, IMAGE_BYTES, TEXT, WEIGHT})
    for name in filters:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise BadInputError(f"expected filters by {', '.join(known)}; received {name!r}{hint}")
    return {name: filters.get(name, "") for name in known}


def fits_k(signature: Signature, k: int) -> None:
    """Refuses a k over the K that the signature declares, where it does.

    Raises:
        BadInputError: it is over it.
    """
    spec = signature.outputs.get(SCORES)
    width = spec.shape[1] if spec is not None and spec.shape is not None and len(spec.shape) == 2 else None
    if width is not None and k > width:
        raise BadInputError(f"expected k from 1 to {width}, which the model answers at most; received {k}")


def fits_dimension(signature: Signature, dimension: int) -> None:
    """Refuses vectors of another length than the signature declares, where it does.

    Raises:
        BadInputError: they are of another length.
    """
    spec = signature.inputs.get(EMBEDDING)
    wanted = spec.shape[1] if spec is not None and spec.shape is not None and len(spec.shape) == 2 else None
    if wanted is not None and dimension != wanted:
        raise BadInputError(f"expected vectors of {wanted} numbers, received {dimension}; is it the same model's?")
