"""Quality against the width of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.config import Config
from trainer.data.items import SPLIT, TRAIN
from trainer.evaluation.analyses import Evaluated
from trainer.evaluation.sampling import sample_rows
from trainer.retrieval.postprocessing import Search, Truncation, Whitening

__all__ = ["QUERIES", "SMALLEST", "dimensions"]

QUERIES = 4_000
"""More queries are measured by as many of them, against the whole gallery; more training items likewise fitted on."""

SMALLEST = 32
"""Where the powers of two begin that are measured if the configuration names no dimensions."""


def dimensions(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Rows for each of `model.dimensions`, else the powers of two from `SMALLEST`, below the embeddings' own width, and
    for that.

    Two methods: `truncation` to the first so many numbers, which is what Matryoshka training is for, and `pca`, the
    principal axes of the training split's embeddings, which any embedding can be given. At full width there is only
    the first, which changes nothing, and no PCA to more dimensions than the training split has other items.

    Returns:
        Rows of `dimension`, `method`, `bytes` (of a float32 row of the table), `queries`, `queries_without_match`, and
        the mean of every metric; None where no query counts.
    """
    config, table = evaluated.config, evaluated.table
    queries = sample_rows(evaluated.queries, QUERIES, config.seed)
    search = Search(queries, evaluated.queries, same_table=True, depth=1)
    widths = _widths(config, table.dimension)
    turned = _turned(evaluated, search, widths)
    rows = []
    for width in widths:
        rows.append(_row(config, "truncation", Truncation(width)(search)))
        if turned is not None and width <= turned.gallery.dimension:
            rows.append(_row(config, "pca", Truncation(width)(turned)))
    rows.append(_row(config, "truncation", search))
    return rows


def _widths(config: Config, full: int) -> list[int]:
    """The dimensions to measure below the full one, rising."""
    below = config.model.dimensions or [2**power for power in range(SMALLEST.bit_length() - 1, 31)]
    return [width for width in below if width < min(full, config.model.embedding_dim)]


def _turned(evaluated: Evaluated, search: Search, widths: Sequence[int]) -> Search | None:
    """The search along the principal axes, as many as are needed and the training split has; None where it has none."""
    train = evaluated.table.attributes[SPLIT] == TRAIN
    axes = min(max(widths, default=0), int(train.sum()) - 1)
    if axes < 1:
        return None
    known = sample_rows(evaluated.table.select(train), QUERIES, evaluated.config.seed)
    return Whitening.fit(known, min(axes, len(known) - 1), strength=0.0)(search)


def _row(config: Config, method: str, search: Search) -> dict[str, Any]:
    facts = {"dimension": search.gallery.dimension, "method": method, "bytes": round(search.bytes_per_row)}
    return facts | search.measure(config.evaluate.ks, config.relevance).means()
