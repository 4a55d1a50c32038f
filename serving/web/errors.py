"""What goes wrong, in words for whoever stands before the page: no traceback, no address, no path."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.client import errors as client

__all__ = ["PageError", "as_response", "in_plain_words"]

RETRY_SECONDS = 2


class PageError(Exception):
    """What the page answers instead of what it was asked for.

    Attributes:
        status: of HTTP.
        message: what is wrong, a sentence.
        advice: what to do about it, a sentence; empty where there is nothing to do.
    """

    def __init__(self, status: int, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.advice = advice


_WAIT = "Please try again in a moment."
_KINDS: Mapping[type[client.ServingError], tuple[int, str, str]] = {
    client.TooLargeError: (413, "The photo or the text is too large for the search server.", "Use a smaller one."),
    client.ModelNotFoundError: (
        503,
        "The search server does not have this model, or has not loaded it yet.",
        "Choose another model or version, or try again in a moment.",
    ),
    client.UnknownSignatureError: (400, "This model cannot answer that kind of search.", "Choose another model."),
    client.NotReadyError: (503, "The search server is not ready yet.", _WAIT),
    client.UnreachableError: (503, "The search server is not ready: nothing answers there.", _WAIT),
    client.CircuitOpenError: (503, "The search server is not ready: nothing answers there.", _WAIT),
    client.OverloadedError: (503, "The search server has too much to do at the moment.", _WAIT),
    client.DeadlineError: (504, "The search server did not answer in time.", _WAIT),
    client.UnauthorizedError: (
        502,
        "The search server does not trust this page.",
        "Whoever runs the page has to give it a valid token or certificate.",
    ),
}
_OTHER = (502, "The search server gave an answer that makes no sense.", "Please tell whoever runs it.")


def in_plain_words(error: client.ServingError) -> PageError:
    """What the page says about an error of the client."""
    for kind in type(error).__mro__:
        if kind in _KINDS:
            return PageError(*_KINDS[kind])
        if kind is client.BadInputError:
            if error.code is None:  # refused by the client, which tells of what was given
                return PageError(400, f"This cannot be searched for: {error.message}.")
            return PageError(400, "The search server cannot read this photo or text.", "Try another one.")
    return PageError(*_OTHER)


def as_response(request: Request, error: Exception) -> Response:
    """JSON of any error: `error` and `advice`."""
    if isinstance(error, client.ServingError):
        error = in_plain_words(error)
    if not isinstance(error, PageError):
        status = getattr(error, "status_code", 500)  # of Starlette's own: not found, method not allowed
        known = {404: "There is nothing at this address.", 405: "This address is not asked like that."}
        error = PageError(status, known.get(status, "Something went wrong on this page, and it is not your fault."))
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else {}
    return JSONResponse({"error": error.message, "advice": error.advice}, error.status, headers)
