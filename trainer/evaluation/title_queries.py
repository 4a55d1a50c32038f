"""Finding a product by its title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.data.items import LABEL
from trainer.evaluation.intervals import bootstrap_intervals
from trainer.evaluation.zero_shot import EmbedTexts
from trainer.retrieval import EmbeddingTable
from trainer.retrieval.similarity import CosineBlocks

__all__ = ["title_queries"]

CELLS = 4_194_304
"""So many similarities are held at a time."""


def title_queries(
    items: EmbeddingTable, title: str, ks: Sequence[int], embed_texts: EmbedTexts, *, resamples: int
) -> dict[str, Any] | None:
    """How soon the title of each item finds that item among all of them.

    Args:
        items: N pictures, with the attribute `title`; those that have it empty are looked among, not for.
        title: name of that attribute.
        ks: the K of recall@K: the share of titles whose item is among the K nearest pictures.
        embed_texts: see `EmbedTexts`.
        resamples: of the intervals; 0 for none.

    Returns:
        `attribute`, `queries` (items with a title), `gallery` (all items), `shared` (queries whose title another item
        has too, so that not all of them can come first), and `rows` of `right`, `recall@K`, `median_rank` (the lower of
        two) and `intervals`: where only the item itself is right (`item`), and where any item of the same title is
        (`same title`). None where no item has a title. Equal similarities rank by row.

    Raises:
        InputError: texts and pictures are not in one space: their dimensions differ.
    """
    titles = items.attributes[title]
    asked = np.flatnonzero(titles != "")
    if not asked.size:
        return None
    texts, which, counts = np.unique(titles[asked], return_inverse=True, return_counts=True)
    ranks = _ranks(embed_texts(texts.tolist())[which], items, asked)
    of_title = np.full(len(texts), len(items), dtype=np.int64)
    np.minimum.at(of_title, which, ranks)
    return {
        "attribute": title,
        "queries": len(asked),
        "gallery": len(items),
        "shared": int((counts[which] > 1).sum()),
        "rows": [
            {"right": right, **_row(found, ks, resamples)}
            for right, found in (("item", ranks), ("same title", of_title[which]))
        ],
    }


def _ranks(vectors: np.ndarray, items: EmbeddingTable, wanted: np.ndarray) -> np.ndarray:
    """`[Q]` int64: the place, from 1, of the item `wanted[q]` among all items by similarity to `vectors[q]`."""
    queries = EmbeddingTable(items.ids[wanted], vectors, {LABEL: items.labels[wanted]})
    blocks = CosineBlocks(queries, items, None)
    ranks = np.empty(len(wanted), dtype=np.int64)
    step = max(1, CELLS // len(items))
    for start in range(0, len(wanted), step):
        rows = slice(start, min(start + step, len(wanted)))
        scores = blocks.scores(blocks.unit_queries(rows), rows, 0, len(items))
        own = wanted[rows, None]
        score = np.take_along_axis(scores, own, axis=1)
        before = (scores > score) | ((scores == score) & (np.arange(len(items)) < own))
        ranks[rows] = 1 + before.sum(axis=1)
    return ranks


def _row(ranks: np.ndarray, ks: Sequence[int], resamples: int) -> dict[str, Any]:
    values = {f"recall@{k}": (ranks <= k).astype(np.float64) for k in ks}
    row: dict[str, Any] = {name: float(value.mean()) for name, value in values.items()}
    row["median_rank"] = int(np.quantile(ranks, 0.5, method="lower"))
    if resamples:
        row["intervals"] = bootstrap_intervals(values, resamples=resamples)
    return row
