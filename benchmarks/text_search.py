"""Searching by words: what the embedded server and the client add to the model, and how many clients it serves.

    python -m benchmarks.text_search --exports EXPORTS
    python -m benchmarks.text_search --exports EXPORTS --name fused --texts "navy blue shirt" "red dress for women"

| question | what is measured | bar |
| --- | --- | --- |
| one client | median of `Client.search(text=…)` over that of the same signature called in process | 2 x |
| 16 clients | searches by words a second, and their latencies | none |

Server and clients are processes of their own; at one client the two ways take turns in the same run, on the same texts.
The exit code is 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.serving import ROOT, SEARCHERS, TURN, Answer, K, Server, load, serving

BAR = 2.0
COLOURS = ("navy blue", "red", "black", "white", "olive green", "grey")
PRODUCTS = ("shirt", "running shoes", "watch with a leather strap", "handbag", "summer dress", "sandals", "jeans")
PEOPLE = ("men's", "women's", "boys'", "girls'")
TEXTS = [f"{colour} {people} {product}" for colour in COLOURS for people in PEOPLE for product in PRODUCTS]


def both_ways(address: str, calls: int, exports: Path, name: str, texts: list[str]) -> None:
    """Prints the medians of a search over the wire and in this process, in ms; run as a process of its own."""
    import gc

    import tensorflow as tf

    from serving import Client
    from serving.contract import SEARCH_TEXTS, TEXT, served_name

    versions = exports / served_name(name, "search")
    newest = max((path for path in versions.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    model = tf.saved_model.load(str(newest))  # kept: a signature holds the variables only weakly
    signature = model.signatures[SEARCH_TEXTS]
    gc.freeze()

    def inside(text: str) -> None:
        for value in signature(**{TEXT: tf.constant([text])}).values():
            value.numpy()

    with Client(address, model=name, timeout=60) as client:
        sides = {"wire": lambda text: client.search(text=text, k=K), "inside": inside}
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for start in range(0, calls, TURN):
            for side, ask in sides.items():
                for number in range(start, start + TURN):
                    begun = time.perf_counter()
                    ask(texts[number % len(texts)])
                    if (
                        number >= start + TURN // 5
                    ):  # the first calls of a turn find the other side's data in the caches
                        taken[side].append(time.perf_counter() - begun)
    print(*(statistics.median(times) * 1e3 for times in taken.values()))


def one_client(server: Server, options: argparse.Namespace) -> Answer:
    """What the wire, the server and the client add to a search."""
    command = [sys.executable, "-m", "benchmarks.text_search", "--child", server.address, "--calls", str(options.calls)]
    command += ["--exports", str(options.exports), "--name", options.name, "--texts", *options.texts]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=quiet, check=True)
    over, inside = (float(value) for value in done.stdout.split())
    measured = f"{over / inside:.2f} x ({over:.2f} ms over the wire, {inside:.2f} ms in process)"
    return Answer("search by words, one client, p50", measured, f"<= {BAR:.0f} x", over <= BAR * inside)


def many_clients(server: Server, options: argparse.Namespace) -> Answer:
    """How many searches are answered."""
    texts = [part for text in options.texts for part in ("--text", text)]
    flags = ["--name", options.name, "--concurrency", SEARCHERS, "--duration", options.seconds, "--k", K]
    report = load(server, *texts, *flags)
    latency = report["latency_ms"]
    measured = f"{report['throughput']:.0f} a second, p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"
    return Answer(f"searches by words of {SEARCHERS} clients", measured, "none", True)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exports", type=Path, required=True, help="folder of models that have learnt words")
    parser.add_argument("--name", default="fused", help="of the trained model (default fused)")
    parser.add_argument("--texts", nargs="+", default=TEXTS, help=f"default: {len(TEXTS)} such as {TEXTS[0]!r}")
    parser.add_argument("--calls", type=int, default=1000, help="at one client, each way (default 1000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of the load (default 8)")
    parser.add_argument("--child", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.exports = options.exports.resolve()
    if options.child:
        both_ways(options.child, options.calls, options.exports, options.name, options.texts)
        return 0
    missed = False
    print("| question | measured | bar | |\n| --- | --- | --- | --- |", flush=True)
    with serving(options.exports) as server:
        for ask in (one_client, many_clients):
            answer = ask(server, options)
            told = "met" if answer.met else "missed"
            print(f"| {answer.question} | {answer.measured} | {answer.bar} | {told} |", flush=True)
            missed |= not answer.met
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
