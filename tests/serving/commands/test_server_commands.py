"""`status`, `ready`, `load` and `serve`."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from serving import BadInputError, OverloadedError
from serving.commands.load_generator import LoadGenerator, LoadReport
from serving.commands.text_table import text_table

ROOT = Path(__file__).parents[3]


def test_status(run: Any, small_server: Any) -> None:
    (line,) = run("status", "--json", "--server", small_server.address).lines
    assert (line["server"], line["healthy"]) == (small_server.address, True)
    assert {name: states[0]["state"] for name, states in line["models"].items()} == {
        "fused_encoder": "AVAILABLE",
        "fused_lookup": "AVAILABLE",
        "fused_search": "AVAILABLE",
    }
    port = small_server.address.rpartition(":")[2]
    several = ["--server", small_server.address, "--server", f"localhost:{port}"]
    rows = [row.split() for row in run("status", "fused_lookup", *several).out.splitlines()]
    assert rows[0] == ["server", "healthy", "model", "version", "state", "error"]
    assert rows[1:] == [[each, "yes", "fused_lookup", "1", "AVAILABLE"] for each in several[1::2]]


def test_ready(run: Any, small_server: Any) -> None:
    ran = run("ready", "--server", small_server.address, "--server", small_server.address)
    assert (ran.code, ran.out) == (0, f"{small_server.address} is ready\n" * 2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    started = time.monotonic()
    ran = run("ready", "--timeout", "0.5", "--server", nobody)
    assert 0.3 < time.monotonic() - started < 5
    assert ran.code == 2
    assert ran.err.startswith("error: not ready within 0.5 s: ")
    ran = run("ready", "fused_lookup", "no_such_model", "--timeout", "0.3", "--server", small_server.address)
    assert ran.code == 2
    assert "no_such_model" in ran.err


@pytest.mark.parametrize("ask", ["search", "embed", "classify", "lookup"])
def test_load_sends_as_many_as_it_was_told(run: Any, small_server: Any, photos: list[Path], ask: str) -> None:
    given = photos if ask != "lookup" else []
    ran = run(
        "load", *given, "--ask", ask, "--requests", 40, "--concurrency", 4, "--json", "--server", small_server.address
    )
    (report,) = ran.lines
    assert (report["ask"], report["answered"], report["errors"]) == (ask, 40, {})
    assert report["throughput"] == pytest.approx(40 / report["seconds"], rel=0.05)
    latencies = report["latency_ms"]
    assert 0 < latencies["p50"] <= latencies["p90"] <= latencies["p99"] <= latencies["max"]


def test_load_stops_when_the_time_is_over(run: Any, small_server: Any, photos: list[Path]) -> None:
    started = time.monotonic()
    ran = run("load", photos[0], "--duration", "0.4", "--server", small_server.address)
    assert time.monotonic() - started < 10
    title, header, *rows = ran.out.splitlines()
    assert title.startswith(f"search at {small_server.address}, 16 at once, 0.")
    assert header.split() == ["latency", "ms"]
    assert [row.split()[0] for row in rows[:-1]] == ["p50", "p90", "p95", "p99", "p99.9", "mean", "max"]
    assert rows[-1] == "errors: 0"


def test_load_counts_errors_by_kind_and_keeps_its_concurrency() -> None:
    under_way, most = 0, 0

    async def ask(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001 * (number % 3))
        under_way -= 1
        if number % 10 == 0:
            raise OverloadedError("full")
        if number % 10 == 1:
            raise BadInputError("bad")

    report = asyncio.run(LoadGenerator(ask, 8, requests=100).run())
    assert report.answered == 80
    assert report.errors == {"OverloadedError": 10, "BadInputError": 10}
    assert most == 8


def test_a_load_of_failures_does_not_spin() -> None:
    asked = 0

    async def ask(number: int) -> None:
        nonlocal asked
        asked += 1
        raise OverloadedError("full")

    report = asyncio.run(LoadGenerator(ask, 2, seconds=0.3).run())
    assert asked == sum(report.errors.values()) <= 2 * 31
    assert report.as_dict()["latency_ms"] is None


def test_another_error_than_the_servers_ends_a_load() -> None:
    async def ask(number: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(LoadGenerator(ask, 1, requests=5).run())
    assert caught.group_contains(ZeroDivisionError)
    with pytest.raises(ValueError, match="never end"):
        LoadGenerator(ask, 1)


def test_percentiles_are_latencies_that_were_measured() -> None:
    import numpy as np

    report = LoadReport(2.0, np.arange(1, 101) / 1000, {})
    assert report.throughput == 50
    assert [report.percentile(percent) for percent in (50, 90, 99, 100)] == [0.050, 0.090, 0.099, 0.100]


def test_a_table_holds_nothing_that_steers_a_terminal() -> None:
    shown = text_table(["id", "score"], [["\x1b[31mred\n", "1.0"], ["x" * 100, "10.0"]], frozenset({"score"}))
    header, first, second = shown.splitlines()
    assert "\x1b" not in shown
    assert len(first) == len(second) == len(header)
    assert first.endswith("   1.0")
    assert "x" * 47 + "…" in second
    assert "x" * 100 in text_table(["id"], [["x" * 100]], whole=frozenset({"id"}))


def test_serve_answers_and_stops(small_exports: Path) -> None:
    command = [sys.executable, "-m", "serving", "serve", str(small_exports), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip().removeprefix("serving grpc=")
            done = subprocess.run(
                [sys.executable, "-m", "serving", "ready", "--timeout", "20", "--server", address],
                capture_output=True,
                text=True,
                cwd=ROOT,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, f"{address} is ready\n")
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
        finally:
            server.kill()
    assert server.returncode == 0
