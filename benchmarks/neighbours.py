"""How long exact neighbours and their metrics take, and how much memory, as the catalogue grows.

    python -m benchmarks.neighbours --rows 20000
    python -m benchmarks.neighbours --rows 100000 --limit-gib 2

Every size runs in a process of its own, so that its peak is its own; the peak is that of the whole process, tables
included. With `--limit-gib` the exit code is 1 where a process needed more.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from trainer.retrieval import EmbeddingTable, find_neighbours, retrieval_metrics

ROOT = Path(__file__).resolve().parents[1]
GIB_IN_KIB = 2**20  # ru_maxrss counts KiB on Linux


def random_table(rows: int, dimension: int, classes: int) -> EmbeddingTable:
    """Classes as clusters on the sphere, so that the neighbours are not all equally far."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, dimension), dtype=np.float32)
    vectors = rng.standard_normal((rows, dimension), dtype=np.float32)
    for start in range(0, rows, 8192):
        vectors[start : start + 8192] += 0.5 * centres[labels[start : start + 8192]]
    return EmbeddingTable(np.arange(rows).astype(str), vectors, {"label": labels.astype(str)})


def measure(job: str, rows: int, dimension: int, k: int) -> None:
    """Runs one job and prints `seconds peak_gib answer`."""
    table = random_table(rows, dimension, classes=140)
    started = time.perf_counter()
    if job == "neighbours":
        result = find_neighbours(table, table, k, exclude=np.arange(rows), progress=True)
        answer = f"mean similarity {result.scores.mean():.4f}"
    else:
        metrics = retrieval_metrics(table, table, (1, 5, k), same_table=True, progress=True)
        answer = f"hit_rate@1 {metrics['hit_rate@1']:.4f}, map@r {metrics['map@r']:.4f}"
    seconds = time.perf_counter() - started
    print(f"{seconds} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB_IN_KIB} {answer}")


def main() -> int:
    """Prints one table: a row a job and a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[5000, 20000], help="sizes of the catalogue")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--k", type=int, default=10, help="neighbours per query")
    parser.add_argument("--jobs", nargs="+", default=["neighbours", "metrics"], choices=["neighbours", "metrics"])
    parser.add_argument("--limit-gib", type=float, help="fail where a process needs more memory than this")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.jobs[0], options.rows[0], options.dimension, options.k)
        return 0
    print(f"{'job':<10}  {'queries x gallery x D':>24}  {'seconds':>8}  {'peak GiB':>8}  answer")
    worst = 0.0
    for job in options.jobs:
        for rows in options.rows:
            size = ["--rows", str(rows), "--dimension", str(options.dimension), "--k", str(options.k)]
            command = [sys.executable, "-m", "benchmarks.neighbours", "--child", "--jobs", job, *size]
            child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            seconds, peak, answer = child.stdout.strip().split(" ", 2)
            worst = max(worst, float(peak))
            shape = f"{rows:,} x {rows:,} x {options.dimension}"
            print(f"{job:<10}  {shape:>24}  {float(seconds):>8.1f}  {float(peak):>8.2f}  {answer}", flush=True)
    if options.limit_gib is not None and worst > options.limit_gib:
        print(f"the limit is {options.limit_gib} GiB, the peak was {worst:.2f} GiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
