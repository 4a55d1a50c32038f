"""When a search says that nothing matches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.section import Section

__all__ = ["NoMatchConfig"]


class NoMatchConfig(Section):
    """How the threshold below which a search says "no good match" is chosen; see `trainer.evaluation.no_match`.

    Attributes:
        target: `f1` for the best balance of precision and recall; `precision` for the lowest threshold, so the most
            answers, at which precision is at least `value`.
        value: the precision asked for; `f1` does not look at it.
        absent: the share of questions about products of a class that the catalogue does not hold: the more of them,
            the lower the precision of the same threshold.
    """

    target: Literal["f1", "precision"] = "f1"
    value: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    absent: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
