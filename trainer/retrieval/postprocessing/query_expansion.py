"""Asking again with what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.preprocessing import normalize

from trainer.errors import InputError
from trainer.retrieval.postprocessing.search import Search

__all__ = ["QueryExpansion"]

CHUNK = 1024


@dataclass(frozen=True)
class QueryExpansion:
    """Asks again with the weighted mean of each query and its nearest neighbours, at unit length.

    `q + sum over its n nearest g of max(cos(q, g), 0)^alpha g`, all of unit length. The neighbours are those of the
    search that is given: after a `Reranking`, the re-ranked ones.

    Cost: a second search, and O(n D) a query. A server needs the table's vectors at hand beside the index, and searches
    twice; nothing is stored.

    Args:
        neighbours: n; 0 leaves the search as it is. Where the search is shallower, its depth.
        alpha: 0 weighs all alike (average query expansion); the higher, the less the far ones count. Default 0.

    Raises:
        InputError: either is negative.

    Source: O. Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for Object
    Retrieval", ICCV 2007 (average); F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human
    Annotation", TPAMI 2018 (alpha).
    """

    neighbours: int
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.neighbours < 0 or not 0 <= self.alpha < np.inf:
            raise InputError(
                f"expected 0 or more neighbours and an alpha of at least 0, received {self.neighbours} and {self.alpha}"
            )

    def __call__(self, search: Search) -> Search:
        """The search by the expanded queries, ranked anew by cosine similarity."""
        if self.neighbours == 0:
            return search
        found = search.nearest(self.neighbours)
        expanded = normalize(search.queries.vectors)
        for start in range(0, len(expanded), CHUNK):
            chunk = slice(start, start + CHUNK)
            rows = found.rows[chunk]
            nearest = normalize(search.gallery.vectors[rows.ravel()]).reshape(*rows.shape, -1)
            similarity = np.einsum("qd,qnd->qn", expanded[chunk], nearest)
            expanded[chunk] += np.einsum("qn,qnd->qd", np.maximum(similarity, 0.0) ** self.alpha, nearest)
        queries = replace(search.queries, vectors=normalize(expanded))
        return replace(search, queries=queries, ranked=None)
