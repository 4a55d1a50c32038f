"""From gRPC's status codes and TensorFlow Serving's texts to the tree of errors."""

from __future__ import annotations

import re

import grpc

from serving.client.errors import (
    BadInputError,
    DeadlineError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ServerError,
    ServingError,
    TooLargeError,
    UnauthorizedError,
    UnknownSignatureError,
    UnreachableError,
)

__all__ = ["error_class"]

_Code = grpc.StatusCode

# TensorFlow Serving uses few codes for many things; its texts tell them apart. The first that matches counts. Where no
# connection came about, gRPC's own text names the host, which may be called anything: whole sentences, not words.
_BY_TEXT: tuple[tuple[grpc.StatusCode, re.Pattern[str], type[ServingError]], ...] = (
    (_Code.INVALID_ARGUMENT, re.compile(r"Unrecognized servable version label"), ModelNotFoundError),
    (_Code.FAILED_PRECONDITION, re.compile(r"Serving signature (key|name)"), UnknownSignatureError),
    (
        _Code.RESOURCE_EXHAUSTED,
        re.compile(r"larger than max|message size|metadata size|too large", re.I),
        TooLargeError,
    ),
    (
        _Code.UNAVAILABLE,
        re.compile(r"errors resolving|connections to all backends|failed to connect", re.I),
        UnreachableError,
    ),
    (_Code.UNAVAILABLE, re.compile(r"batch scheduling queue", re.I), OverloadedError),
    (_Code.UNAVAILABLE, re.compile(r"labels (does|do|are) not init", re.I), NotReadyError),
)
_BY_CODE: dict[grpc.StatusCode, type[ServingError]] = {
    _Code.INVALID_ARGUMENT: BadInputError,
    _Code.OUT_OF_RANGE: BadInputError,
    _Code.NOT_FOUND: ModelNotFoundError,
    _Code.UNAVAILABLE: UnreachableError,
    _Code.RESOURCE_EXHAUSTED: OverloadedError,
    _Code.DEADLINE_EXCEEDED: DeadlineError,
    _Code.UNAUTHENTICATED: UnauthorizedError,
    _Code.PERMISSION_DENIED: UnauthorizedError,
    _Code.CANCELLED: UnreachableError,  # by the server or a proxy: `_ask` of a client knows of its own closing
}


def error_class(code: grpc.StatusCode, details: str) -> type[ServingError]:
    """Which error a status is."""
    for known, text, kind in _BY_TEXT:
        if code is known and text.search(details):
            return kind
    return _BY_CODE.get(code, ServerError)
