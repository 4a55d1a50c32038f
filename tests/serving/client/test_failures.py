"""Servers that fail: which error, what is repeated, what is left alone."""

from __future__ import annotations

import pickle
import threading
import time
from typing import Any

import grpc
import pytest
from fake_server import PICTURE, FakeServer, failing, slow

import serving
from serving import (
    Breaker,
    CircuitOpenError,
    ClosedError,
    DeadlineError,
    Hedging,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    Retries,
    ServingError,
    TooLargeError,
    UnreachableError,
)

Code = grpc.StatusCode
NO_RETRIES = Retries(attempts=1)

CASES = [
    (Code.NOT_FOUND, "Servable not found for request: Latest(m)", "ModelNotFoundError"),
    (Code.INVALID_ARGUMENT, "Unrecognized servable version label: x", "ModelNotFoundError"),
    (Code.FAILED_PRECONDITION, 'Serving signature key "x" not found.', "UnknownSignatureError"),
    (Code.FAILED_PRECONDITION, "Batching session Run() input tensors must have equal 0th-dim", "ServerError"),
    (Code.INVALID_ARGUMENT, "input size does not match signature: 1!=2", "BadInputError"),
    (Code.INVALID_ARGUMENT, "Task size 40 is larger than maximum input batch size 32", "BadInputError"),
    (Code.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full", "OverloadedError"),
    (Code.UNAVAILABLE, "Version labels are not initialized", "NotReadyError"),
    (Code.UNAVAILABLE, "Model labels does not init yet. stable", "NotReadyError"),
    (Code.UNAVAILABLE, "Socket closed", "UnreachableError"),
    (Code.UNAVAILABLE, "errors resolving queue.shop:8500: Domain name not found", "UnreachableError"),
    (
        Code.UNAVAILABLE,
        "connections to all backends failing; last error: label-overload:1: refused",
        "UnreachableError",
    ),
    (Code.UNAVAILABLE, "failed to connect to all addresses; last error: queue:1 is not ready", "UnreachableError"),
    (Code.CANCELLED, "CANCELLED", "UnreachableError"),
    (Code.RESOURCE_EXHAUSTED, "deadline passed in the queue", "OverloadedError"),
    (Code.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)", "TooLargeError"),
    (Code.RESOURCE_EXHAUSTED, "received metadata size exceeds hard limit (9 vs. 8)", "TooLargeError"),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", "DeadlineError"),
    (Code.UNAUTHENTICATED, "no token", "UnauthorizedError"),
    (Code.PERMISSION_DENIED, "no", "UnauthorizedError"),
    (Code.INTERNAL, "boom", "ServerError"),
    (Code.UNKNOWN, "", "ServerError"),
]


@pytest.mark.parametrize(("code", "details", "name"), CASES, ids=lambda value: str(value)[:30])
def test_each_status_is_one_error(make: Any, server: FakeServer, code: Any, details: str, name: str) -> None:
    client = make(server.address, retries=NO_RETRIES)
    server.before = failing(code, details)
    with pytest.raises(ServingError) as caught:
        client.lookup([1, 2, 3, 4], request_id="r-1")
    error = caught.value
    assert type(error) is getattr(serving, name)
    assert (error.address, error.model, error.signature) == (server.address, "fused_lookup", "lookup")
    assert (error.request_id, error.code) == ("r-1", code)
    assert isinstance(error.__cause__, grpc.RpcError)
    for part in (details, server.address, "fused_lookup", "r-1", code.name):
        assert part in str(error)


def test_errors_can_be_pickled() -> None:
    error = UnreachableError("gone", address="a:1", model="m", code=Code.UNAVAILABLE)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    shard = serving.ShardError("one", {"a:1": error})
    assert pickle.loads(pickle.dumps(shard)).failures["a:1"].address == "a:1"


def test_an_unavailable_server_is_asked_again(make: Any, server: FakeServer) -> None:
    client = make(server.address, retries=Retries(attempts=3, initial_backoff=0.01))
    server.before = failing(Code.UNAVAILABLE, "Socket closed", times=2)
    assert client.search(PICTURE, k=1).ids
    assert len(server.asked()) == 3


def test_repeats_are_throttled(make: Any, server: FakeServer) -> None:
    client = make(
        server.address, breaker=None, retries=Retries(attempts=5, initial_backoff=0.01, max_tokens=4, token_ratio=0.1)
    )
    server.before = failing(Code.UNAVAILABLE, "Socket closed")
    for _ in range(5):
        with pytest.raises(UnreachableError):
            client.search(PICTURE)
    assert len(server.asked()) < 10  # of 25 without throttling


def test_other_failures_are_not_repeated(client: Any, server: FakeServer) -> None:
    server.before = failing(Code.INTERNAL, "boom")
    with pytest.raises(serving.ServerError):
        client.search(PICTURE)
    assert len(server.asked()) == 1


def test_a_deadline_holds(client: Any, server: FakeServer) -> None:
    client.search(PICTURE)
    server.before = slow(1.0)
    started = time.monotonic()
    with pytest.raises(DeadlineError) as caught:
        client.search(PICTURE, timeout=0.1)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - started < 0.8


def test_a_deadline_spans_all_requests_of_a_call(make: Any, server: FakeServer) -> None:
    client = make(server.address, limits=serving.Limits(batch=1, concurrency=1))
    client.embed(PICTURE)
    server.before = slow(0.1)
    with pytest.raises(DeadlineError):
        client.embed_many([PICTURE] * 10, timeout=0.35)


def test_nobody_there_is_unreachable(make: Any) -> None:
    client = make("127.0.0.1:1", retries=NO_RETRIES)
    with pytest.raises(UnreachableError) as caught:
        client.search(PICTURE)
    assert caught.value.address == "127.0.0.1:1"


def test_addresses_are_asked_in_turn_and_a_dead_one_is_passed_over(make: Any, server: FakeServer) -> None:
    other = FakeServer()
    try:
        client = make([server.address, other.address], retries=NO_RETRIES, breaker=Breaker(failures=2, recovery=60))
        for _ in range(10):
            client.predict("fused_search", "echo", {"a": [1]})
        assert (len(server.asked()), len(other.asked())) == (5, 5)
        other.stop()
        for _ in range(10):
            client.predict("fused_search", "echo", {"a": [1]})
        assert len(server.asked()) == 15
    finally:
        other.stop()


@pytest.mark.parametrize("host", ["queue-worker.invalid:8500", "label-svc.invalid:8500", "unix:/nowhere/queue"])
def test_an_address_is_passed_over_whatever_it_is_called(make: Any, server: FakeServer, host: str) -> None:
    client = make([host, server.address], retries=NO_RETRIES)
    for _ in range(2):
        assert client.predict("fused_search", "echo", {"a": [1]}).version == 1


def test_a_call_that_a_server_cancels_goes_to_the_next(make: Any, server: FakeServer) -> None:
    other = FakeServer()
    server.before = failing(Code.CANCELLED, "CANCELLED")
    try:
        client = make([server.address, other.address], retries=NO_RETRIES)
        for _ in range(2):
            client.predict("fused_search", "echo", {"a": [1]})
        assert (len(server.asked()), len(other.asked())) == (1, 2)
        assert not client.closed
        sharded = make([server.address, other.address], sharded=True, partial=True, retries=NO_RETRIES)
        assert list(sharded.lookup([1, 2, 3, 4]).missing) == [server.address]
    finally:
        other.stop()


def test_oversized_metadata_is_too_large(client: Any) -> None:
    with pytest.raises(TooLargeError, match="metadata size"):
        client.lookup([1, 2, 3, 4], request_id="x" * 20_000)


def test_the_circuit_opens_and_closes_again(make: Any, server: FakeServer) -> None:
    client = make(server.address, retries=NO_RETRIES, breaker=Breaker(failures=3, recovery=0.3))
    server.before = failing(Code.UNAVAILABLE, "Socket closed", times=3)
    for _ in range(3):
        with pytest.raises(UnreachableError):
            client.predict("fused_search", "echo", {"a": [1]})
    with pytest.raises(CircuitOpenError, match="too often"):
        client.predict("fused_search", "echo", {"a": [1]})
    assert len(server.asked()) == 3
    assert client.healthy()  # asks although it is open
    time.sleep(0.35)
    for _ in range(3):
        client.predict("fused_search", "echo", {"a": [1]})


def test_overload_does_not_open_the_circuit(make: Any, server: FakeServer) -> None:
    client = make(server.address, retries=NO_RETRIES, breaker=Breaker(failures=2, recovery=60))
    server.before = failing(Code.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
    for _ in range(5):
        with pytest.raises(OverloadedError):
            client.search(PICTURE)


def test_a_slow_question_gets_a_second_copy(make: Any, server: FakeServer) -> None:
    other = FakeServer()
    try:
        client = make([server.address, other.address], hedging=Hedging(min_delay=0.05))
        for _ in range(25):
            client.lookup([1, 2, 3, 4], k=1)
        server.before = slow(2.0)
        before = len(server.asked()) + len(other.asked())
        started = time.monotonic()
        for _ in range(2):  # one of them goes to the slow server first
            assert client.lookup([1, 2, 3, 4], k=1).ids
        assert time.monotonic() - started < 1.0
        assert len(server.asked()) + len(other.asked()) == before + 3
    finally:
        other.stop()


def test_hedging_has_a_budget(make: Any, server: FakeServer) -> None:
    client = make(server.address, hedging=Hedging(min_delay=0.01, budget=0.05))
    for _ in range(20):
        client.lookup([1, 2, 3, 4], k=1)
    before = len(server.asked())
    server.before = slow(0.05)
    for _ in range(8):
        client.lookup([1, 2, 3, 4], k=1)
    assert 8 < len(server.asked()) - before <= 11


def test_a_hedged_question_that_fails_twice_fails(make: Any, server: FakeServer) -> None:
    client = make(server.address, hedging=Hedging(min_delay=0.05), retries=NO_RETRIES)
    for _ in range(20):
        client.lookup([1, 2, 3, 4], k=1)

    def fail_late(request: Any, context: Any) -> None:
        time.sleep(0.2)
        context.abort(Code.INTERNAL, "boom")

    server.before = fail_late
    before = len(server.asked())
    with pytest.raises(serving.ServerError, match="boom"):
        client.lookup([1, 2, 3, 4], k=1)
    assert len(server.asked()) == before + 2


def test_one_failing_request_fails_the_whole_call(make: Any, server: FakeServer) -> None:
    client = make(server.address, limits=serving.Limits(batch=1))
    client.embed(PICTURE)
    server.before = failing(Code.INTERNAL, "boom", times=1)
    with pytest.raises(serving.ServerError):
        client.embed_many([PICTURE] * 6)


def test_a_server_that_comes_back_is_used_again(make: Any) -> None:
    first = FakeServer()
    client = make(first.address, breaker=Breaker(failures=3, recovery=0.1), retries=NO_RETRIES)
    client.lookup([1, 2, 3, 4])
    first.stop()
    for _ in range(5):
        with pytest.raises((UnreachableError, CircuitOpenError)):
            client.lookup([1, 2, 3, 4])
    second = FakeServer(first.port)
    try:
        client.wait_until_ready(10)
        time.sleep(0.15)
        assert client.lookup([1, 2, 3, 4]).ids
    finally:
        second.stop()


def test_a_closed_client_says_so(make: Any, server: FakeServer) -> None:
    client = make(server.address)
    client.search(PICTURE)
    client.close()
    client.close()
    assert client.closed
    with pytest.raises(ClosedError, match="closed"):
        client.search(PICTURE)
    unused = make(server.address)
    unused.close()
    with pytest.raises(ClosedError, match="closed"):
        unused.healthy()


def test_closing_ends_what_is_under_way(make: Any, server: FakeServer) -> None:
    client = make(server.address)
    client.search(PICTURE)
    server.before = slow(1.0)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            client.search(PICTURE)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    client.close()
    thread.join(5)
    assert [type(error) for error in errors] == [ClosedError]


def test_models_status_metadata_health(make: Any, server: FakeServer) -> None:
    client = make(server.address)
    server.states["fused_search"] = [(1, 50, ""), (3, 20, ""), (2, 30, "")]
    del server.states["fused_encoder"]
    assert list(client.models()) == ["fused_lookup", "fused_search"]
    assert [(item.version, item.state) for item in client.status("fused_search")] == [
        (3, "LOADING"),
        (2, "AVAILABLE"),
        (1, "END"),
    ]
    with pytest.raises(ModelNotFoundError):
        client.status("other")
    signature = client.metadata("fused_lookup").signatures["lookup_filtered"]
    assert signature.inputs["embedding"] == serving.TensorSpec("float32", (None, 4))
    assert signature.inputs["gender"] == serving.TensorSpec("string", (None,))
    assert client.healthy()
    server.healthy = False
    assert not client.healthy()
    server.healthy = None  # no health service
    assert client.healthy()
    assert not make("127.0.0.1:1", retries=NO_RETRIES).healthy()


def test_waiting_for_readiness(make: Any, server: FakeServer) -> None:
    client = make(server.address)
    client.wait_until_ready(5)
    server.states["fused_search"] = [(1, 50, "broken")]
    with pytest.raises(NotReadyError, match="fused_search: version 1 END broken"):
        client.wait_until_ready(0.2)
    client.wait_until_ready(1, models=["fused_lookup"])
    with pytest.raises(NotReadyError, match="other"):
        client.wait_until_ready(0.2, models=["other"])
    with pytest.raises(NotReadyError, match=r"127.0.0.1"):
        make("127.0.0.1:1").wait_until_ready(0.3)
    threading.Timer(0.3, server.states.update, [{"fused_search": [(1, 30, "")]}]).start()
    client.wait_until_ready(5)


@pytest.mark.parametrize("models", [None, ["fused_lookup"]], ids=str)
def test_readiness_heeds_the_label(make: Any, server: FakeServer, models: Any) -> None:
    make(server.address, label="stable").wait_until_ready(5, models)
    with pytest.raises(NotReadyError, match=r"fused_lookup at .*version label: nope"):
        make(server.address, label="nope").wait_until_ready(0.1, models)
