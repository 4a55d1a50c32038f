"""PCA-whitening learned on other pictures than those searched."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from trainer.errors import InputError
from trainer.retrieval.postprocessing.search import Search
from trainer.retrieval.table import EmbeddingTable

__all__ = ["Whitening"]

FLOOR = 1e-10
"""Smaller variances, as a share of the largest, count as this: float32 embeddings hold only rounding there."""

EQUAL = 1e-14
"""Rows of unit length whose largest variance is no more than this are equal: no axis is better than another."""


@dataclass(frozen=True, eq=False, repr=False)
class Whitening:
    """Centres the embeddings, turns them to the principal axes and evens out the variances along these.

    `y = (x / |x| - mean) @ projection`, at unit length. Axes in which all pictures vary much then no longer drown the
    others.

    Cost: fitting is O(N D^2 + D^3), once; applying it O(D d) an embedding. A server needs nothing for it: the table is
    multiplied at export, and mean and projection become the encoder's last layer.

    Args:
        mean: `[D]` float32.
        axes: `[D, d]` float32, orthonormal columns, the one with most variance first.
        variances: `[d]` float32, along the axes, as shares of the first.
        strength: axes are divided by their variance to the power `strength / 2`: 1 whitens, 0 is PCA alone.

    Raises:
        InputError: `strength` is not in [0, 1].

    Source: H. Jégou, O. Chum, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and
    whitening", ECCV 2012. `strength` is the attenuation of Mukundan et al., "Understanding and Improving Kernel Local
    Descriptors", IJCV 2019.
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise InputError(f"expected a strength from 0 (PCA alone) to 1 (whitening), received {self.strength}")

    def __repr__(self) -> str:
        return f"Whitening(dimension={self.dimension}, strength={self.strength})"

    @property
    def dimension(self) -> int:
        """d, the width of the embeddings that it makes."""
        return int(self.axes.shape[1])

    @property
    def projection(self) -> np.ndarray:
        """`[D, d]` float32: what the centred embeddings are multiplied by."""
        scaled: np.ndarray = self.axes * np.maximum(self.variances, FLOOR) ** (-self.strength / 2)
        return scaled

    @classmethod
    def fit(cls, table: EmbeddingTable, dimension: int | None = None, strength: float = 1.0) -> Whitening:
        """Learns the axes from a table that should hold neither queries nor gallery, such as the training split.

        Args:
            table: n rows of dimension D. A float64 copy of it is made.
            dimension: d, how many axes to keep, those with most variance first. Default: all that n rows can have, the
                lesser of D and n - 1.
            strength: see `Whitening`.

        Raises:
            InputError: the table cannot have so many axes, or `strength` is not in [0, 1].
        """
        most = min(table.dimension, len(table) - 1)
        dimension = most if dimension is None else dimension
        if not 1 <= dimension <= most:
            raise InputError(
                f"expected from 1 to {most} dimensions, as {len(table)} rows of dimension {table.dimension} allow, "
                f"received {dimension}; keep fewer, or fit on more rows"
            )
        # All of these are exact; with fewer rows than dimensions the last is the faster one for some of the axes.
        solver = "covariance_eigh" if len(table) > table.dimension else "full" if dimension > most // 4 else "arpack"
        pca = PCA(dimension, svd_solver=solver, random_state=0).fit(normalize(table.vectors.astype(np.float64)))
        variances = pca.explained_variance_ / max(pca.explained_variance_[0], EQUAL)
        found = (pca.mean_, pca.components_.T, variances)
        mean, axes, kept = (values.astype(np.float32) for values in found)
        return cls(mean, axes, kept, strength)

    def narrowed(self, dimension: int) -> Whitening:
        """The same with the first `dimension` axes only, 1 to d."""
        return replace(self, axes=self.axes[:, :dimension], variances=self.variances[:dimension])

    def __call__(self, search: Search) -> Search:
        """The search by the whitened embeddings.

        Raises:
            InputError: the embeddings have another dimension than those it was fitted on.
        """
        return search.encoded(self.encode)

    def encode(self, table: EmbeddingTable) -> np.ndarray:
        """`[n, d]` float32: the whitened rows of a table, not at unit length."""
        if table.dimension != len(self.mean):
            raise InputError(
                f"expected embeddings of dimension {len(self.mean)}, as those it was fitted on, "
                f"received {table.dimension}; fit it on the same model's"
            )
        whitened: np.ndarray = (normalize(table.vectors) - self.mean) @ self.projection
        return whitened
