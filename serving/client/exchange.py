"""How one call gets its answer: whose turn it is, deadlines, the circuit breaker, hedging, hooks and errors. No I/O."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc

from serving.client.calls import Call, Hook
from serving.client.circuit import Circuit, HedgeTimer
from serving.client.errors import (
    CircuitOpenError,
    DeadlineError,
    ServingError,
    UnreachableError,
)
from serving.client.settings import Breaker, Hedging
from serving.client.status import error_class

__all__ = ["Ask", "Exchange", "Target"]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A server's address with its circuit; `place` is its position among the client's addresses."""

    place: int
    address: str
    circuit: Circuit


@dataclass(slots=True)
class Ask:
    """Send the call to the target and give back the answer, or raise the `grpc.RpcError`.

    Where `hedge_after` seconds pass without an answer and `timer` has budget, send a copy to `second` too, and take
    what is answered first.
    """

    call: Call
    target: Target
    timeout: float
    second: Target
    hedge_after: float | None = None
    timer: HedgeTimer | None = None

    def may_copy(self) -> bool:
        """Whether the second copy may be sent; takes it from the budget."""
        return self.timer is not None and self.second.circuit.admits() and self.timer.take()


class Exchange:
    """The state that calls share; safe in threads.

    Args:
        addresses: of servers that answer the same; asked in turn. One that cannot be reached is passed over.
        breaker: None for none.
        hedging: None for none.
        hooks: entered around every call, the first outermost.
    """

    def __init__(
        self, addresses: Sequence[str], breaker: Breaker | None, hedging: Hedging | None, hooks: Sequence[Hook]
    ) -> None:
        self.targets = tuple(Target(place, name, Circuit(breaker)) for place, name in enumerate(addresses))
        self._orders = tuple(self.targets[place:] + self.targets[:place] for place in range(len(self.targets)))
        self._turn = itertools.count()
        self._hedging = hedging
        self._timers: dict[tuple[str, str], HedgeTimer] = {}
        self._hooks = tuple(hooks)

    def ask(self, call: Call, collect: bool = False) -> Generator[Ask, Any, Any]:
        """The answer to a call; with `collect`, its `ServingError` as a value.

        Raises:
            ServingError: without `collect`.
        """
        try:
            if not self._hooks:
                return (yield from self._attempts(call))
            with ExitStack() as stack:
                for hook in self._hooks:
                    stack.enter_context(hook(call))
                return (yield from self._attempts(call))
            raise RuntimeError("expected hooks to let errors pass; one swallowed an error")
        except ServingError as error:
            if collect:
                return error
            raise

    def _attempts(self, call: Call) -> Generator[Ask, Any, Any]:
        order = self._orders[next(self._turn) % len(self._orders)]
        timer = self._timer(call)
        failure: ServingError | None = None
        for place, target in enumerate(order):
            if not (call.probe or target.circuit.admits()):
                continue
            started = time.monotonic()
            if call.deadline <= started:
                break
            call.address = target.address
            second = order[(place + 1) % len(order)]
            after = timer.delay() if timer else None
            try:
                answer = yield Ask(call, target, call.deadline - started, second, after, timer)
            except grpc.RpcError as error:
                failure = _translated(call, error)
                if isinstance(failure, UnreachableError):
                    target.circuit.failed()
                    continue
                if isinstance(failure, DeadlineError):
                    target.circuit.failed()
                else:
                    target.circuit.succeeded()
                raise failure from error
            target.circuit.succeeded()
            if timer:
                timer.answered(time.monotonic() - started)
            return answer
        raise failure or self._not_sent(call)

    def _timer(self, call: Call) -> HedgeTimer | None:
        if self._hedging is None or not call.hedged:
            return None
        key = call.model, call.signature
        timer = self._timers.get(key)
        # two threads may both make one: setdefault keeps the first
        return timer if timer is not None else self._timers.setdefault(key, HedgeTimer(self._hedging))

    def _not_sent(self, call: Call) -> ServingError:
        kind: type[ServingError]
        if call.deadline <= time.monotonic():
            kind, message = DeadlineError, "the time was up before the call was sent; give a longer timeout"
        else:
            kind = CircuitOpenError
            message = (
                f"not sent: {', '.join(target.address for target in self.targets)} failed too often a moment ago; "
                "see whether the server runs, or try again in a moment"
            )
        return kind(message, model=call.model, signature=call.signature, request_id=call.request_id)


def _translated(call: Call, error: Any) -> ServingError:
    code, details = error.code(), error.details() or ""
    kind = error_class(code, details)
    failure = kind(
        details or f"the server answered {code.name} without a word",
        address=call.address,
        model=call.model,
        signature=call.signature,
        request_id=call.request_id,
        code=code,
    )
    failure.__cause__ = error
    return failure
