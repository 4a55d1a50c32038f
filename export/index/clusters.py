"""The lists of an inverted file: which rows lie near each other."""

from __future__ import annotations

import numpy as np

from export.index.filling import unit_chunks
from export.table_rows import TableRows

__all__ = ["assign_lists", "nearest_lists", "needed_probes", "sample_rows", "train_centroids"]

BATCH = 4096
PASSES = 20
NEIGHBOURS = 10


def sample_rows(rows: TableRows, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some rows, chosen at random, in their order.

    Args:
        rows: N rows.
        size: how many; all where there are fewer.
        seed: of the choice.

    Returns:
        Row numbers int64 `[n]` and unit vectors float32 `[n, D]`.
    """
    size = min(size, rows.count)
    chosen = np.sort(np.random.default_rng(seed).choice(rows.count, size, replace=False))
    sample = np.empty((size, rows.dimension), dtype=np.float32)
    for start, vectors in unit_chunks(rows):
        first, last = np.searchsorted(chosen, [start, start + len(vectors)])
        sample[first:last] = vectors[chosen[first:last] - start]
    return chosen, sample


def train_centroids(sample: np.ndarray, lists: int, seed: int) -> np.ndarray:
    """Mini-batch k-means on the sphere (Sculley, "Web-scale k-means clustering", 2010).

    Args:
        sample: unit vectors `[n, D]`, at least as many as lists.
        lists: L.
        seed: of its start.

    Returns:
        Unit vectors float32 `[L, D]`.
    """
    from sklearn.cluster import MiniBatchKMeans

    batch = min(max(BATCH, 2 * lists), len(sample))
    # A random start with a fixed number of passes needs as few probes as full k-means, and less time than k-means++;
    # stopping early costs probes.
    means = MiniBatchKMeans(
        n_clusters=lists,
        init="random",
        batch_size=batch,
        init_size=max(batch, 3 * lists),
        max_iter=PASSES,
        max_no_improvement=None,
        n_init=1,
        random_state=seed,
    )
    centres = means.fit(sample).cluster_centers_.astype(np.float32)
    norms = np.linalg.norm(centres, axis=1, keepdims=True)
    # Opposite vectors can average to nothing; such a list is near to none and stays empty or nearly so.
    return centres / np.where(norms > 0, norms, 1)


def nearest_lists(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The list of each vector, int32 `[n]`: that of the most similar centroid, the first among equals."""
    return (vectors @ centroids.T).argmax(axis=1).astype(np.int32)


def assign_lists(rows: TableRows, centroids: np.ndarray) -> np.ndarray:
    """The list of every row, int32 `[N]`."""
    lists = np.empty(rows.count, dtype=np.int32)
    for start, vectors in unit_chunks(rows):
        lists[start : start + len(vectors)] = nearest_lists(vectors, centroids)
    return lists


def needed_probes(queries: np.ndarray, neighbour_lists: np.ndarray, centroids: np.ndarray, recall: float) -> int:
    """How many lists must be looked into so that the mean recall over some queries reaches what is asked for.

    Args:
        queries: unit vectors `[Q, D]`.
        neighbour_lists: int `[Q, n]`, the lists that hold the true neighbours of each; -1 for none.
        centroids: `[L, D]`.
        recall: 0 to 1.

    Returns:
        1 to L.
    """
    order = np.argsort(-(queries @ centroids.T), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(centroids))[None, :], axis=1)
    found = np.sort(np.take_along_axis(ranks, np.maximum(neighbour_lists, 0), axis=1)[neighbour_lists >= 0])
    if not len(found):
        return 1
    return int(found[min(max(int(np.ceil(recall * len(found))), 1), len(found)) - 1]) + 1
