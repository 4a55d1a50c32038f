"""Whether a server and its models are there, as steps. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from serving.client import answers
from serving.client.calls import Call, CallOptions, Flow, Send, Sleep
from serving.client.errors import (
    BadInputError,
    CircuitOpenError,
    DeadlineError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ServingError,
    UnreachableError,
)
from serving.client.queries import check_name, check_seconds
from serving.client.requests import Options, Requests
from serving.client.results import VersionStatus
from serving.contract import SIGNATURES
from serving.wire import GET_MODEL_STATUS, HEALTH_CHECK

__all__ = ["healthy", "models", "status", "wait_until_ready"]

_SERVICE = "PredictionService"  # the name that TensorFlow Serving registers with its health service
_SERVING = 1
_PASSING = (
    ModelNotFoundError,
    UnreachableError,
    NotReadyError,
    DeadlineError,
    OverloadedError,
    CircuitOpenError,
)
_FIRST_PAUSE, _LONGEST_PAUSE, _PROBE_TIMEOUT = 0.05, 1.0, 5.0


def status(requests: Requests, model: str, given: CallOptions) -> Flow[tuple[VersionStatus, ...]]:
    """Where the versions of a model stand."""
    call = requests.call(GET_MODEL_STATUS, check_name("model", model), requests.options(given))
    call.probe = True
    (response,) = yield Send([call])
    return answers.statuses(response)


def models(requests: Requests, given: CallOptions) -> Flow[dict[str, tuple[VersionStatus, ...]]]:
    """Which of the client's models the server has."""
    options = requests.options(given)
    names = [requests.served(kind) for kind in SIGNATURES]
    calls = [requests.call(GET_MODEL_STATUS, name, options) for name in names]
    found = {}
    for name, answer in zip(names, (yield Send(calls, collect=True)), strict=True):
        if isinstance(answer, ModelNotFoundError):
            continue
        if isinstance(answer, ServingError):
            raise answer
        found[name] = answers.statuses(answer)
    return found


def healthy(requests: Requests, given: CallOptions) -> Flow[bool]:
    """Whether the server takes questions."""
    options = requests.options(given)
    call = requests.call(HEALTH_CHECK, "", options, request=HEALTH_CHECK.request(service=_SERVICE))
    call.probe = True
    (answer,) = yield Send([call], collect=True)
    if isinstance(answer, ServingError) and answer.code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
        # TensorFlow Serving has no health service unless told to; that it answers at all says enough
        call = requests.call(GET_MODEL_STATUS, requests.served("search"), options)
        call.probe = True
        (answer,) = yield Send([call], collect=True)
        return not isinstance(answer, ServingError) or isinstance(answer, ModelNotFoundError)
    if isinstance(answer, _PASSING):
        return False
    if isinstance(answer, ServingError):
        raise answer
    return bool(answer.status == _SERVING)


def wait_until_ready(requests: Requests, timeout: float, wanted: Sequence[str] | None) -> Flow[None]:
    """Waits until models can be asked."""
    ends = time.monotonic() + check_seconds("timeout", timeout)
    if isinstance(wanted, str) or not isinstance(wanted, Iterable | None):
        raise BadInputError(f"expected several names of models, or None, received {wanted!r}")
    names = None if wanted is None else [check_name("model", name) for name in wanted]
    if names is not None and not names:
        raise BadInputError("expected several names of models, or None, received none")
    pause, missing = _FIRST_PAUSE, ""
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            raise NotReadyError(f"not ready within {timeout} s: {missing or 'no answer'}")
        options = requests.options({"timeout": min(left, _PROBE_TIMEOUT)})
        try:
            missing = yield from _missing(requests, names, options)
        except DeadlineError as error:
            missing = missing or str(error)  # the last probe is often cut short: an earlier one tells more
        else:
            if not missing:
                return
        yield Sleep(min(pause, max(0.0, ends - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _missing(requests: Requests, wanted: Sequence[str] | None, options: Options) -> Flow[str]:
    """What is not ready yet, in words; empty where all is.

    Raises:
        DeadlineError: an answer took too long.
    """
    names = [requests.served(kind) for kind in SIGNATURES] if wanted is None else wanted
    found = yield from _probed([requests.call(GET_MODEL_STATUS, name, options) for name in names])
    reasons, available = [], []
    for name, answer in zip(names, found, strict=True):
        if isinstance(answer, ModelNotFoundError) and wanted is None:
            continue  # a server need not have all three
        if isinstance(answer, ServingError):
            reasons.append(f"{name} at {answer.address}: {answer.message}")
            continue
        states = answers.statuses(answer)
        if any(item.state == "AVAILABLE" for item in states):
            available.append(name)
        else:
            told = "; ".join(f"version {item.version} {item.state} {item.error}".strip() for item in states)
            reasons.append(f"{name}: {told or 'no version'}")
    if options.label is not None and available:  # the status of a model is that of all its versions, whatever the label
        labelled = yield from _probed([requests.metadata_call(name, options) for name in available])
        reasons += [
            f"{each.model} at {each.address}: {each.message}" for each in labelled if isinstance(each, ServingError)
        ]
    return "; ".join(reasons) or ("" if available else f"the server has none of {', '.join(names)}")


def _probed(calls: list[Call]) -> Flow[list[Any]]:
    """The answers; an error that may pass takes the place of its answer.

    Raises:
        ServingError: one that will not pass, or an answer took too long.
    """
    for call in calls:
        call.probe = True
    found = yield Send(calls, collect=True)
    for answer in found:
        if isinstance(answer, DeadlineError) or (isinstance(answer, ServingError) and not isinstance(answer, _PASSING)):
            raise answer
    return found
