"""How an embedded server is set up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from serving.server.errors import SetupError

__all__ = ["MEBIBYTE", "ServerOptions"]

MEBIBYTE = 1024 * 1024
LARGEST_MESSAGE = 2**31


@dataclass(frozen=True)
class ServerOptions:
    """How an embedded server is set up.

    Attributes:
        exports: folder of models, folder of one model's versions, or a `models.config` text file.
        host: address to listen on; only this machine reaches the default.
        port: of gRPC; 0 for any free one.
        rest_port: of the REST API and the metrics; 0 for any free one, None for none.
        poll_seconds: between two looks for new versions, models and labels, in the folder or in `models.config`, until
            a client sends another configuration; 0 looks once.
        batching: whether requests of several clients are run together, for the versions that have batching parameters.
        batching_parameters: parameters for versions without their own; None runs those unbatched.
        max_pending: requests of one signature that may wait where they are not batched.
        max_message_bytes: greatest message taken, sent, and declared by a tensor's shape.
        max_picture_pixels: width times height of a picture in an input `image_bytes` at most.
        tensor_content: whether numbers are answered as `tensor_content`; the real server's default is not.
        verify: whether a version's files are held against the digests in its manifest before it is loaded.
        token: bearer token that every request but health's must bring; None for none.
        tls_certificate: PEM chain; with `tls_key` turns TLS on.
        tls_key: PEM private key.
        tls_client_ca: PEM of who signs clients' certificates; turns mutual TLS on.
        rest_timeout_seconds: after which a REST request is given up.
        grace_seconds: how long a stopping server waits for the requests it has.

    Raises:
        SetupError: a value is out of range, or half of a pair is missing.
    """

    exports: Path
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = None
    poll_seconds: float = 1.0
    batching: bool = True
    batching_parameters: Path | None = None
    max_pending: int = 1024
    max_message_bytes: int = 64 * MEBIBYTE
    max_picture_pixels: int = 64_000_000
    tensor_content: bool = False
    verify: bool = True
    token: str | None = field(default=None, repr=False)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    rest_timeout_seconds: float = 30.0
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("port", "rest_port"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 65535:
                raise SetupError(f"expected {name} between 0 and 65535, received {value}")
        if self.port and self.port == self.rest_port:
            raise SetupError(f"expected two ports for gRPC and REST, received {self.port} for both")
        for name in ("poll_seconds", "grace_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SetupError(f"expected {name} of 0 or more, received {getattr(self, name)}")
        for name in ("rest_timeout_seconds", "max_pending", "max_message_bytes", "max_picture_pixels"):
            if not 0 < getattr(self, name) < math.inf:
                raise SetupError(f"expected {name} above 0, received {getattr(self, name)}")
        if self.max_message_bytes >= LARGEST_MESSAGE:
            raise SetupError(
                f"expected max_message_bytes below 2 GiB, which is Protocol Buffers' limit, received "
                f"{self.max_message_bytes}"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SetupError("expected a TLS certificate and its key, received only one of them; give both or none")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise SetupError("expected a TLS certificate and key beside the clients' CA; give them or leave the CA out")
        if self.token is not None and (not self.token or not self.token.isascii() or self.token != self.token.strip()):
            raise SetupError("expected a bearer token of ASCII characters without spaces around it")

    @property
    def bare_host(self) -> str:
        """The host without the brackets of an IPv6 address."""
        return self.host.removeprefix("[").removesuffix("]")

    @property
    def url_host(self) -> str:
        """The host as it stands before `:port`: an IPv6 address in brackets."""
        return f"[{self.bare_host}]" if ":" in self.bare_host else self.bare_host
