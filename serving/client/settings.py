"""How a client behaves, as frozen values; their defaults suit a service that asks a server in the same data centre."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.client.errors import BadInputError

__all__ = ["TLS", "Breaker", "Hedging", "Keepalive", "Limits", "Retries"]


def _require(holds: bool, expected: str, received: object) -> None:
    if not holds:
        raise BadInputError(f"expected {expected}, received {received!r}")


def _pem(value: bytes | str | os.PathLike[str] | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise BadInputError(f"expected a readable PEM file, received {os.fspath(value)}: {error.strerror}") from error


@dataclass(frozen=True)
class TLS:
    """An encrypted connection; with `certificate` and `key` the client shows who it is too (mTLS).

    Every part is PEM, as bytes or as the path of a file.

    Attributes:
        ca: certificates to trust; by default gRPC's own list of public authorities.
        certificate: the client's certificate chain.
        key: the private key of `certificate`.
        server_name: expected in the server's certificate where it is not the address's host.
    """

    ca: bytes | str | os.PathLike[str] | None = None
    certificate: bytes | str | os.PathLike[str] | None = None
    key: bytes | str | os.PathLike[str] | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        _require((self.certificate is None) == (self.key is None), "certificate and key together", "one of them")

    def __repr__(self) -> str:
        return f"TLS(server_name={self.server_name!r}, mutual={self.certificate is not None})"

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Contents of `ca`, `key` and `certificate`.

        Raises:
            BadInputError: a file cannot be read.
        """
        return _pem(self.ca), _pem(self.key), _pem(self.certificate)


@dataclass(frozen=True)
class Retries:
    """Repeats of a call that got UNAVAILABLE, done by gRPC itself, within the call's deadline.

    Every call of this client only reads, so every one may be repeated. Throttling stops repeats while many calls fail:
    each failure takes one token and each success gives `token_ratio` back; repeats need more than half of `max_tokens`.

    Attributes:
        attempts: in all, the first included; 1 for no repeats, at most 5.
        initial_backoff: seconds before the first repeat, about; at least 0.01.
        max_backoff: seconds before any repeat, about.
        multiplier: from one backoff to the next.
        max_tokens: of the throttling, up to 1000.
        token_ratio: of the throttling.
    """

    attempts: int = 3
    initial_backoff: float = 0.05
    max_backoff: float = 1.0
    multiplier: float = 2.0
    max_tokens: int = 100
    token_ratio: float = 0.1

    def __post_init__(self) -> None:
        _require(1 <= self.attempts <= 5, "attempts from 1 to 5", self.attempts)
        # with a backoff that it rounds to 0 ms, gRPC 1.85 never repeats and waits for the deadline
        _require(0.01 <= self.initial_backoff <= self.max_backoff, "0.01 <= initial_backoff <= max_backoff", self)
        _require(self.multiplier >= 1, "a multiplier of at least 1", self.multiplier)
        _require(1 <= self.max_tokens <= 1000, "max_tokens from 1 to 1000", self.max_tokens)
        _require(0 < self.token_ratio <= 1, "a token_ratio over 0 and up to 1", self.token_ratio)


@dataclass(frozen=True)
class Hedging:
    """A second copy of a question that takes longer than most; the first answer counts, the other is cancelled.

    The second copy goes to the next address where there are several.

    Attributes:
        percentile: of the latencies of the last questions of the same model and signature: how long to wait.
        min_delay: seconds to wait at least. No copy is sent before 20 latencies are known.
        budget: copies for each question, in the long run, so that a slow server is not asked twice as much.
    """

    percentile: float = 95.0
    min_delay: float = 0.01
    budget: float = 0.1

    def __post_init__(self) -> None:
        _require(50 <= self.percentile < 100, "a percentile from 50 to 100", self.percentile)
        _require(self.min_delay > 0, "a min_delay over 0", self.min_delay)
        _require(0 < self.budget <= 1, "a budget over 0 and up to 1", self.budget)


@dataclass(frozen=True)
class Breaker:
    """An address that failed `failures` times running is left alone for `recovery` seconds, then tried with one call.

    A failure is no connection or no answer in time; what a server answers, overload included, is none.
    """

    failures: int = 10
    recovery: float = 1.0

    def __post_init__(self) -> None:
        _require(self.failures >= 1, "failures of at least 1", self.failures)
        _require(self.recovery > 0, "a recovery over 0 s", self.recovery)


@dataclass(frozen=True)
class Limits:
    """How much goes into a message, and how many are on their way at once.

    Attributes:
        message_bytes: of a message in either direction.
        batch: pictures or vectors in one request; no more than the server's `max_batch_size`.
        concurrency: requests of one call of `..._many` on their way at once.
    """

    message_bytes: int = 64 * 2**20
    batch: int = 32
    concurrency: int = 4

    def __post_init__(self) -> None:
        _require(1024 <= self.message_bytes < 2**31, "message_bytes from 1024 to 2 GiB", self.message_bytes)
        _require(self.batch >= 1, "a batch of at least 1", self.batch)
        _require(self.concurrency >= 1, "a concurrency of at least 1", self.concurrency)


@dataclass(frozen=True)
class Keepalive:
    """Pings that notice a dead connection while a call waits.

    Attributes:
        interval: seconds without traffic before a ping; a server closes connections that ping it often.
        timeout: seconds for its answer, after which the connection counts as dead.
    """

    interval: float = 60.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        _require(self.interval >= 10, "an interval of at least 10 s", self.interval)
        _require(self.timeout > 0, "a timeout over 0 s", self.timeout)
