"""The embedded server over the wire: what the wire costs, what batching brings, and whether memory stays.

    python -m benchmarks.serving
    python -m benchmarks.serving --questions search --exports EXPORTS --photos PHOTO...
    python -m benchmarks.serving --questions wire --calls 500

| question | what is measured | bar |
| --- | --- | --- |
| wire | median of `Client.lookup` at one client, less that of the signature called in process; 1,000 x 256 | 1.0 ms |
| batching | lookups a second of 64 clients, over those of the same server with --no-batching; 100,000 x 256 | 4 x |
| search | bytes to items a second with 16 clients, over those with one; needs --exports with a fused model | 1.5 x |
| requests | memory of the server after 100,000 lookups over that after 10,000 | 1.05 |
| swaps | memory of the server after 50 version swaps over that after 10 | 1.05 |

Server and clients are processes of their own; rivals take turns. The exit code is 1 where a bar is missed. What
importing the client and its own work cost is told by `benchmarks.client`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIMENSION, K = 256, 10
SMALL, LARGE = 1_000, 100_000
WIRE_BAR_MS, BATCHING_BAR, SEARCH_BAR, MEMORY_BAR = 1.0, 4.0, 1.5, 1.05
CLIENTS, SEARCHERS = 64, 16
MEBIBYTE = 2**20
TURN = 50


@dataclass(frozen=True)
class Answer:
    """A row of the table, and whether the bar is met."""

    question: str
    measured: str
    bar: str
    met: bool


@dataclass(frozen=True)
class Server:
    """An embedded server in a process of its own."""

    address: str
    process: subprocess.Popen[str]

    @property
    def memory(self) -> float:
        """MiB that it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


