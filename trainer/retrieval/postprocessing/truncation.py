"""The first numbers of an embedding as an embedding."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.errors import InputError
from trainer.retrieval.postprocessing.search import Search

__all__ = ["Truncation"]


@dataclass(frozen=True)
class Truncation:
    """Keeps the first `dimension` numbers of every embedding, at unit length.

    Cost: O(N d) once; searches then cost d / D of what they did. A server needs nothing for it but a narrower table
    and the cut at the end of the encoder, both made at export.

    Args:
        dimension: d, 1 to D. At D nothing changes.

    Source: Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022, which trains embeddings for it.
    """

    dimension: int

    def __call__(self, search: Search) -> Search:
        """The search by the shortened embeddings.

        Raises:
            InputError: the embeddings are narrower than `dimension`, or it is less than 1.
        """
        width = search.gallery.dimension
        if not 1 <= self.dimension <= width:
            raise InputError(f"expected a dimension from 1 to {width} to cut embeddings to, received {self.dimension}")
        if self.dimension == width:
            return search
        return search.encoded(lambda table: table.vectors[:, : self.dimension])
