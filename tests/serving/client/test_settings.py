"""Settings that cannot work are refused when they are made; those that are at the edge do work."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import D, FakeServer

from serving import TLS, AsyncShardedClient, BadInputError, Breaker, Client, Hedging, Keepalive, Limits, Retries

INF, NAN = float("inf"), float("nan")

IMPOSSIBLE: list[tuple[Any, dict[str, Any]]] = [
    *[(Limits, {"message_bytes": value}) for value in (1024, 4608, 8191, 1e4, 2**31, "1")],
    *[(Limits, {name: value}) for name in ("batch", "concurrency") for value in (2.5, "2", True, 0, None)],
    *[(Retries, {"attempts": value}) for value in (2.5, "3", True, 6)],
    *[(Retries, {"max_backoff": value}) for value in (INF, NAN, "1", 1e16)],
    *[(Retries, {"initial_backoff": value}) for value in (NAN, 0.001, None, 2.0)],
    *[(Retries, {"multiplier": value}) for value in (INF, NAN, 0.5, "2")],
    *[(Retries, {"max_tokens": value}) for value in (2.5, 0, 1001)],
    *[(Retries, {"token_ratio": value}) for value in (1e-9, 0, 1.5, NAN)],
    *[(Keepalive, {"interval": value}) for value in (INF, NAN, 9, 1e9, "60")],
    *[(Keepalive, {"timeout": value}) for value in (INF, NAN, 0, 1e-9)],
    *[(Breaker, {"failures": value}) for value in (NAN, 2.5, 0, "1")],
    *[(Breaker, {"recovery": value}) for value in (INF, NAN, 0, None)],
    *[(Hedging, {"percentile": value}) for value in (NAN, 100, 49, "95")],
    *[(Hedging, {name: value}) for name in ("min_delay", "budget") for value in (NAN, 0, "1", INF)],
    (TLS, {"server_name": 5}),
]


@pytest.mark.parametrize(("kind", "values"), IMPOSSIBLE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_impossible_values(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        kind(**values)


EDGES: list[dict[str, Any]] = [
    {"limits": Limits(message_bytes=8192, batch=1, concurrency=1)},
    {"retries": Retries(attempts=5, initial_backoff=1e6, max_backoff=1e6, multiplier=1e6, max_tokens=1000)},
    {"retries": Retries(token_ratio=0.001, max_tokens=1)},
    {"keepalive": Keepalive(interval=1e6, timeout=1e6)},
    {"keepalive": Keepalive(timeout=0.001)},
    {"breaker": Breaker(failures=1, recovery=1e6)},
    {"hedging": Hedging(percentile=50, min_delay=1e6, budget=1)},
    {"timeout": 1e9},
]


@pytest.mark.parametrize("settings", EDGES, ids=str)
def test_possible_values(make: Any, server: FakeServer, settings: dict[str, Any]) -> None:
    client = make(server.address, **settings)
    assert len(client.lookup_many(np.ones((3, D)), k=1)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        *[{name: 5} for name in ("tls", "retries", "hedging", "breaker", "limits", "keepalive", "hooks", "connect")],
        *[{name: True} for name in ("tls", "hedging", "breaker")],
        *[{name: None} for name in ("retries", "limits", "keepalive", "addresses", "timeout", "model")],
        {"addresses": 5},
        {"addresses": [5]},
        {"addresses": b"localhost"},
        {"token": 5},
        {"token": b"secret"},
        {"fingerprint": 5},
        {"metadata": [("a", "b")]},
        {"metadata": 5},
        {"model": "\ud800"},
        {"label": "\ud800"},
        {"timeout": 9e9},
    ],
    ids=ascii,
)
def test_settings_of_a_wrong_kind(make: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        make(**settings)


@pytest.mark.parametrize("shards", [5, None, [5], [None], ["a:1", ["b:1", 5]], [[]]], ids=str)
def test_shards_of_a_wrong_kind(shards: Any) -> None:
    with pytest.raises(BadInputError, match="expected"):
        AsyncShardedClient(shards)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates with their keys, and one of the keys under a password."""
    folder = tmp_path_factory.mktemp("pairs")
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
    for name in ("one", "two"):
        files = ("-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        subprocess.run([*made, *files], cwd=folder, check=True, capture_output=True)
    locked = ("openssl", "ec", "-in", "one.key", "-aes256", "-passout", "pass:open", "-out", "locked.key")
    subprocess.run(locked, cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_files_that_fit(pairs: Path) -> None:
    (pairs / "bundle.pem").write_bytes("# Főtanúsítvány\n".encode() + (pairs / "one.pem").read_bytes() * 2)
    Client(tls=TLS(pairs / "bundle.pem", pairs / "one.pem", (pairs / "one.key").read_bytes()))


@pytest.mark.parametrize(
    ("ca", "certificate", "key"),
    [
        (b"junk", None, None),
        (b"", None, None),
        ("one.key", None, None),
        (None, "one.pem", "two.key"),
        (None, "one.key", "one.pem"),
        (None, "one.pem", "locked.key"),
        (None, b"junk", b"junk"),
        (5, None, None),
        ("a\0b", None, None),
    ],
    ids=str,
)
def test_tls_files_that_do_not(pairs: Path, ca: Any, certificate: Any, key: Any) -> None:
    parts = [str(pairs / part) if isinstance(part, str) else part for part in (ca, certificate, key)]
    with pytest.raises(BadInputError, match=r"expected (the ca|a certificate and its own private key|PEM)"):
        Client(tls=TLS(*parts))


def test_a_key_given_as_text_is_not_shown(pairs: Path) -> None:
    key = (pairs / "one.key").read_text()
    with pytest.raises(BadInputError, match="as bytes") as caught:
        Client(tls=TLS(certificate=pairs / "one.pem", key=key))
    assert key.splitlines()[1] not in str(caught.value)