@contextlib.contextmanager
def serving(exports: Path, *flags: str) -> Iterator[Server]:
    """Serves a folder on a free port."""
    command = [sys.executable, "-m", "serving", "serve", str(exports), "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        found = re.match(r"serving grpc=(\S+)", process.stdout.readline())
        if found is None:
            raise SystemExit(f"the server of {exports} did not start; try: {' '.join(command)}")
        yield Server(found[1], process)
    finally:
        process.terminate()
        process.wait()


def load(server: Server, *arguments: object) -> dict[str, Any]:
    """Lets `python -m serving load` ask; its report."""
    command = [sys.executable, "-m", "serving", "load", "--json", "--server", server.address, "--timeout", "60"]
    command += [str(each) for each in arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report["errors"], report
    return report


def table(folder: Path, rows: int) -> Path:
    """Exports with a random table of so many rows, made once."""
    out = folder / f"table-{rows}"
    if not out.is_dir():
        command = [sys.executable, "-m", "benchmarks.exported_table", "--rows", str(rows), "--out", str(out)]
        subprocess.run([*command, "--dimension", str(DIMENSION)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return out


def wire(options: argparse.Namespace, folder: Path) -> Answer:
    """What the wire adds to a lookup."""
    exports = table(folder, SMALL)
    with serving(exports) as server:
        command = [sys.executable, "-m", "benchmarks.serving", "--child", server.address, str(options.calls)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [*command, str(exports)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=quiet, check=True
        )
    over, inside = (float(value) for value in done.stdout.split())
    cost = over - inside
    measured = f"{cost:.2f} ms ({over:.2f} ms over the wire, {inside:.2f} ms in process)"
    return Answer("cost of the wire, p50 of a lookup", measured, f"<= {WIRE_BAR_MS} ms", cost <= WIRE_BAR_MS)


def both_ways(address: str, calls: int, exports: Path) -> None:
    """Prints the medians of a lookup over the wire and in this process, in ms; run as a process of its own."""
    import gc

    import tensorflow as tf

    from serving import Client

    signature = tf.saved_model.load(str(exports / "fused_lookup" / "1")).signatures["lookup"]
    vectors = np.random.default_rng(1).normal(size=(calls + TURN, 1, DIMENSION)).astype(np.float32)
    gc.freeze()

    def inside(vector: np.ndarray) -> None:
        for value in signature(embedding=tf.constant(vector)).values():
            value.numpy()

    with Client(address) as client:
        sides = {"wire": lambda vector: client.lookup(vector[0], K), "inside": inside}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for start in range(0, calls, TURN):
            for name, ask in sides.items():
                for number, vector in enumerate(vectors[start : start + TURN]):
                    begun = time.perf_counter()
                    ask(vector)
                    if number >= TURN // 5:  # the first calls of a turn find the other side's data in the caches
                        taken[name].append(time.perf_counter() - begun)
    print(*(statistics.median(times) * 1e3 for times in taken.values()))


def batching(options: argparse.Namespace, folder: Path) -> Answer:
    """What batching brings, with many clients and a large table."""
    exports = table(folder, LARGE)
    rates: dict[str, list[float]] = {"batching": [], "alone": []}
    latest: dict[str, float] = {}
    with serving(exports) as batched, serving(exports, "--no-batching") as naive:
        for _ in range(options.rounds):
            for name, server in (("batching", batched), ("alone", naive)):
                report = load(server, "--concurrency", CLIENTS, "--duration", options.seconds, "--k", K)
                rates[name].append(report["throughput"])
                latest[name] = max(latest.get(name, 0.0), report["latency_ms"]["p99"])
    fast, slow = (statistics.median(values) for values in rates.values())
    measured = (
        f"{fast / slow:.1f} x ({fast:.0f} a second, p99 {latest['batching']:.0f} ms; without batching {slow:.0f}, "
        f"p99 {latest['alone']:.0f} ms)"
    )
    question = f"lookups of {CLIENTS} clients, batching over none"
    return Answer(question, measured, f">= {BATCHING_BAR:.0f} x", fast / slow >= BATCHING_BAR)


def search(options: argparse.Namespace, folder: Path) -> Answer:
    """Whether many clients get more searches than one."""
    if options.exports is None:
        raise SystemExit("error: expected --exports with a fused model for the question search")
    photos = options.photos or drawn_photos(folder)
    rates: dict[int, list[float]] = {1: [], SEARCHERS: []}
    with serving(options.exports) as server:
        for _ in range(options.rounds):
            for clients, found in rates.items():
                report = load(server, *photos, "--concurrency", clients, "--duration", options.seconds, "--k", K)
                found.append(report["throughput"])
    one, many = (statistics.median(values) for values in rates.values())
    measured = f"{many / one:.2f} x ({many:.1f} a second, with one client {one:.1f})"
    question = f"searches of {SEARCHERS} clients over one"
    return Answer(question, measured, f">= {SEARCH_BAR} x", many / one >= SEARCH_BAR)


def drawn_photos(folder: Path) -> list[Path]:
    """JPEGs of 224 x 224 pixels, smooth as photos are."""
    from PIL import Image

    draw, paths = np.random.default_rng(0), []
    for number in range(32):
        path = folder / f"photo-{number}.jpg"
        noise = draw.integers(0, 255, (14, 14, 3), np.uint8)
        Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def requests(options: argparse.Namespace, folder: Path) -> Answer:
    """Whether memory grows with the requests."""
    settle = options.requests // 10
    with serving(table(folder, SMALL)) as server:
        load(server, "--concurrency", SEARCHERS, "--requests", settle)
        before = server.memory
        load(server, "--concurrency", SEARCHERS, "--requests", options.requests - settle)
        after = server.memory
    measured = f"{after / before:.3f} x ({before:.0f} MiB after {settle:,}, {after:.0f} MiB after all)"
    return Answer(
        f"memory, {options.requests:,} requests", measured, f"<= {MEMORY_BAR} x", after <= before * MEMORY_BAR
    )


def swaps(options: argparse.Namespace, folder: Path) -> Answer:
    """Whether memory grows with the versions that came and went."""
    from serving import Client

    exports, first = folder / "swaps", table(folder, SMALL) / "fused_lookup" / "1"
    base = exports / "fused_lookup"
    shutil.copytree(first, base / "1")
    settled = max(1, options.swaps // 5)
    vector = np.ones(DIMENSION, np.float32)
    with serving(exports, "--poll-seconds", "0.05") as server, Client(server.address) as client:
        before = 0.0
        for version in range(2, options.swaps + 2):
            aside = exports / f".aside-{version}"
            shutil.copytree(first, aside)
            aside.rename(base / str(version))
            while client.lookup(vector).version < version:
                time.sleep(0.01)
            shutil.rmtree(base / str(version - 1))
            while any(each.version < version and each.state != "END" for each in client.status("fused_lookup")):
                time.sleep(0.01)
            if version == settled + 1:
                before = server.memory
        after = server.memory
    measured = f"{after / before:.3f} x ({before:.0f} MiB after {settled}, {after:.0f} MiB after all)"
    return Answer(f"memory, {options.swaps} swaps", measured, f"<= {MEMORY_BAR} x", after <= before * MEMORY_BAR)


QUESTIONS = {"wire": wire, "batching": batching, "search": search, "requests": requests, "swaps": swaps}


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, help="default: all, search only with --exports")
    parser.add_argument("--exports", type=Path, help="folder of models with fused_search, for the question search")
    parser.add_argument("--photos", type=Path, nargs="+", help="for the question search (default: drawn ones)")
    parser.add_argument("--calls", type=int, default=2000, help="of wire, each way (default 2000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load (default 8)")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair of rivals (default 3)")
    parser.add_argument("--requests", type=int, default=100_000, help="default 100,000")
    parser.add_argument("--swaps", type=int, default=50, help="default 50")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        address, calls, exports = options.child
        both_ways(address, int(calls), Path(exports))
        return 0
    asked = options.questions or [name for name in QUESTIONS if name != "search" or options.exports]
    missed = False
    print("| question | measured | bar | |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="shoppin-serving-") as folder:
        for name in asked:
            answer = QUESTIONS[name](options, Path(folder))
            print(
                f"| {answer.question} | {answer.measured} | {answer.bar} | {'met' if answer.met else 'missed'} |",
                flush=True,
            )
            missed |= not answer.met
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
