"""How long all metrics of a catalogue against itself take, and how much memory, beside the plain ways to get them.

    python -m benchmarks.evaluation
    python -m benchmarks.evaluation --rows 100000 --sides ours --limit-seconds 240 --limit-gib 2

Hit rate, precision, recall and NDCG@K graded by three attributes, R-precision, MAP@R and MRR of every row, with few
classes (R = a tenth of the rows) and with many. The peers compute the same by their definitions, a batch of queries at
a time: `numpy` sorts every row of similarities; `faiss` takes the largest R nearest from `IndexFlatIP` on all cores
and looks for what they lack in the rows. Every side runs in a process of its own, in one run of this program; the
peak is that of the whole process, tables included. The last column is the largest difference to our means. The exit
code is 1 where ours takes more than a limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trainer.retrieval import EmbeddingTable, measure_queries

ROOT = Path(__file__).resolve().parents[1]
GIB_IN_KIB = 2**20  # ru_maxrss counts KiB on Linux
KS = (1, 5, 10)
WEIGHTS = {"label": 1.0, "gender": 0.5, "colour": 0.5}
BATCH = 256


def random_table(rows: int, dimension: int, classes: int) -> EmbeddingTable:
    """Classes as overlapping clusters on the sphere."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, dimension), dtype=np.float32)
    vectors = rng.standard_normal((rows, dimension), dtype=np.float32)
    for start in range(0, rows, 8192):
        vectors[start : start + 8192] += 0.3 * centres[labels[start : start + 8192]]
    attributes = {"gender": rng.integers(0, 5, rows).astype(str), "colour": rng.integers(0, 46, rows).astype(str)}
    return EmbeddingTable(np.arange(rows).astype(str), vectors, {"label": labels.astype(str), **attributes})


def ours(table: EmbeddingTable) -> dict[str, float]:
    """The means of this project."""
    means = measure_queries(table, table, KS, same_table=True, relevance=WEIGHTS, progress=True).means()
    return {name: float(value) for name, value in means.items() if value is not None}


def by_numpy(table: EmbeddingTable) -> dict[str, float]:
    """Whole rows sorted."""

    def orders() -> Iterator[np.ndarray]:
        unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
        for start in range(0, len(table), BATCH):
            scores = unit[start : start + BATCH] @ unit.T
            scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -np.inf
            yield np.argsort(-scores, axis=1, kind="stable")[:, :-1]

    return plain_means(table, orders())


def by_faiss(table: EmbeddingTable) -> dict[str, float]:
    """As many neighbours as the most frequent class has rows."""
    import faiss

    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(table.dimension)
    index.add(unit)
    deepest = max(int(np.unique(table.labels, return_counts=True)[1].max()), *KS) + 1

    def orders() -> Iterator[np.ndarray]:
        for start in range(0, len(table), BATCH):
            own = np.arange(start, min(start + BATCH, len(table)))
            _, found = index.search(unit[own], deepest)
            others = found != own[:, None]
            others[others.all(axis=1), -1] = False
            yield found[others].reshape(len(own), deepest - 1)

    return plain_means(table, orders())


def plain_means(table: EmbeddingTable, orders: Iterator[np.ndarray]) -> dict[str, float]:
    """The metrics by their definitions from `[q, D]` rows found, best first, for all rows in their order."""
    codes = {name: np.unique(table.attributes[name], return_inverse=True)[1] for name in WEIGHTS}
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    parts: list[dict[str, np.ndarray]] = []
    start = 0
    for order in orders:
        asked = np.arange(start, start + len(order))
        start += len(order)
        grades = sum(w * (codes[name] == codes[name][asked, None]) for name, w in WEIGHTS.items()) / sum(
            WEIGHTS.values()
        )
        same = codes["label"] == codes["label"][asked, None]
        grades[np.arange(len(asked)), asked], same[np.arange(len(asked)), asked] = 0, False
        total, rank = same.sum(axis=1), np.arange(1, order.shape[1] + 1)
        right = np.take_along_axis(same, order, axis=1)
        found, ideal = np.take_along_axis(grades, order[:, : max(KS)], axis=1), -np.sort(-grades, axis=1)[:, : max(KS)]
        discount = 1 / np.log2(np.arange(2, max(KS) + 2))
        values: dict[str, Any] = {}
        for k in KS:
            values[f"hit_rate@{k}"] = right[:, :k].any(axis=1)
            values[f"precision@{k}"] = right[:, :k].mean(axis=1)
            values[f"recall@{k}"] = right[:, :k].sum(axis=1) / np.maximum(total, 1)
            values[f"ndcg@{k}"] = (found[:, :k] @ discount[:k]) / np.maximum(ideal[:, :k] @ discount[:k], 1e-9)
        within = right & (rank <= total[:, None])
        values["r_precision"] = within.sum(axis=1) / np.maximum(total, 1)
        values["map@r"] = (within * right.cumsum(axis=1) / rank).sum(axis=1) / np.maximum(total, 1)
        first = right.argmax(axis=1) + 1
        missed = np.flatnonzero(~right.any(axis=1))
        scores = unit[asked[missed]] @ unit.T
        best = np.where(same[missed], scores, -np.inf).max(axis=1, keepdims=True)
        first[missed] = (scores > best).sum(axis=1)  # the query itself, which nothing is nearer to, is one of them
        values["mrr"] = 1 / np.maximum(first, 1)
        parts.append({name: value[total > 0] for name, value in values.items()})
    return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in parts[0]}


SIDES: dict[str, Callable[[EmbeddingTable], dict[str, float]]] = {"ours": ours, "numpy": by_numpy, "faiss": by_faiss}


def child(side: str, rows: int, dimension: int, classes: int) -> None:
    """Prints seconds, peak GiB and means as JSON."""
    table = random_table(rows, dimension, classes)
    started = time.perf_counter()
    means = SIDES[side](table)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB_IN_KIB, means]))


def main() -> int:
    """Prints one table: a row a side and a number of classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="queries, and items to find")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 500])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--limit-seconds", type=float, help="fail where ours takes longer than this")
    parser.add_argument("--limit-gib", type=float, help="fail where ours needs more memory than this")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.sides[0], options.rows, options.dimension, options.classes[0])
        return 0
    print(f"{options.rows:,} queries x {options.rows:,} items x {options.dimension}")
    print(f"{'classes':>7}  {'side':<6}  {'seconds':>8}  {'ratio':>6}  {'peak GiB':>8}  {'map@r':>7}  difference")
    failed = False
    for classes in options.classes:
        reference: tuple[float, dict[str, float]] | None = None
        for side in options.sides:
            size = ["--rows", str(options.rows), "--dimension", str(options.dimension), "--classes", str(classes)]
            command = [sys.executable, "-m", "benchmarks.evaluation", "--child", "--sides", side, *size]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            seconds, peak, means = json.loads(done.stdout)
            reference = reference or (seconds, means)
            apart = max(abs(value - reference[1][name]) for name, value in means.items())
            line = f"{classes:>7}  {side:<6}  {seconds:>8.1f}  {seconds / reference[0]:>6.2f}  {peak:>8.2f}"
            print(f"{line}  {means['map@r']:>7.4f}  {apart:.1e}", flush=True)
            slow = options.limit_seconds is not None and seconds > options.limit_seconds
            large = options.limit_gib is not None and peak > options.limit_gib
            failed |= side == "ours" and (slow or large)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
