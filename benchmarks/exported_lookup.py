"""What the benchmarks of lookups share: exporting one, timing sides in turns, and recall."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.config import IndexConfig
from export.index import Index, build_index
from export.lookup import Lookup
from export.table_rows import TableRows

__all__ = ["indexed", "loaded", "medians", "recall", "unit"]

TURN = 0.03
"""Seconds that a turn lasts at least."""


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows brought to unit length, in place."""
    for start in range(0, len(vectors), 65536):
        part = vectors[start : start + 65536]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def indexed(vectors: np.ndarray, settings: Mapping[str, Any]) -> tuple[TableRows, Index]:
    """Rows named by their numbers, and the index over them."""
    rows = TableRows.from_arrays(np.arange(len(vectors)).astype(str), vectors, {})
    index = build_index(IndexConfig(**settings))
    index.index(rows)
    return rows, index


def loaded(rows: TableRows, index: Index, k: int, folder: Path) -> Any:
    """Saved as a SavedModel and loaded again: what a server has."""
    lookup = Lookup(rows, index, top_k=k, filterable=(), fingerprint="", table_fingerprint="")
    tf.saved_model.save(lookup, str(folder), signatures=lookup.signatures())
    return tf.saved_model.load(str(folder))


def medians(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of one call of each side.

    The sides take turns, since a machine's speed drifts. Before each turn the threads of the last one get time to fall
    asleep. What is short is called several times in one turn, and the mean of these counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(repeats):
        for name, side in sides.items():
            time.sleep(0.02)
            calls, begun = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - begun < TURN:
                side()
                calls += 1
            seconds[name].append((time.perf_counter() - begun) / calls)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true neighbours `[Q, K]` that were found `[Q, K]`."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)]))
