"""How fast the exported lookup compares with every row, beside FAISS and beside the bare product of matrices.

    python -m benchmarks.lookup
    python -m benchmarks.lookup --rows 100000 --repeats 5

Ours is measured through the signature of a loaded SavedModel: from an embedding to ids and scores. The bare product is
`tf.matmul` over the same variable, the faster of its two orientations, without any selection. Random unit vectors.
FAISS runs `IndexFlatIP` on as many threads as there are cores. Medians of turns; every figure of a table is of one run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import faiss
import numpy as np
import tensorflow as tf

from benchmarks.exported_lookup import indexed, loaded, medians, recall, unit

BARS = {1: 1.5, 8: 2.0, 64: 5.0}
RECALL_QUERIES = 200


def exported(vectors: np.ndarray, settings: dict[str, str], k: int) -> Any:
    """The lookup over the vectors, saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        return loaded(*indexed(vectors, settings), k, Path(folder) / "lookup")


def bare_products(vectors: tf.Variable) -> list[Any]:
    """Both orientations of the product alone."""
    spec = [tf.TensorSpec([None, vectors.shape[1]], tf.float32)]
    return [
        tf.function(lambda asked: tf.matmul(asked, vectors, transpose_b=True), input_signature=spec),
        tf.function(lambda asked: tf.matmul(vectors, asked, transpose_b=True), input_signature=spec),
    ]


def all_sides(
    models: dict[str, Any], flat: Any, products: list[Any], queries: np.ndarray, k: int
) -> dict[str, Callable[[], Any]]:
    """What takes turns: our indexes, FAISS and the bare products, each answering the same queries."""
    asked = tf.constant(queries)
    sides: dict[str, Callable[[], Any]] = {
        name: lambda model=model: model.signatures["lookup"](embedding=asked)["ids"].numpy()
        for name, model in models.items()
    }
    sides["FAISS"] = lambda: flat.search(queries, k)
    for number, product in enumerate(products):
        # One value is waited for; reading all of them would copy them.
        sides[f"bare {number}"] = lambda product=product: product(asked)[0, 0].numpy()
    return sides


def rows_found(model: Any, queries: np.ndarray) -> np.ndarray:
    """Row numbers, which are the ids here."""
    parts = [model.signatures["lookup"](embedding=tf.constant(part))["ids"].numpy() for part in np.split(queries, 10)]
    return np.concatenate(parts).astype(np.int64)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--repeats", type=int, default=15, help="turns of every side")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((options.rows, options.dimension), dtype=np.float32))
    queries = unit(random.standard_normal((max(RECALL_QUERIES, *options.batches), options.dimension), dtype=np.float32))
    models = {name: exported(vectors, {"dtype": name}, options.k) for name in ("float32", "bfloat16", "int8")}
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    flat = faiss.IndexFlatIP(options.dimension)
    flat.add(vectors)
    del vectors
    true = flat.search(queries[:RECALL_QUERIES], options.k)[1]
    found = {name: recall(rows_found(model, queries[:RECALL_QUERIES]), true) for name, model in models.items()}
    products = bare_products(models["float32"].index.vectors)
    print(f"{options.rows:,} x {options.dimension}, K = {options.k}, {os.cpu_count()} cores, milliseconds")
    print(
        f"{'batch':>5} {'index':<9} {'ours':>8} {'FAISS':>8} {'times':>6} {'bar':>4} {'bare':>8} {'of bare':>8} "
        f"{'of float32':>10} {'recall':>7}"
    )
    for batch in options.batches:
        sides = all_sides(models, flat, products, queries[:batch], options.k)
        taken = medians(sides, options.repeats)
        bare = min(taken["bare 0"], taken["bare 1"])
        for name in models:
            bar = f"{BARS[batch]:.1f}" if name == "float32" and batch in BARS else ""
            print(
                f"{batch:>5} {name:<9} {taken[name]:>8.1f} {taken['FAISS']:>8.1f} {taken['FAISS'] / taken[name]:>6.2f} "
                f"{bar:>4} {bare:>8.1f} {taken[name] / bare:>8.2f} {taken['float32'] / taken[name]:>10.2f} "
                f"{found[name]:>7.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
