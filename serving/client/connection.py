"""Addresses, and the options and credentials of channels to them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import grpc

from serving.client.errors import BadInputError
from serving.client.settings import TLS, Keepalive, Limits, Retries

__all__ = ["DEFAULT_PORT", "ChannelOptions", "Connect", "channel_credentials", "channel_options", "is_local", "targets"]

DEFAULT_PORT = 8500
"""Of TensorFlow Serving's gRPC."""

ChannelOptions: TypeAlias = list[tuple[str, Any]]
Connect: TypeAlias = Callable[[str, grpc.ChannelCredentials | None, ChannelOptions], Any]
"""Makes a channel from an address, credentials (None for none) and options: a `grpc.Channel`, for an `AsyncClient` a
`grpc.aio.Channel`."""

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")
_RETRY_BUFFER = 8 * 2**20  # gRPC's own 256 KiB would leave out the calls with pictures


def targets(addresses: str | Sequence[str]) -> tuple[str, ...]:
    """Addresses as gRPC takes them, the port added where there is none.

    Args:
        addresses: `host`, `host:port`, `[v6]:port`, or a name of gRPC's with its scheme, such as `dns:///host:port` or
            `unix:/path`; one, or several whose servers answer the same.

    Raises:
        BadInputError: none, twice the same, or not an address.
    """
    if not isinstance(addresses, str | Iterable):
        raise BadInputError(f"expected an address, such as localhost:8500, or several; received {addresses!r}")
    given = [addresses] if isinstance(addresses, str) else list(addresses)
    if not given:
        raise BadInputError("expected at least one address, such as localhost:8500; received none")
    named = tuple(_target(address) for address in given)
    if len(set(named)) < len(named):
        raise BadInputError(f"expected every address once, received {', '.join(named)}")
    return named


def _target(address: str) -> str:
    if not isinstance(address, str) or not address.strip() or "://" in address.replace(":///", ""):
        raise BadInputError(f"expected host:port, such as localhost:8500; received {address!r}")
    if address.startswith(_SCHEMES):
        return address
    try:
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]:{DEFAULT_PORT}"
    except ValueError:
        pass
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        return f"{address}:{DEFAULT_PORT}"
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInputError(f"expected host:port with a port from 1 to 65535, received {address!r}")
    return address


def is_local(target: str) -> bool:
    """Whether what is sent to the target stays on this machine."""
    if target.startswith("unix"):
        return True
    host = target.removeprefix("dns:///").removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel_credentials(tls: TLS | None) -> grpc.ChannelCredentials | None:
    """gRPC's credentials; None for a connection in the clear."""
    return None if tls is None else grpc.ssl_channel_credentials(*tls.pem())


def channel_options(tls: TLS | None, retries: Retries, limits: Limits, keepalive: Keepalive) -> ChannelOptions:
    """gRPC's options of a channel, the service config with the retries among them."""
    options: ChannelOptions = [
        ("grpc.service_config", json.dumps(_service_config(retries))),
        ("grpc.enable_retries", int(retries.attempts > 1)),
        ("grpc.per_rpc_retry_buffer_size", min(_RETRY_BUFFER, limits.message_bytes)),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.keepalive_time_ms", round(keepalive.interval * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout * 1000)),
        # gRPC 1.85 never starts that timer; it heeds this one, whose default is a minute
        ("grpc.http2.ping_timeout_ms", round(keepalive.timeout * 1000)),
        # gRPC waits up to two minutes before it looks whether a server is back
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.primary_user_agent", "shoppin"),
    ]
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def _service_config(retries: Retries) -> dict[str, Any]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retries.attempts > 1:
        policy = {
            "maxAttempts": retries.attempts,
            "initialBackoff": f"{retries.initial_backoff}s",
            "maxBackoff": f"{retries.max_backoff}s",
            "backoffMultiplier": retries.multiplier,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": [{}], "retryPolicy": policy}]
        config["retryThrottling"] = {"maxTokens": retries.max_tokens, "tokenRatio": retries.token_ratio}
    return config
