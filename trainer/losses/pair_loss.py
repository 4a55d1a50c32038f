"""What the losses have in common that compare examples with each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
from keras import ops

from trainer.losses.metric_loss import MetricLoss
from trainer.losses.replicas import gather_rows, own_places

__all__ = ["PairLoss", "References", "global_batch"]


class References(NamedTuple):
    """What the examples of this replica, the anchors, are compared with.

    Attributes:
        labels: int32 `[N, A]`.
        embeddings: float32 `[N, D]` of unit length.
        comparable: bool `[b, N]`; false for the anchor itself.
    """

    labels: Any
    embeddings: Any
    comparable: Any


def global_batch(labels: Any, embeddings: Any) -> References:
    """The examples of all replicas as references, each anchor itself left out; gradients flow through them."""
    everything = gather_rows(embeddings)
    own = own_places(embeddings)
    comparable = ops.expand_dims(own, 1) != ops.expand_dims(ops.arange(ops.shape(everything)[0], dtype="int32"), 0)
    return References(gather_rows(labels), everything, comparable)


class PairLoss(MetricLoss):
    """A loss on the similarities of each example to all others of the global batch.

    Positives are references of the anchor's own class, negatives all others. The same item seen again, in another view
    or in a memory, is a reference like any other. See `MetricLoss` for arguments and reduction.
    """

    def example_losses(self, labels: Any, embeddings: Any) -> Any:
        return self.losses_against(labels, embeddings, global_batch(labels, embeddings))

    def losses_against(self, labels: Any, embeddings: Any, references: References) -> Any:
        """The losses `[b]` of anchors, int32 `[b, A]` and float32 `[b, D]` of unit length, against any references."""
        similarity = ops.matmul(embeddings, ops.transpose(references.embeddings))
        grades = ops.where(references.comparable, self.grades(labels, references.labels), 0.0)
        return self.pair_losses(similarity, grades, references.comparable)

    def grades(self, labels: Any, others: Any) -> Any:
        """How much each pair belongs together, float32 `[b, N]` in `[0, 1]`: 1 for the same class, else 0."""
        return agreement(labels, others, 0)

    def pair_losses(self, similarity: Any, grades: Any, comparable: Any) -> Any:
        """To be overridden: cosines, grades (0 where not comparable) and what is comparable, `[b, N]`, to `[b]`."""
        raise NotImplementedError


def agreement(labels: Any, others: Any, column: int) -> Any:
    """float32 `[b, N]`: 1 where rows int32 `[b, A]` and `[N, A]` have the same known value in a column, else 0."""
    mine, theirs = ops.expand_dims(labels[:, column], 1), ops.expand_dims(others[:, column], 0)
    return ops.cast(ops.logical_and(mine == theirs, mine >= 0), "float32")
