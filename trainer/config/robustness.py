"""What the robustness report looks at."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.section import Distinct, Section

__all__ = ["CorruptionName", "RobustnessConfig"]

CorruptionName = Literal["jpeg", "blur", "low_light", "crop", "rotation", "background", "grey"]


class RobustnessConfig(Section):
    """What the robustness report looks at.

    Attributes:
        models: the `last` of `model.names`, or `all`.
        corruptions: what is done to the queries' pictures, each at two strengths; see `trainer.data.corruptions`.
    """

    models: Literal["last", "all"] = "last"
    corruptions: Annotated[tuple[CorruptionName, ...], Field(min_length=1), *Distinct] = (
        "jpeg",
        "blur",
        "low_light",
        "crop",
        "rotation",
        "background",
        "grey",
    )
