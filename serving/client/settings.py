"""How a client behaves, as frozen values; their defaults suit a service that asks a server in the same data centre."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serving.client.errors import BadInputError

__all__ = ["TLS", "Breaker", "Hedging", "Keepalive", "Limits", "Retries"]

_LEAST = 1e-9  # over 0
_MOST = 1e6  # seconds, and more than any factor: gRPC counts milliseconds in 32 bits


def _require(holds: bool, expected: str, received: object) -> None:
    if not holds:
        raise BadInputError(f"expected {expected}, received {received!r}")


def _whole(value: object, least: int, most: int = 2**31 - 1) -> bool:
    """Whether it is an integer in the range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: object, least: float, most: float = _MOST) -> bool:
    """Whether it is a number in the range; NaN is in none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _pem(value: bytes | str | os.PathLike[str] | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    expected = "expected PEM as bytes, or the path of a readable file with it"
    if not isinstance(value, str | os.PathLike) or "-----BEGIN" in str(value):  # it may be a key: not to be shown
        raise BadInputError(f"{expected}; received it as {type(value).__name__}")
    try:
        return Path(value).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(f"{expected}; received {value!r}: {getattr(error, 'strerror', None) or error}") from error


def _check_authorities(ca: bytes) -> None:
    import ssl  # here, since few need it

    try:
        # only the certificates count; what stands between them may be in any encoding
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=ca.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise BadInputError(f"expected the ca as certificates in PEM: {error}") from None


def _check_pair(certificate: bytes, key: bytes) -> None:
    import ssl
    from tempfile import TemporaryDirectory

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # whether a key is long enough is the server's affair
    try:
        with TemporaryDirectory() as folder:  # ssl reads files only; nobody else may read these
            pair = Path(folder, "certificate"), Path(folder, "key")
            for path, content in zip(pair, (certificate, key), strict=True):
                path.write_bytes(content)
            context.load_cert_chain(*pair, password="")  # without one, it would ask the terminal
    except (ssl.SSLError, ValueError) as error:
        raise BadInputError(f"expected a certificate and its own private key, unencrypted, in PEM: {error}") from None
    except OSError:
        return  # nowhere to write: gRPC tells too, though only that the server cannot be reached


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
        _require(isinstance(self.server_name, str | None), "a server_name as a text", self.server_name)

    def __repr__(self) -> str:
        return f"TLS(server_name={self.server_name!r}, mutual={self.certificate is not None})"

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Contents of `ca`, `key` and `certificate`.

        Raises:
            BadInputError: a file cannot be read, holds something else, or the key is of another certificate. gRPC
                would take it, and every call would find the server unreachable.
        """
        ca, key, certificate = _pem(self.ca), _pem(self.key), _pem(self.certificate)
        if ca is not None:
            _check_authorities(ca)
        if certificate is not None and key is not None:
            _check_pair(certificate, key)
        return ca, key, certificate


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
        _require(_whole(self.attempts, 1, 5), "attempts as an integer from 1 to 5", self.attempts)
        _require(_number(self.max_backoff, 0.01), f"a max_backoff from 0.01 to {_MOST:,.0f} s", self.max_backoff)
        # with a backoff that it rounds to 0 ms, gRPC 1.85 never repeats and waits for the deadline
        holds = _number(self.initial_backoff, 0.01, self.max_backoff)
        _require(holds, "0.01 <= initial_backoff <= max_backoff", self)
        _require(_number(self.multiplier, 1), "a multiplier of at least 1", self.multiplier)
        _require(_whole(self.max_tokens, 1, 1000), "max_tokens as an integer from 1 to 1000", self.max_tokens)
        # gRPC counts in thousandths
        _require(_number(self.token_ratio, 0.001, 1), "a token_ratio from 0.001 to 1", self.token_ratio)


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
        holds = _number(self.percentile, 50, 100) and self.percentile != 100
        _require(holds, "a percentile from 50, under 100", self.percentile)
        _require(_number(self.min_delay, _LEAST), "a min_delay over 0 s", self.min_delay)
        _require(_number(self.budget, _LEAST, 1), "a budget over 0 and up to 1", self.budget)


@dataclass(frozen=True)
class Breaker:
    """An address that failed `failures` times running is left alone for `recovery` seconds, then tried with one call.

    A failure is no connection or no answer in time; what a server answers, overload included, is none.
    """

    failures: int = 10
    recovery: float = 1.0

    def __post_init__(self) -> None:
        _require(_whole(self.failures, 1), "failures as an integer of at least 1", self.failures)
        _require(_number(self.recovery, _LEAST), f"a recovery over 0 s, at most {_MOST:,.0f} s", self.recovery)


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
        # half of the least is for what a message holds beside its contents
        holds = _whole(self.message_bytes, 8192)
        _require(holds, "message_bytes as an integer from 8192, under 2 GiB", self.message_bytes)
        _require(_whole(self.batch, 1), "a batch as an integer of at least 1", self.batch)
        _require(_whole(self.concurrency, 1), "a concurrency as an integer of at least 1", self.concurrency)


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
        _require(_number(self.interval, 10), f"an interval from 10 to {_MOST:,.0f} s", self.interval)
        _require(_number(self.timeout, 0.001), f"a timeout from 0.001 to {_MOST:,.0f} s", self.timeout)
