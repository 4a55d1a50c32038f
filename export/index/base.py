"""What all index layers have in common."""

from __future__ import annotations

import abc

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.index.selection import MISSING
from export.table_rows import TableRows

__all__ = ["Index"]


class Index(tf.Module, abc.ABC):
    """Finds the rows most similar to a query by cosine similarity.

    It is filled once by `index`, told by `set_groups` which rows are alike to every filter, and then called, in a graph
    that is exported with the index's variables.

    Attributes:
        is_exact: whether it always finds the true nearest, as float32 arithmetic sees them.
        count: N, rows indexed.
        dimension: D of the rows.
    """

    is_exact: bool

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.count = 0
        self.dimension = 0
        self.groups: tf.Variable | None = None

    @abc.abstractmethod
    def index(self, rows: TableRows) -> None:
        """Fills the variables, a chunk at a time.

        Args:
            rows: N rows of dimension D, of any length but 0.

        Raises:
            InputError: a vector is zero or not finite, or there are too few rows for the settings.
        """

    @abc.abstractmethod
    def __call__(self, queries: tf.Tensor, k: int, admitted: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The k rows most similar to each query.

        Args:
            queries: float32 `[B, D]`, finite, of unit length.
            k: rows for each, at least 1.
            admitted: bool `[B, G]`: the groups of `set_groups` whose rows each query may find; None admits all.

        Returns:
            Scores float32 `[B, k]`, never rising along a row, and rows int32 `[B, k]`; equal scores by row. Where fewer
            than k rows are admitted, the rest is row -1 with score minus infinity.
        """

    def set_groups(self, groups: np.ndarray) -> None:
        """Says which rows every filter treats alike; `admitted` then speaks of these groups.

        Args:
            groups: int `[N]`, from 0 to G - 1.
        """
        self.groups = tf.Variable(self._arranged(groups.astype(np.int32)), trainable=False, name="groups")

    def _arranged(self, values: np.ndarray) -> np.ndarray:
        """Values of all rows in the order in which this index keeps its rows."""
        return values

    def _penalties(self, admitted: tf.Tensor | None) -> tf.Tensor | None:
        """Float32 `[G, B]` to add to the scores of a group's rows: 0, or minus infinity where not admitted."""
        return None if admitted is None else tf.where(tf.transpose(admitted), 0.0, MISSING)

    def _penalised(
        self, scores: tf.Tensor, penalties: tf.Tensor | None, start: tf.Tensor | int, stop: tf.Tensor | int
    ) -> tf.Tensor:
        """Scores `[stop - start, B]` of the rows from `start`, minus infinity where not admitted."""
        if penalties is None:
            return scores
        if self.groups is None:
            raise ValueError("expected set_groups before a call with admitted groups")
        return scores + tf.gather(penalties, self.groups[start:stop])
