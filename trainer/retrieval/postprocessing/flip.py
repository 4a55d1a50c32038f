"""Test-time augmentation by mirroring."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.preprocessing import normalize

from trainer.errors import InputError
from trainer.retrieval.neighbours import own_rows
from trainer.retrieval.postprocessing.search import Search
from trainer.retrieval.table import EmbeddingTable

__all__ = ["Flip"]


@dataclass(frozen=True, eq=False)
class Flip:
    """Replaces every embedding by the mean of those of the picture and of its mirror image, at unit length.

    Cost: the encoder runs twice on every picture; the search itself is as before. A server needs an encoder that does
    so (one graph, twice the time) and a table of such embeddings, which is no larger.

    Args:
        mirrored: embeddings of the mirrored pictures, under the ids of the pictures; may hold others, too.

    Source: the usual horizontal flip at test time, as in Krizhevsky, Sutskever, Hinton, "ImageNet Classification with
    Deep Convolutional Neural Networks", NIPS 2012, section 4.1, which averages predictions where this averages
    embeddings.
    """

    mirrored: EmbeddingTable = field(repr=False)

    def __call__(self, search: Search) -> Search:
        """The search by the mean embeddings.

        Raises:
            InputError: a picture has no mirrored embedding, or the dimensions differ.
        """
        return search.encoded(self.encode)

    def encode(self, table: EmbeddingTable) -> np.ndarray:
        """`[n, D]` float32: the mean of both unit vectors for each row of a table, not brought to unit length again."""
        if table.dimension != self.mirrored.dimension:
            raise InputError(
                f"expected mirrored embeddings of dimension {table.dimension}, received {self.mirrored.dimension}; "
                "both must come from the same model"
            )
        rows = own_rows(table, self.mirrored)
        if (rows < 0).any():
            strange = str(table.ids[int(rows.argmin())])
            raise InputError(
                f"expected a mirrored embedding of every picture, received none of {int((rows < 0).sum())}, such as "
                f"{strange!r}; embed their mirror images, too"
            )
        mean: np.ndarray = (normalize(table.vectors) + normalize(self.mirrored.vectors[rows])) / 2
        return mean
