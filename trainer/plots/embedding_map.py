"""The embedding space, flattened to two or three dimensions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from matplotlib.collections import PathCollection
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from trainer.errors import InputError
from trainer.plots.style import MARKERS, MUTED, PALETTE, canvas, shortened, strip
from trainer.retrieval.table import EmbeddingTable

__all__ = ["Method", "plot_embedding_map", "project", "unit"]

Method = Literal["pca", "tsne"]

# t-SNE takes about 10 s for these in either case; in three dimensions more points hide each other anyway.
SAMPLE = {("pca", 2): 10_000, ("pca", 3): 5_000, ("tsne", 2): 2_000, ("tsne", 3): 1_000}
PERPLEXITY = 30


def plot_embedding_map(
    table: EmbeddingTable,
    path: str | os.PathLike[str],
    *,
    method: Method = "pca",
    dimensions: int = 2,
    attribute: str = "label",
    seed: int = 0,
) -> Path:
    """A point a picture, a colour and a marker a class; near points are meant to be similar pictures.

    PCA keeps large distances and is linear; t-SNE keeps neighbourhoods only: gaps and sizes of its clusters say little
    (L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", JMLR 2008). Vectors are scaled to unit length first,
    as the search compares them.

    Args:
        table: N rows. Of more than 10,000 for PCA (5,000 in 3-D) or 2,000 for t-SNE (1,000) a sample is shown.
        path: the PNG to write.
        method: "pca", or "tsne" on the first 50 principal components.
        dimensions: 2 or 3.
        attribute: what the colours tell. The ten most frequent values have their own, the rest is grey.
        seed: of the sample and of t-SNE; the same seed gives the same picture.

    Returns:
        The path.

    Raises:
        InputError: the method, the dimensions or the attribute is not known, or the table has fewer than 4 rows or
            fewer dimensions than the map.
    """
    _check(table, method, dimensions, attribute)
    rows = np.arange(len(table))
    most = SAMPLE[method, dimensions]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False))
    points, axis_names = project(unit(table.vectors[rows]), method, dimensions, seed)
    classes = table.attributes[attribute][rows].astype(np.str_)
    with canvas(path, 9.5, 7) as figure:
        axes = figure.add_subplot(projection="3d" if dimensions == 3 else None)
        _scatter(axes, points, classes)
        _label(axes, axis_names, method)
        sampled = f"{len(rows):,} of {len(table):,}" if len(rows) < len(table) else f"{len(rows):,}"
        title = f"{'PCA' if method == 'pca' else 't-SNE'} of {sampled} embeddings, by {attribute}"
        figure.suptitle(title, x=0.01, horizontalalignment="left")
        legend = figure.legend(loc="outside right upper", title=attribute, alignment="left")
        for handle in legend.legend_handles:
            cast(PathCollection, handle).set_sizes([40])
    return Path(path)


def _check(table: EmbeddingTable, method: str, dimensions: int, attribute: str) -> None:
    if (method, dimensions) not in SAMPLE:
        raise InputError(f"expected 'pca' or 'tsne' in 2 or 3 dimensions, received {method!r} in {dimensions}")
    if attribute not in table.attributes:
        raise InputError(f"expected an attribute among {sorted(table.attributes)}, received {attribute!r}")
    if len(table) < 4 or table.dimension < dimensions:
        raise InputError(
            f"expected at least 4 embeddings of at least {dimensions} dimensions for a map, "
            f"received {len(table)} of {table.dimension}"
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[N, D]` brought to unit length, as the search compares them; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


def project(vectors: np.ndarray, method: Method, dimensions: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """A map of vectors.

    Args:
        vectors: `[N, D]` of unit length, N at least 4.
        method: "pca", or "tsne" on the first 50 principal components.
        dimensions: of the map, 2 or 3.
        seed: of t-SNE; the same seed gives the same map.

    Returns:
        `[N, dimensions]` points, and what their axes are called; no names where they carry no scale.
    """
    if not np.ptp(vectors, axis=0).any():  # a collapsed model: there is no variance to take shares of
        return np.zeros((len(vectors), dimensions)), [f"component {at + 1}" for at in range(dimensions)]
    if method == "pca":
        pca = PCA(dimensions, random_state=seed)
        points = pca.fit_transform(vectors)
        shares = pca.explained_variance_ratio_
        return points, [f"component {at + 1} ({share:.0%} of variance)" for at, share in enumerate(shares)]
    reduced = PCA(min(50, *vectors.shape), random_state=seed).fit_transform(vectors)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(dimensions, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    # With several threads its sums differ from run to run and so does the picture; and while other work shares the
    # cores, waiting for each other makes them slower than one.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(reduced), []


def _scatter(axes: Any, points: np.ndarray, classes: np.ndarray) -> None:
    names, counts = np.unique(classes, return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]
    shown = names[: len(PALETTE)]
    rest = ~np.isin(classes, shown)
    size = float(np.clip(12_000 / len(points), 6, 28))
    for name, colour, marker in zip(shown, PALETTE, MARKERS, strict=False):
        chosen = points[classes == name]
        label = shortened(str(name) or "(none)")
        axes.scatter(*chosen.T, s=size, color=colour, marker=marker, alpha=0.8, linewidths=0, label=label, zorder=3)
    if rest.any():
        label = f"other ({len(names) - len(shown)})"
        axes.scatter(*points[rest].T, s=size * 0.7, color=MUTED, alpha=0.5, linewidths=0, label=label, zorder=2)


def _label(axes: Any, names: list[str], method: Method) -> None:
    if method == "tsne":  # its coordinates carry no scale
        if axes.name == "3d":
            axes.set(xticklabels=[], yticklabels=[], zticklabels=[])
        else:
            strip(axes)
        return
    axes.set(xlabel=names[0], ylabel=names[1])
    if len(names) == 3:
        axes.set(zlabel=names[2])
        axes.locator_params(nbins=5)
    else:
        axes.set_aspect("equal", adjustable="datalim")
