"""The embedded server: TensorFlow Serving's protocol on a laptop. Nothing here is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.server.embedded_server import EmbeddedServer
    from serving.server.options import ServerOptions

__all__ = ["EmbeddedServer", "ServerOptions"]


def __getattr__(name: str) -> Any:
    if name == "EmbeddedServer":
        from serving.server.embedded_server import EmbeddedServer

        return EmbeddedServer
    if name == "ServerOptions":
        from serving.server.options import ServerOptions

        return ServerOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
