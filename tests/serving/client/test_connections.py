"""TLS, forks, threads, event loops, channels, hooks."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import PICTURE, FakeServer, failing, slow

from serving import TLS, AsyncClient, Call, Client, ClosedError, Limits, Retries, ServerError, UnreachableError
from serving.client.connection import channel_options, is_local, targets
from serving.client.settings import Keepalive

ROOT = Path(__file__).parents[3]


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a server's and a client's certificates signed by it."""
    folder = tmp_path_factory.mktemp("certificates")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    (folder / "names").write_text("subjectAltName=DNS:shop.example")
    for name in ("server", "client"):
        openssl(folder, "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


def secured(certificates: Path, mutual: bool) -> FakeServer:
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    authority = (certificates / "ca.pem").read_bytes() if mutual else None
    return FakeServer(credentials=grpc.ssl_server_credentials([pair], authority, mutual))


def test_tls(make: Any, certificates: Path) -> None:
    server = secured(certificates, mutual=False)
    try:
        tls = TLS(ca=certificates / "ca.pem", server_name="shop.example")
        assert make(server.address, tls=tls, token="t").search(PICTURE).ids  # noqa: S106
        untrusting = make(server.address, tls=TLS(ca=certificates / "client.pem"), retries=Retries(attempts=1))
        with pytest.raises(UnreachableError):
            untrusting.search(PICTURE, timeout=3)
    finally:
        server.stop()


def test_mutual_tls(make: Any, certificates: Path) -> None:
    server = secured(certificates, mutual=True)
    try:
        known = TLS(
            certificates / "ca.pem",
            (certificates / "client.pem").read_bytes(),
            str(certificates / "client.key"),
            "shop.example",
        )
        assert make(server.address, tls=known).search(PICTURE).ids
        nobody = TLS(ca=certificates / "ca.pem", server_name="shop.example")
        with pytest.raises(UnreachableError):
            make(server.address, tls=nobody, retries=Retries(attempts=1)).search(PICTURE, timeout=3)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("shop", ("shop:8500",)),
        ("shop:1", ("shop:1",)),
        ("::1", ("[::1]:8500",)),
        ("[::1]", ("[::1]:8500",)),
        ("[::1]:9", ("[::1]:9",)),
        ("dns:///shop:1", ("dns:///shop:1",)),
        ("unix:/run/shop", ("unix:/run/shop",)),
        (["a", "b:1"], ("a:8500", "b:1")),
    ],
)
def test_addresses(given: Any, expected: tuple[str, ...]) -> None:
    assert targets(given) == expected


def test_what_is_local() -> None:
    assert all(is_local(name) for name in ("localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/x", "ipv4:127.0.0.2:1"))
    assert not any(is_local(name) for name in ("shop:1", "10.0.0.1:1", "dns:///localhost.shop:1"))


def test_a_name_is_resolved(make: Any, server: FakeServer) -> None:
    assert make(f"dns:///localhost:{server.port}").search(PICTURE).ids


def test_channel_options_say_what_was_asked_for() -> None:
    options = dict(channel_options(None, Retries(attempts=1), Limits(message_bytes=9000), Keepalive(interval=30)))
    assert options["grpc.max_receive_message_length"] == options["grpc.max_send_message_length"] == 9000
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert "retryPolicy" not in options["grpc.service_config"]
    assert "round_robin" in options["grpc.service_config"]
    assert '"maxAttempts": 3' in dict(channel_options(None, Retries(), Limits(), Keepalive()))["grpc.service_config"]


