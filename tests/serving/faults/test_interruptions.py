"""The server dies, hangs, or falls silent while it is asked."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from embedded_process import embedded_process
from tcp_proxy import TcpProxy

from serving import Breaker, CircuitOpenError, Client, DeadlineError, ServingError

VECTOR = np.ones(16, np.float32)


class Askers:
    """Threads that ask without a pause, and what they got."""

    def __init__(self, client: Client, threads: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self._client, self._over = client, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            try:
                assert self._client.lookup(VECTOR, 5).table_fingerprint == "table-b"
                outcome = "answer"
            except ServingError as error:
                outcome = type(error).__name__
                time.sleep(0.01)
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)

    def wait_for(self, outcome: str, more: int, seconds: float = 60) -> None:
        """Waits until there are so many more of an outcome."""
        wanted, end = self.outcomes[outcome] + more, time.monotonic() + seconds
        while self.outcomes[outcome] < wanted:
            assert time.monotonic() < end, self.outcomes
            time.sleep(0.01)

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=60)


@pytest.mark.timeout(120)
def test_a_server_killed_in_the_middle_of_requests_and_restarted(two_tables: Path) -> None:
    with embedded_process(two_tables) as first, Client(first.address, timeout=5) as client, Askers(client, 8) as askers:
        askers.wait_for("answer", 200)
        first.process.kill()
        first.process.wait(timeout=30)
        askers.wait_for("CircuitOpenError", 10)
        port = first.address.rpartition(":")[2]
        with embedded_process(two_tables, "--port", port):
            askers.wait_for("answer", 200)
    # nobody waited for a dead server, and nothing but its absence was told
    assert set(askers.outcomes) <= {"answer", "UnreachableError", "CircuitOpenError"}
    assert askers.outcomes["UnreachableError"]
    assert askers.slowest < 5


@pytest.fixture
def stopped(server: Any) -> Iterator[None]:
    """The server's process hangs."""
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


def test_a_server_that_hangs(server: Any, request: pytest.FixtureRequest) -> None:
    with Client(server.address, breaker=Breaker(failures=3, recovery=0.3)) as client:
        assert client.lookup(VECTOR).matches
        request.getfixturevalue("stopped")
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(DeadlineError):
                client.lookup(VECTOR, timeout=0.2)
            assert 0.15 < time.monotonic() - started < 2
        started = time.monotonic()
        with pytest.raises(CircuitOpenError):
            client.lookup(VECTOR)
        assert time.monotonic() - started < 1
        assert not client.healthy(timeout=0.2)
        server.process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert client.lookup(VECTOR).matches


def test_a_half_open_connection_ends_at_the_deadline_and_another_server_is_asked(server: Any) -> None:
    with TcpProxy(server.address) as proxy:
        breaker = Breaker(failures=2, recovery=60)
        with Client([proxy.address, server.address], timeout=0.3, breaker=breaker) as client:
            for _ in range(4):
                assert client.lookup(VECTOR, timeout=10).matches
            proxy.silence()
            outcomes = []
            for _ in range(12):
                try:
                    client.lookup(VECTOR)
                    outcomes.append("answer")
                except DeadlineError as error:
                    assert error.address == proxy.address
                    outcomes.append("deadline")
            assert outcomes.count("deadline") == 2
            assert outcomes[-6:] == ["answer"] * 6


def test_keepalive_notices_a_half_open_connection_while_a_call_waits(server: Any) -> None:
    def connect(address: str, credentials: Any, options: list[Any]) -> grpc.Channel:
        # the settings' shortest times are too long for a test
        short = {"grpc.keepalive_time_ms": 300, "grpc.keepalive_timeout_ms": 300, "grpc.http2.ping_timeout_ms": 300}
        assert short.keys() <= dict(options).keys()
        return grpc.insecure_channel(address, [(name, short.get(name, value)) for name, value in options])

    with TcpProxy(server.address) as proxy, Client(proxy.address, timeout=20, connect=connect) as client:
        assert client.lookup(VECTOR).matches
        proxy.silence()
        started = time.monotonic()
        assert client.lookup(VECTOR).matches
        assert 0.3 < time.monotonic() - started < 10
        assert proxy.connections == 2


def test_clients_that_fall_silent_or_vanish_do_not_hold_the_server(server: Any) -> None:
    host, _, port = server.address.rpartition(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\0\0\0\4\0\0\0\0\0"
    starts = (
        b"",
        preface[:10],
        preface,
        preface + settings,
        preface + settings + b"\0\x40\0\1\4\0\0\0\1",
        b"GET / HTTP/1.1\r\n",
    )
    opened = []
    try:
        for number in range(60):
            each = socket.create_connection((host, int(port)))
            opened.append(each)
            each.sendall(starts[number % len(starts)])
        for each in opened[::2]:  # closed with a reset, as a machine that lost its power comes back
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        with Client(server.address) as client:
            started = time.monotonic()
            for _ in range(50):
                assert client.lookup(VECTOR).matches
            assert time.monotonic() - started < 10
            assert client.healthy()
    finally:
        for each in opened:
            each.close()
