"""From gRPC's status codes and TensorFlow Serving's texts to the tree of errors."""

from __future__ import annotations

import re

import grpc

from serving.client.errors import (
    BadInputError,
    ClosedError,
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

# TensorFlow Serving uses few codes for many things; its texts tell them apart. The first that matches counts.
_BY_TEXT: tuple[tuple[grpc.StatusCode, re.Pattern[str], type[ServingError]], ...] = (
    (_Code.INVALID_ARGUMENT, re.compile(r"Unrecognized servable version label"), ModelNotFoundError),
    (_Code.FAILED_PRECONDITION, re.compile(r"Serving signature (key|name)"), UnknownSignatureError),
    (_Code.RESOURCE_EXHAUSTED, re.compile(r"larger than max|message size|too large", re.I), TooLargeError),
    (_Code.UNAVAILABLE, re.compile(r"queue|overload", re.I), OverloadedError),
    (_Code.UNAVAILABLE, re.compile(r"label|not (yet )?(ready|loaded|initiali[sz]ed)", re.I), NotReadyError),
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
    _Code.CANCELLED: ClosedError,
}


def error_class(code: grpc.StatusCode, details: str) -> type[ServingError]:
    """Which error a status is."""
    for known, text, kind in _BY_TEXT:
        if code is known and text.search(details):
            return kind
    return _BY_CODE.get(code, ServerError)
