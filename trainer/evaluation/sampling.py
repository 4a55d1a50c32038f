"""Some rows of a table, where all would take too long."""

from __future__ import annotations

import numpy as np

from trainer.retrieval import EmbeddingTable

__all__ = ["sample_rows"]


def sample_rows(table: EmbeddingTable, most: int, seed: int) -> EmbeddingTable:
    """The table itself where it has no more than `most` rows; else so many of them, drawn by the seed, in its order."""
    if len(table) <= most:
        return table
    return table.select(np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False)))
