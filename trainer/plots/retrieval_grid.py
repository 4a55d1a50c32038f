"""Queries and what they found, as pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.items import IMAGE_PATH
from trainer.errors import InputError
from trainer.plots.picture_cell import show_picture
from trainer.plots.style import canvas, shortened
from trainer.retrieval.metrics import relevance
from trainer.retrieval.neighbours import RetrievalResult
from trainer.retrieval.table import EmbeddingTable

__all__ = ["plot_retrieval_grid"]


def plot_retrieval_grid(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    result: RetrievalResult,
    path: str | os.PathLike[str],
    *,
    k: int = 8,
    best: int = 3,
    worst: int = 3,
    random: int = 3,
    seed: int = 0,
) -> Path:
    """A row a query: its picture, then its nearest with label and similarity, framed green and solid where the label is
    the query's, red and dashed where it is not.

    The best queries are those with the most right neighbours, the most similar ones first; the worst those with the
    fewest, again the most similar first, since an error made with confidence teaches most; of each label one before any
    is shown twice. A query whose label no other gallery item carries cannot succeed: it is shown as a random one only.

    Args:
        queries: the table that `result.queries` counts in, with the attribute `image_path`.
        gallery: the table that `result.rows` counts in, with the attribute `image_path`.
        result: what was found.
        path: the PNG to write.
        k: how many neighbours to show, at most what the result holds.
        best: how many of the best queries.
        worst: how many of the worst.
        random: how many others, by chance.
        seed: of that chance.

    Returns:
        The path.

    Raises:
        InputError: `image_path` is missing, a picture is missing or cannot be read, or no query is asked for.
    """
    for name, table in (("queries", queries), ("gallery", gallery)):
        if IMAGE_PATH not in table.attributes:
            raise InputError(
                f"expected the {name} to have the attribute {IMAGE_PATH!r}, received {sorted(table.attributes)}"
            )
    right = relevance(result, queries, gallery)[:, :k]
    labels = np.where(_has_match(queries, gallery, result), queries.labels[result.queries], "")
    chosen = _choose(right, result.scores[:, :k], labels, best, worst, random, seed)
    if not chosen or not right.shape[1]:
        raise InputError(
            f"expected to show at least one query and one neighbour, received k={k} and {best}, {worst}, {random}"
        )
    columns = 1 + right.shape[1]
    with canvas(path, 1.15 * columns + 0.5, 1.5 * len(chosen) + 0.5, dpi=120) as figure:
        grid = figure.subplots(len(chosen), columns, squeeze=False)
        for line, (kind, at) in zip(grid, chosen, strict=True):
            query = result.queries[at]
            show_picture(line[0], str(queries.attributes[IMAGE_PATH][query]), f"{kind}\n{_name(queries, query)}")
            for rank, axes in enumerate(line[1:]):
                row = result.rows[at, rank]
                title = f"{result.scores[at, rank]:.3f}\n{_name(gallery, row)}"
                show_picture(axes, str(gallery.attributes[IMAGE_PATH][row]), title, bool(right[at, rank]))
        figure.suptitle("query, then its nearest: similarity and label; green solid is right, red dashed is wrong")
    return Path(path)


def _has_match(queries: EmbeddingTable, gallery: EmbeddingTable, result: RetrievalResult) -> np.ndarray:
    """`[Q]` booleans: whether a gallery item of another id carries the query's label."""
    names, counts = np.unique(gallery.labels, return_counts=True)
    carried = dict(zip(names.tolist(), counts.tolist(), strict=True))
    own = dict(zip(gallery.ids.tolist(), gallery.labels.tolist(), strict=True))
    asked = zip(queries.ids[result.queries].tolist(), queries.labels[result.queries].tolist(), strict=True)
    return np.array([carried.get(label, 0) > (own.get(identity) == label) for identity, label in asked], dtype=bool)


def _choose(
    right: np.ndarray, scores: np.ndarray, labels: np.ndarray, best: int, worst: int, random: int, seed: int
) -> list[tuple[str, int]]:
    """Which results to show, each once: ("best" | "worst" | "random", its place in the result).

    `labels` `[Q]` is empty for a query that cannot succeed.
    """
    places = np.arange(len(right))
    share, similarity = right.mean(axis=1), scores.mean(axis=1)
    fair = places[labels != ""]
    top = _varied(fair[np.lexsort((-similarity[fair], -share[fair]))], labels, best)
    # A query without an error is none of the worst, however few there are.
    failed = np.setdiff1d(fair[share[fair] < 1], top)
    bottom = _varied(failed[np.lexsort((-similarity[failed], share[failed]))], labels, worst)
    others = np.setdiff1d(places, np.concatenate([top, bottom]))
    drawn = np.random.default_rng(seed).permutation(others)[:random]
    named = (("best", top), ("worst", bottom), ("random", drawn))
    return [(kind, int(place)) for kind, chosen in named for place in chosen]


def _varied(ordered: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of some places in order, but the first of each label before the second of any."""
    turn = pd.Series(labels[ordered]).groupby(labels[ordered]).cumcount().to_numpy()
    return ordered[np.argsort(turn, kind="stable")][:count]


def _name(table: EmbeddingTable, row: int) -> str:
    return shortened(str(table.labels[row]), 16)
