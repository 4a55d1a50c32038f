"""Which training rows share a batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.config.section import Positive, Section

__all__ = ["SamplerConfig"]


class SamplerConfig(Section):
    """Which training rows share a batch.

    Attributes:
        kind: `shuffled` (every row once an epoch), `balanced` (`classes` x `batch_size / classes` rows in each batch)
            or `hard_negatives` (so too, and every second class of a batch is one that the model confuses with the class
            before it).
        classes: P, classes in a batch; divides `batch_size`. Even for `hard_negatives`.
        draw: how often a class comes: `uniform` (all alike), by the square root (`sqrt`) of its number of rows, or by
            its `share` of the rows.
        per_row: hard negatives mined for each row.
        skip_nearest: share of all rows that, being nearest to a row and of other classes, are no negatives of it: among
            them are those that wear the wrong label. 0.001 of 10,000 rows are the 10 nearest.
        refresh_epochs: epochs after which hard negatives are mined anew.
    """

    kind: Literal["shuffled", "balanced", "hard_negatives"] = "shuffled"
    classes: Annotated[int, Field(ge=2)] = 8
    draw: Literal["uniform", "sqrt", "share"] = "uniform"
    per_row: Positive = 8
    skip_nearest: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    refresh_epochs: Positive = 1

    @model_validator(mode="after")
    def _pairs(self) -> SamplerConfig:
        if self.kind == "hard_negatives" and self.classes % 2:
            raise ValueError(f"expected an even number of classes for hard_negatives, received {self.classes}")
        return self

    def per_class(self, batch_size: int) -> int:
        """K, the rows of each class in a batch.

        Args:
            batch_size: rows in a batch over all devices.

        Raises:
            ValueError: `classes` does not divide it.
        """
        if batch_size % self.classes:
            raise ValueError(
                f"expected a batch_size that sampler.classes={self.classes} divides, received {batch_size}; "
                f"take {max(1, round(batch_size / self.classes)) * self.classes} or another number of classes"
            )
        return batch_size // self.classes
