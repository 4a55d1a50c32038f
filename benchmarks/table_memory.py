"""How much memory exporting and serving a table take, against its size.

    python -m benchmarks.table_memory
    python -m benchmarks.table_memory --rows 5000000 --indexes float32 --limits 2.0 1.3

Each runs in a process of its own, and its peak is compared with that of a process that does the same with one row: the
difference is the table's share, the other is what TensorFlow takes. Exporting reads the rows from Parquet, indexes and
saves them; serving loads the SavedModel and answers batches of 1, 8 and 64. The size of a table is that of all its
variables, so small copies and lists count. With `--limits` the exit code is 1 where a share is greater than so many
times the size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export.table_rows import TableChunk, TableRows

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 8192
MIB = 2**20
INDEXES = ("float32", "bfloat16", "int8", "ivf")


def random_rows(count: int, dimension: int) -> TableRows:
    """Rows that exist a chunk at a time only, with one attribute."""

    def read() -> Iterator[TableChunk]:
        random = np.random.default_rng(0)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            ids = np.array([f"item-{row}" for row in range(start, start + size)], dtype=object)
            labels = np.array([f"label {row % 100}" for row in range(size)], dtype=object)
            yield TableChunk(ids, random.standard_normal((size, dimension), dtype=np.float32), {"label": labels})

    return TableRows(count, dimension, ("label",), read)


def peak() -> float:
    """MiB: the most this process has had in memory. Not `ru_maxrss`, which begins with the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def export(table: Path, folder: Path, index_name: str) -> None:
    """Exports, and prints the peak and the size of the variables in MiB."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import tensorflow as tf

    from export.config import IndexConfig
    from export.index import build_index
    from export.lookup import Lookup

    rows = TableRows.from_parquet(table, ["label"])
    settings = {"type": "ivf"} if index_name == "ivf" else {"dtype": index_name}
    index = build_index(IndexConfig(**settings))
    index.index(rows)
    fingerprint = rows.fingerprint()
    lookup = Lookup(rows, index, top_k=50, filterable=["label"], fingerprint="", table_fingerprint=fingerprint)
    tf.saved_model.save(lookup, str(folder), signatures=lookup.signatures())
    size = sum(variable.shape.num_elements() * (variable.dtype.size or 1) for variable in lookup.variables)
    print(peak(), size / MIB, (folder / "saved_model.pb").stat().st_size / MIB)


def serve(folder: Path, dimension: int) -> None:
    """Loads and answers, and prints the peak in MiB."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    for batch in (1, 8, 64):
        asked = tf.random.stateless_normal((batch, dimension), seed=(0, 1))
        model.signatures["lookup"](embedding=asked)
        model.signatures["lookup_filtered"](embedding=asked, label=tf.fill([batch], "label 3"))
    print(peak(), 0, 0)


def child(*arguments: str) -> list[float]:
    """What a process that runs one of these printed."""
    command = [sys.executable, "-m", "benchmarks.table_memory", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return [float(value) for value in ended.stdout.split()]


def measure(rows: int, dimension: int, index_name: str, folder: Path) -> tuple[float, float, float, float]:
    """Peaks of exporting and of serving, and sizes of the variables and of the graph, in MiB."""
    table = random_rows(rows, dimension).write_parquet(folder / f"{rows}.parquet")
    saved = folder / f"{rows}-{index_name}"
    common = ["--dimension", str(dimension), "--indexes", index_name, "--table", str(table), "--saved", str(saved)]
    exporting, size, graph = child("--child", "export", *common)
    return exporting, child("--child", "serve", *common)[0], size, graph


def main() -> int:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("--limits", type=float, nargs=2, help="of exporting and of serving")
    for hidden in ("--child", "--table", "--saved"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "export":
        export(Path(options.table), Path(options.saved), options.indexes[0])
        return 0
    if options.child == "serve":
        serve(Path(options.saved), options.dimension)
        return 0
    failed = False
    print(f"{options.rows:,} x {options.dimension}, {os.cpu_count()} cores, MiB")
    print(f"{'index':<9} {'table':>7} {'graph':>6} {'what':<10} {'peak':>7} {'one row':>8} {'share / table':>13}")
    for index_name in options.indexes:
        with tempfile.TemporaryDirectory() as folder:
            *constants, _, _ = measure(1, options.dimension, index_name, Path(folder))
            *peaks, size, graph = measure(options.rows, options.dimension, index_name, Path(folder))
        limits = options.limits or (np.inf, np.inf)
        for what, most, least, limit in zip(("exporting", "serving"), peaks, constants, limits, strict=True):
            share = (most - least) / size
            failed |= share > limit
            print(
                f"{index_name:<9} {size:>7.0f} {graph:>6.2f} {what:<10} {most:>7.0f} {least:>8.0f} {share:>13.2f}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
