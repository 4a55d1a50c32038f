"""How fast the exported inverted file is beside FAISS's `IndexIVFFlat`, with as many lists, at the same recall.

    python -m benchmarks.ivf
    python -m benchmarks.ivf --rows 100000 --lists 316

The vectors are overlapping clusters of few dimensions, as learned embeddings are: Gaussian centres and Gaussian rows
about them of the same spread, both of `--intrinsic` dimensions, turned into the space of D, and a tenth of noise in all
of its dimensions. Queries are drawn in the same way and are no rows. Both sides train on their own, with 128 rows a
list, and look into the fewest lists with which recall@10 reaches the bar. Ours is measured through the signature of a
loaded SavedModel; FAISS runs on as many threads as there are cores. Medians of turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import faiss
import numpy as np
import tensorflow as tf

from benchmarks.exported_lookup import indexed, loaded, medians, recall, unit
from export.index.ivf import SAMPLE, IvfIndex

K = 10
QUERIES = 512


def clustered(rows: int, dimension: int, clusters: int, intrinsic: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors `[rows, D]` and queries `[QUERIES, D]` of the same clusters."""
    random = np.random.default_rng(0)
    plane = random.standard_normal((intrinsic, dimension), dtype=np.float32) / np.float32(np.sqrt(intrinsic))
    centres = random.standard_normal((clusters, intrinsic), dtype=np.float32)
    both = random.standard_normal((rows + QUERIES, dimension), dtype=np.float32)
    both *= 0.1
    for start in range(0, len(both), 65536):
        part = both[start : start + 65536]
        around = random.standard_normal((len(part), intrinsic), dtype=np.float32)
        part += (centres[random.integers(0, clusters, len(part))] + around) @ plane
    unit(both)
    return both[:rows], both[rows:]


def fewest(search: Callable[[int], np.ndarray], true: np.ndarray, bar: float, most: int) -> tuple[int, float]:
    """The fewest lists that reach the bar, and the recall reached."""
    for probes in range(1, most + 1):
        reached = recall(search(probes), true)
        if reached >= bar:
            break
    return probes, reached


def ours(vectors: np.ndarray, queries: np.ndarray, true: np.ndarray, lists: int, bar: float) -> tuple[Any, int, float]:
    """The loaded lookup, its lists to look into and its recall."""
    rows, index = indexed(vectors, {"type": "ivf", "lists": lists})
    assert isinstance(index, IvfIndex)

    def search(probes: int) -> np.ndarray:
        index.nprobe = probes
        return index(tf.constant(queries), K)[1].numpy()

    probes, reached = fewest(search, true, bar, lists)
    with tempfile.TemporaryDirectory() as folder:
        return loaded(rows, index, K, Path(folder) / "lookup"), probes, reached


def theirs(vectors: np.ndarray, queries: np.ndarray, true: np.ndarray, lists: int, bar: float) -> tuple[Any, float]:
    """FAISS's index, set to look into as many lists as it needs, and its recall."""
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[np.sort(np.random.default_rng(1).permutation(len(vectors))[: SAMPLE * lists])])
    index.add(vectors)

    def search(probes: int) -> np.ndarray:
        index.nprobe = probes
        return index.search(queries, K)[1]

    return index, fewest(search, true, bar, lists)[1]


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--lists", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--intrinsic", type=int, default=32, help="dimensions that the clusters have")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--repeats", type=int, default=51, help="turns of every side")
    options = parser.parse_args()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    vectors, queries = clustered(options.rows, options.dimension, options.clusters, options.intrinsic)
    with tempfile.TemporaryDirectory() as folder:
        exact = loaded(*indexed(vectors, {}), K, Path(folder) / "lookup")
    asked = tf.constant(queries)
    true = exact.signatures["lookup"](embedding=asked)["ids"].numpy().astype(np.int64)
    begun = time.perf_counter()
    model, probes, reached = ours(vectors, queries, true, options.lists, options.recall)
    trained = time.perf_counter() - begun
    begun = time.perf_counter()
    peer, peer_reached = theirs(vectors, queries, true, options.lists, options.recall)
    print(
        f"{options.rows:,} x {options.dimension} in {options.clusters:,} clusters, K = {K}, {options.lists} lists, "
        f"{os.cpu_count()} cores, milliseconds\n"
        f"ours looks into {probes} lists, recall {reached:.4f}; FAISS into {peer.nprobe}, recall {peer_reached:.4f}\n"
        f"training, filling and saving: {trained:.0f} s; FAISS {time.perf_counter() - begun:.0f} s"
    )
    print(f"{'batch':>5} {'ours':>8} {'FAISS':>8} {'times':>6} {'exact':>8} {'of exact':>8}")
    for batch in options.batches:
        part = tf.constant(queries[:batch])
        taken = medians(
            {
                "ours": lambda part=part: model.signatures["lookup"](embedding=part)["ids"].numpy(),
                "FAISS": lambda batch=batch: peer.search(queries[:batch], K),
                "exact": lambda part=part: exact.signatures["lookup"](embedding=part)["ids"].numpy(),
            },
            options.repeats,
        )
        print(
            f"{batch:>5} {taken['ours']:>8.2f} {taken['FAISS']:>8.2f} {taken['FAISS'] / taken['ours']:>6.2f} "
            f"{taken['exact']:>8.1f} {taken['exact'] / taken['ours']:>8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
