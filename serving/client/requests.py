"""What every question needs: options, empty requests, the model's signatures, and batches under the limits. No I/O."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.client import answers
from serving.client.calls import Call, CallOptions, Flow, Send
from serving.client.errors import BadInputError, TooLargeError, UnknownSignatureError
from serving.client.queries import check_metadata, check_name, check_seconds, check_token
from serving.client.results import ModelMetadata, Signature
from serving.client.settings import Limits
from serving.contract import (
    EMBED_TEXTS,
    SEARCH_IMAGES_AND_TEXTS,
    SEARCH_TEXTS,
    Kind,
    served_name,
)
from serving.wire import GET_MODEL_METADATA, PREDICT, Method, fill_strings

__all__ = ["REQUEST_ID", "Asking", "Options", "Requests", "check_version"]

REQUEST_ID = "x-request-id"
"""Name of the metadata that tells a method's calls, and its errors, from others."""

_KNOWN_OPTIONS = frozenset(CallOptions.__annotations__)
_ENVELOPE = 4096  # bytes of a message beside its tensors' contents; gRPC itself checks the exact size
_OVERHEAD = 512  # bytes beside an item: its length, and what the filters take in its row
_OF_WORDS = (EMBED_TEXTS, SEARCH_TEXTS, SEARCH_IMAGES_AND_TEXTS)
_TRUSTED_FOR = 5.0  # seconds in which a signature is not fetched again because something does not fit it


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked, and how, unless a call says otherwise: what a client was made with."""

    model: str
    version: int | None
    label: str | None
    timeout: float
    fingerprint: str | None
    metadata: tuple[tuple[str, str], ...]
    token: Callable[[], str] | None
    limits: Limits


@dataclass(slots=True)  # not frozen: made for every question, and freezing takes as long as the rest
class Options:
    """One method's options, the client's filled in."""

    deadline: float
    version: int | None
    label: str | None
    request_id: str
    metadata: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Known:
    """A model's signatures, and when they were fetched."""

    metadata: ModelMetadata
    since: float