def test_channels_may_be_made_by_the_caller(server: FakeServer) -> None:
    made = []

    class Named(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            made.append(details.method)
            return continuation(details, request)

    def connect(address: str, credentials: Any, options: Any) -> grpc.Channel:
        return grpc.intercept_channel(grpc.insecure_channel(address, options), Named())

    with Client(server.address, connect=connect) as client:
        client.search(PICTURE)
    assert made[-1].endswith("PredictionService/Predict")


def test_threads_share_a_client(server: FakeServer) -> None:
    failures: list[BaseException] = []
    with Client(server.address, limits=Limits(batch=2)) as client:

        def ask(place: int) -> None:
            try:
                for turn in range(10):
                    pictures = [PICTURE + bytes([place, turn, row]) for row in range(5)]
                    vectors = np.stack(client.embed_many(pictures))
                    assert np.array_equal(vectors, np.stack([FakeServer.vector(picture) for picture in pictures]))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


FORKING = """
import os, sys
sys.path.insert(0, {root!r})
from serving import Client, ClosedError
used, unused = Client({address!r}), Client({address!r})
if {use}:
    used.lookup([1, 2, 3, 4])
child = os.fork()
if child == 0:
    try:
        (used if {use} else unused).lookup([1, 2, 3, 4], timeout=5)
    except ClosedError as error:
        os._exit(3 if "fork" in str(error) else 4)
    except BaseException:
        os._exit(5)
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert used.lookup([1, 2, 3, 4]).ids
sys.exit(status)
"""


@pytest.mark.parametrize(("use", "status"), [(True, 3), (False, 0)], ids=["used", "unused"])
def test_a_fork(server: FakeServer, use: bool, status: int) -> None:
    program = FORKING.format(root=str(ROOT), address=server.address, use=use)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr[-3000:]


def test_an_asyncio_client_belongs_to_its_loop(server: FakeServer) -> None:
    client = AsyncClient(server.address)

    async def ask() -> None:
        await client.search(PICTURE)

    asyncio.run(ask())
    with pytest.raises(ClosedError, match="another event loop"):
        asyncio.run(ask())


def test_a_cancelled_task_cancels_its_call(server: FakeServer) -> None:
    async def run() -> None:
        async with AsyncClient(server.address) as client:
            await client.search(PICTURE)
            server.before = slow(1.0, times=1)
            task = asyncio.create_task(client.search(PICTURE))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            started = time.monotonic()
            await client.search(PICTURE)
            assert time.monotonic() - started < 0.8

    asyncio.run(run())


def test_hooks_run_in_the_callers_context(make: Any, server: FakeServer) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    @contextmanager
    def hook(call: Call) -> Iterator[None]:
        seen.append(who.get())
        yield

    client = make(server.address, hooks=[hook], limits=Limits(batch=1))
    who.set("me")
    client.embed_many([PICTURE] * 3)
    assert seen == ["me"] * 4


def test_hooks_see_every_call_and_add_metadata(make: Any, server: FakeServer) -> None:
    seen: list[Any] = []

    def hook(call: Call) -> Any:
        @contextmanager
        def around() -> Iterator[None]:
            call.metadata.append(("x-hook", "yes"))
            try:
                yield
                seen.append((call.method.name, call.model, call.signature, call.address, None))
            except Exception as error:
                seen.append((call.method.name, call.model, call.signature, call.address, type(error)))
                raise

        return around()

    client = make(server.address, hooks=[hook], limits=Limits(batch=1))
    client.embed(PICTURE)
    assert seen == [
        ("GetModelMetadata", "fused_encoder", "", server.address, None),
        ("Predict", "fused_encoder", "embed_images", server.address, None),
    ]
    assert server.requests[-1][2]["x-hook"] == "yes"
    seen.clear()
    server.before = failing(grpc.StatusCode.INTERNAL, "boom")
    with pytest.raises(ServerError):
        client.embed_many([PICTURE] * 2)
    assert ("Predict", "fused_encoder", "embed_images", server.address, ServerError) in seen


def test_opentelemetry(make: Any, server: FakeServer) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import StatusCode

    from serving.client.telemetry import OpenTelemetry

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer = TracerProvider()
    tracer.add_span_processor(SimpleSpanProcessor(spans))
    client = make(server.address, hooks=[OpenTelemetry(tracer, MeterProvider([reader]))])
    client.lookup([1, 2, 3, 4], request_id="r-1")
    span = spans.get_finished_spans()[-1]
    assert span.name == "tensorflow.serving.PredictionService/Predict"
    assert span.attributes is not None
    assert span.attributes["serving.model"] == "fused_lookup"
    assert span.attributes["serving.request_id"] == "r-1"
    assert span.attributes["server.address"] == server.address
    assert format(span.context.trace_id, "032x") in server.requests[-1][2]["traceparent"]
    server.before = failing(grpc.StatusCode.INTERNAL, "boom")
    with pytest.raises(ServerError):
        client.lookup([1, 2, 3, 4])
    failed = spans.get_finished_spans()[-1]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["rpc.grpc.status_code"] == 13
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "rpc.client.duration"
    assert sum(point.count for point in metric.data.data_points) == 3


def test_a_client_left_open_ends_with_its_process(server: FakeServer) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from serving import Client, Limits\n"
        f"client = Client({server.address!r}, limits=Limits(batch=1))\n"
        "client.lookup_many([[1, 2, 3, 4]] * 6)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
