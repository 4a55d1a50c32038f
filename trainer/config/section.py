"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Distinct", "Names", "Positive", "Rate", "Section", "Share"]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"expected each of them once, received {list(values)}")
    return values


Distinct = (Field(strict=False), AfterValidator(_distinct))
Names = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0.0)]


class Section(BaseModel):
    """A frozen section that knows its keys, converts nothing, and admits no infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)