class Requests:
    """Builds requests.

    Args:
        asking: what the client was made with.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._known: dict[tuple[str, int | None, str | None], _Known] = {}

    def options(self, given: CallOptions) -> Options:
        """One method's options, checked.

        Raises:
            TypeError: an option that does not exist.
            BadInputError: an impossible value.
        """
        asking = self._asking
        if given and not given.keys() <= _KNOWN_OPTIONS:
            unknown, known = sorted(given.keys() - _KNOWN_OPTIONS), sorted(_KNOWN_OPTIONS)
            raise TypeError(f"unexpected keyword {', '.join(unknown)}; expected {', '.join(known)}")
        version, label = given.get("version"), given.get("label")
        if version is None and label is None:
            version, label = asking.version, asking.label
        else:
            check_version(version, label)
        headers = self.headers(given)
        metadata = list(headers.items())
        if asking.token is not None:
            metadata.append(("authorization", f"Bearer {check_token(asking.token())}"))
        timeout = check_seconds("timeout", given["timeout"]) if "timeout" in given else asking.timeout
        return Options(time.monotonic() + timeout, version, label, headers[REQUEST_ID], metadata)

    def headers(self, given: CallOptions) -> dict[str, str]:
        """The metadata of one method's calls, the client's among it, and always a request id.

        Raises:
            BadInputError: a name or value that cannot be sent.
        """
        headers = dict(self._asking.metadata)
        further, request_id = given.get("metadata"), given.get("request_id")
        if further is not None:
            headers.update(check_metadata(further))
        if request_id:
            headers.update(check_metadata({REQUEST_ID: request_id}))
        elif not headers.get(REQUEST_ID):
            headers[REQUEST_ID] = os.urandom(16).hex()
        return headers

    def call(self, method: Method, model: str, options: Options, *, signature: str = "", request: Any = None) -> Call:
        """A call with an empty request about a model, or with the one that is given."""
        if request is None:
            request = method.request()
            spec = request.model_spec
            spec.name = model
            if signature:
                spec.signature_name = signature
            if options.version is not None:
                spec.version.value = options.version
            elif options.label is not None:
                spec.version_label = options.label
        return Call(method, request, model, signature, options.request_id, list(options.metadata), options.deadline)

    def served(self, kind: Kind) -> str:
        """The served name of one of the client's models."""
        return served_name(self._asking.model, kind)

    def metadata_call(self, model: str, options: Options) -> Call:
        """A call for what a model can be asked."""
        call = self.call(GET_MODEL_METADATA, check_name("model", model), options)
        call.request.metadata_field.append("signature_def")
        return call

    def metadata(self, model: str, options: Options) -> Flow[ModelMetadata]:
        """What a model can be asked; kept for checks before later calls."""
        call = self.metadata_call(model, options)
        (response,) = yield Send([call])
        found = answers.metadata(call, response)
        self._known[model, options.version, options.label] = _Known(found, time.monotonic())
        return found

    def fitting(
        self, model: str, name: str, options: Options, build: Callable[[Signature], list[Call]]
    ) -> Flow[tuple[list[Call], list[Any]]]:
        """Sends what `build` makes of a signature; made anew where the model was replaced in the meantime.

        The signature is fetched before the first question. What does not fit it later may fit the model's next
        version, so it is fetched again before a question is refused, though not again and again.
        """
        key = model, options.version, options.label
        known = self._known.get(key)
        if known is not None:
            try:
                calls = build(_signature(known.metadata, name))
                return calls, (yield Send(calls))
            except (BadInputError, UnknownSignatureError) as error:
                if isinstance(error, TooLargeError) or time.monotonic() - known.since < _TRUSTED_FOR:
                    raise
                if (yield from self.metadata(model, options)) == known.metadata:
                    raise
        else:
            yield from self.metadata(model, options)
        calls = build(_signature(self._known[key].metadata, name))
        return calls, (yield Send(calls))

    def batches(self, sizes: Sequence[int]) -> list[slice]:
        """Which items go into one request together, given their bytes.

        Raises:
            TooLargeError: one of them is over the limit alone.
        """
        limits = self._asking.limits
        room = limits.message_bytes - _ENVELOPE
        slices, start, filled = [], 0, 0
        for place, size in enumerate(sizes):
            needed = size + _OVERHEAD
            if needed > room:
                raise TooLargeError(
                    f"expected at most {room} bytes in a request (Limits.message_bytes), received {size} in one"
                )
            if place > start and (filled + needed > room or place - start == limits.batch):
                slices.append(slice(start, place))
                start, filled = place, 0
            filled += needed
        if len(sizes) > start:
            slices.append(slice(start, len(sizes)))
        return slices

    def predict_call(self, model: str, signature: str, options: Options, rows: int, filters: Mapping[str, str]) -> Call:
        """A call to a signature of ours, the same filters in every row; its main inputs are yet to be filled."""
        call = self.call(PREDICT, model, options, signature=signature)
        call.hedged = True
        inputs = call.request.inputs
        for name, values in filters.items():
            fill_strings(inputs[name], [values] * rows, (rows,))
        return call


def _signature(metadata: ModelMetadata, name: str) -> Signature:
    try:
        return metadata.signatures[name]
    except KeyError:
        raise UnknownSignatureError(_missing(metadata, name), model=metadata.model, signature=name) from None


def _missing(metadata: ModelMetadata, name: str) -> str:
    """Why a model lacks a signature of the contract."""
    plain = name.removesuffix("_filtered")
    if plain in metadata.signatures:
        return (
            f"expected a model with attributes to filter by, version {metadata.version} has none; ask without filters"
        )
    if plain in _OF_WORDS:
        return (
            f"expected a model that has learnt words, version {metadata.version} has not; "
            "export a run whose configuration has `words:`, or ask with a picture"
        )
    return f"expected one of {', '.join(metadata.signatures)}, received {name}; is it the right model?"


def check_version(version: int | None, label: str | None) -> None:
    """At most one of a version's number and a label.

    Raises:
        BadInputError: both, or an impossible one.
    """
    if version is not None and label is not None:
        raise BadInputError(f"expected a version or a label, received both: {version!r} and {label!r}")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 2**63):
        raise BadInputError(f"expected a version as an integer of at least 0, received {version!r}")
    if label is not None:
        check_name("label", label)
