"""What the base asks of a shell: calls to send, pauses to make. And what a caller may say about one call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict, TypeVar

from serving.wire import Method

__all__ = ["Call", "CallOptions", "Flow", "Hook", "Send", "Sleep"]

T = TypeVar("T")


class CallOptions(TypedDict, total=False):
    """What every method takes by keyword.

    timeout: seconds for the whole method, repeats included; the client's where it is not given.
    version: number of the model's version; the client's where neither this nor `label` is given.
    label: of a version, such as `stable`, instead of its number.
    request_id: sent as `x-request-id`; where it is not given, that of the metadata, else one made at random.
    metadata: further gRPC metadata, names in lower case.
    """

    timeout: float
    version: int
    label: str
    request_id: str
    metadata: Mapping[str, str]


@dataclass(slots=True, eq=False)
class Call:
    """One request on its way to a server.

    Attributes:
        method: of the service.
        request: the message.
        model: served name that is asked; empty for a health check.
        signature: of that model; empty where the method has none.
        request_id: what goes out as `x-request-id`.
        metadata: what goes out; a hook may add to it before the call is sent.
        deadline: on the clock of `time.monotonic`.
        address: that it was sent to last; empty before.
        probe: whether it asks if the server is there, and so goes out although the circuit is open.
        hedged: whether a second copy may be sent.
    """

    method: Method
    request: Any
    model: str
    signature: str
    request_id: str
    metadata: list[tuple[str, str]]
    deadline: float
    address: str = ""
    probe: bool = False
    hedged: bool = False


Hook: TypeAlias = Callable[[Call], AbstractContextManager[Any]]
"""Called with every call; its context is entered before the call is sent and left after the answer, or with the error.
In there it may add to `call.metadata`. It runs in the thread or task that sends the call, and must not block it."""


@dataclass(slots=True)
class Send:
    """Send the calls, concurrently where there are several, and give back their answers in the same order.

    With `collect`, an error takes the place of its answer; without, the first one is raised.
    """

    calls: list[Call]
    collect: bool = False


@dataclass(slots=True)
class Sleep:
    """Pause for some seconds."""

    seconds: float


Flow: TypeAlias = Generator[Send | Sleep, list[Any], T]
"""A question in steps. It never does I/O: it yields what is to be done, and a shell sends back what came of it."""
