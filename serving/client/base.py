"""What `Client` and `AsyncClient` share: everything but the I/O."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, get_args

import grpc

from serving.client.calls import Call, Hook
from serving.client.connection import Connect, channel_credentials, channel_options, is_local, targets
from serving.client.errors import BadInputError, ClosedError, ServingError
from serving.client.exchange import Exchange
from serving.client.queries import check_metadata, check_name, check_seconds, check_token
from serving.client.questions import Questions
from serving.client.requests import Asking, check_version
from serving.client.settings import TLS, Breaker, Hedging, Keepalive, Limits, Retries

__all__ = ["BaseClient"]

_RETRIES, _BREAKER, _LIMITS, _KEEPALIVE = Retries(), Breaker(), Limits(), Keepalive()


class BaseClient:
    """Settings, state and checks of a client; `Client` tells of them."""

    def __init__(
        self,
        addresses: str | Sequence[str] = "localhost:8500",
        *,
        model: str = "fused",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        fingerprint: str | None = None,
        tls: TLS | None = None,
        token: str | Callable[[], str] | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: Retries = _RETRIES,
        hedging: Hedging | None = None,
        breaker: Breaker | None = _BREAKER,
        limits: Limits = _LIMITS,
        keepalive: Keepalive = _KEEPALIVE,
        hooks: Sequence[Hook] = (),
        connect: Connect | None = None,
    ) -> None:
        _check_kinds(
            tls=(tls, TLS | None),
            retries=(retries, Retries),
            hedging=(hedging, Hedging | None),
            breaker=(breaker, Breaker | None),
            limits=(limits, Limits),
            keepalive=(keepalive, Keepalive),
            hooks=(hooks, Iterable),
            connect=(connect, Callable | None),
            fingerprint=(fingerprint, str | None),
            token=(token, str | Callable | None),
        )
        self.addresses = targets(addresses)
        check_version(version, label)
        if token is not None and tls is None and not all(is_local(address) for address in self.addresses):
            raise BadInputError("expected tls with a token, since others could read it on the way; give tls=TLS()")
        if isinstance(token, str):
            check_token(token)
        self._questions = Questions(
            Asking(
                model=check_name("model", model),
                version=version,
                label=label,
                timeout=check_seconds("timeout", timeout),
                fingerprint=fingerprint,
                metadata=tuple(check_metadata({} if metadata is None else metadata)),
                token=(lambda: token) if isinstance(token, str) else token,
                limits=limits,
            )
        )
        self._exchange = Exchange(self.addresses, breaker, hedging, hooks)
        self._limits = limits
        self._options = channel_options(tls, retries, limits, keepalive)
        self._credentials = channel_credentials(tls)
        self._connect = connect
        self._closed = False
        self._process: int | None = None
        self._prepare()

    def _prepare(self) -> None:
        """For a shell's own state."""

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<{type(self).__name__} {', '.join(self.addresses)}{state}>"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError("this client was closed; make another one")
        if self._process is not None and self._process != os.getpid():
            raise ClosedError(
                f"this client was first used in process {self._process}, and gRPC's connections do not survive a fork; "
                "make a client in each process, or do not use it before forking"
            )

    def _refuse(self, call: Call, error: Exception) -> NoReturn:
        """What gRPC raises without a status: a closed channel, or a request that cannot be sent."""
        kind: type[ServingError] = ClosedError if self._closed else BadInputError
        message = "this client was closed; make another one" if self._closed else f"gRPC refuses the call: {error}"
        raise kind(
            message, address=call.address, model=call.model, signature=call.signature, request_id=call.request_id
        ) from error

    def _refuse_if_closed(self, call: Call, error: grpc.RpcError) -> None:
        """Tells a call that ended since the client was closed from one that the server or a proxy cancelled."""
        if self._closed and error.code() is grpc.StatusCode.CANCELLED:
            self._refuse(call, error)


def _check_kinds(**settings: tuple[object, Any]) -> None:
    """Refuses settings of a wrong type, by name: what is given, and what is expected."""
    for name, (given, kind) in settings.items():
        if not isinstance(given, kind):
            expected = " or ".join(each.__name__ for each in get_args(kind) or (kind,)).replace("NoneType", "None")
            # not what is in it: it may be a secret
            raise BadInputError(f"expected {name} as {expected}, received {type(given).__name__}")
