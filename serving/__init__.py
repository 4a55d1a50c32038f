"""The TensorFlow Serving client library, and an embedded server of the same protocol.

    from serving import Client

    with Client("localhost:8500") as client:
        print(client.search("photo.jpg", k=5).matches)

Names are loaded when they are first used, so that whoever needs `serving.contract` alone does not load gRPC. Nothing
here imports TensorFlow but `serving.server`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.client.async_client import AsyncClient
    from serving.client.calls import Call, CallOptions, Hook
    from serving.client.client import Client
    from serving.client.errors import (
        BadAnswerError,
        BadInputError,
        CircuitOpenError,
        ClosedError,
        DeadlineError,
        MixedFingerprintsError,
        ModelNotFoundError,
        NotReadyError,
        OverloadedError,
        ServerError,
        ServingError,
        ShardError,
        TooLargeError,
        UnauthorizedError,
        UnknownSignatureError,
        UnreachableError,
    )
    from serving.client.results import (
        Classification,
        Embedding,
        Label,
        Match,
        ModelMetadata,
        Prediction,
        SearchResult,
        ShardedResult,
        Signature,
        TensorSpec,
        VersionStatus,
    )
    from serving.client.settings import TLS, Breaker, Hedging, Keepalive, Limits, Retries
    from serving.client.sharded import AsyncShardedClient, ShardedClient

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncShardedClient",
    "BadAnswerError",
    "BadInputError",
    "Breaker",
    "Call",
    "CallOptions",
    "CircuitOpenError",
    "Classification",
    "Client",
    "ClosedError",
    "DeadlineError",
    "Embedding",
    "Hedging",
    "Hook",
    "Keepalive",
    "Label",
    "Limits",
    "Match",
    "MixedFingerprintsError",
    "ModelMetadata",
    "ModelNotFoundError",
    "NotReadyError",
    "OverloadedError",
    "Prediction",
    "Retries",
    "SearchResult",
    "ServerError",
    "ServingError",
    "ShardError",
    "ShardedClient",
    "ShardedResult",
    "Signature",
    "TensorSpec",
    "TooLargeError",
    "UnauthorizedError",
    "UnknownSignatureError",
    "UnreachableError",
    "VersionStatus",
]

_HOMES = {
    "async_client": ("AsyncClient",),
    "calls": ("Call", "CallOptions", "Hook"),
    "client": ("Client",),
    "results": (
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
        "VersionStatus",
    ),
    "settings": ("TLS", "Breaker", "Hedging", "Keepalive", "Limits", "Retries"),
    "sharded": ("AsyncShardedClient", "ShardedClient"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"serving.client.{_HOME_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
