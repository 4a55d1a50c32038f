"""What the models are trained for."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from trainer.config.section import Positive, Rate, Section

__all__ = [
    "ArcFaceConfig",
    "CrossEntropyConfig",
    "GradedContrastiveConfig",
    "LossConfig",
    "MultiSimilarityConfig",
    "NormalizedSoftmaxConfig",
    "ObjectiveConfig",
    "ProxyAnchorConfig",
    "SupervisedContrastiveConfig",
    "TripletConfig",
]

_Above = Annotated[float, Field(gt=0.0)]


class CrossEntropyConfig(Section):
    """Cross-entropy of the classifier's logits.

    Attributes:
        weight: 0 for none; then the classifier learns nothing.
        label_smoothing: share of the probability that is spread over all classes.
    """

    weight: Rate = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1


class NormalizedSoftmaxConfig(Section):
    """Settings of `trainer.losses.NormalizedSoftmax`."""

    name: Literal["normalized_softmax"]
    weight: _Above = 1.0
    temperature: _Above = 0.05
    sub_centers: Positive = 1


class ArcFaceConfig(Section):
    """Settings of `trainer.losses.ArcFace`; the margin in radians."""

    name: Literal["arc_face"]
    weight: _Above = 1.0
    margin: Annotated[float, Field(ge=0.0, le=1.5)] = 0.5
    scale: _Above = 64.0
    sub_centers: Positive = 1


class ProxyAnchorConfig(Section):
    """Settings of `trainer.losses.ProxyAnchor`."""

    name: Literal["proxy_anchor"]
    weight: _Above = 1.0
    margin: Rate = 0.1
    alpha: _Above = 32.0


class SupervisedContrastiveConfig(Section):
    """Settings of `trainer.losses.SupervisedContrastive`."""

    name: Literal["supervised_contrastive"]
    weight: _Above = 1.0
    temperature: _Above = 0.1


class GradedContrastiveConfig(Section):
    """Settings of `trainer.losses.GradedContrastive`; the attributes and their weights are those of `relevance`."""

    name: Literal["graded_contrastive"]
    weight: _Above = 1.0
    temperature: _Above = 0.1
    power: _Above = 4.0


class MultiSimilarityConfig(Section):
    """Settings of `trainer.losses.MultiSimilarity`."""

    name: Literal["multi_similarity"]
    weight: _Above = 1.0
    alpha: _Above = 2.0
    beta: _Above = 50.0
    base: float = 0.5
    epsilon: Rate = 0.1


class TripletConfig(Section):
    """Settings of `trainer.losses.Triplet`; the margin a number or `soft`."""

    name: Literal["triplet"]
    weight: _Above = 1.0
    mining: Literal["semi_hard", "batch_hard", "all"] = "semi_hard"
    margin: float | Literal["soft"] = 0.2

    @field_validator("margin", mode="before")
    @classmethod
    def _number_or_soft(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < float("inf")
        if not number and value != "soft":
            raise ValueError(f"expected a number of at least 0, or soft; received {value!r}")
        return value if value == "soft" else float(value)


LossConfig = (
    NormalizedSoftmaxConfig
    | ArcFaceConfig
    | ProxyAnchorConfig
    | SupervisedContrastiveConfig
    | GradedContrastiveConfig
    | MultiSimilarityConfig
    | TripletConfig
)
"""The settings of any one loss on embeddings, told apart by `name`."""

_BY_NAME = {get_args(kind.model_fields["name"].annotation)[0]: kind for kind in get_args(LossConfig)}
_PAIRS = ("supervised_contrastive", "graded_contrastive", "multi_similarity", "triplet")


class ObjectiveConfig(Section):
    """What a stage trains for: cross-entropy, and any number of losses on the embeddings, added up.

    Attributes:
        cross_entropy: see `CrossEntropyConfig`.
        losses: each with `name`, `weight` and settings of its own, such as `{name: proxy_anchor, weight: 0.5}`; each
            loss at most once. They are asked for at each of `model.dimensions`, too.
        memory: embeddings of former batches that losses on pairs compare with too, for each of them; 0 for none. Fewer
            than an epoch has pictures, or these meet themselves.
        memory_start: batches before the first is remembered.
    """

    cross_entropy: CrossEntropyConfig = CrossEntropyConfig()
    losses: Annotated[tuple[Annotated[LossConfig, Field(discriminator="name")], ...], Field(strict=False)] = ()
    memory: Annotated[int, Field(ge=0)] = 0
    memory_start: Annotated[int, Field(ge=0)] = 0

    @field_validator("losses", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for entry in value if isinstance(value, list | tuple) else ():
            if isinstance(entry, Mapping):
                _check_names(entry)
        return value

    @model_validator(mode="after")
    def _sensible(self) -> ObjectiveConfig:
        names = [entry.name for entry in self.losses]
        if not names and not self.cross_entropy.weight:
            raise ValueError("expected losses, or cross_entropy.weight above 0; received neither")
        if len(set(names)) != len(names):
            raise ValueError(f"expected each of losses once, received {', '.join(names)}")
        if self.memory and not set(names) & set(_PAIRS):
            raise ValueError(f"expected one of {', '.join(_PAIRS)} among losses to use the memory; received none")
        return self


def _check_names(entry: Mapping[str, Any]) -> None:
    """Says which known name is nearest to an unknown one, of a loss or of its settings."""
    kind = _BY_NAME.get(str(entry.get("name")))
    if kind is None:
        raise ValueError(_unknown("the name of a loss", entry.get("name"), list(_BY_NAME)))
    for key in entry:
        if key not in kind.model_fields:
            raise ValueError(_unknown(f"a setting of {entry['name']}", key, list(kind.model_fields)))


def _unknown(what: str, received: Any, known: list[str]) -> str:
    if received is None:
        return f"expected {what} among {', '.join(known)}; received none"
    (nearest,) = get_close_matches(str(received), known, n=1, cutoff=0.0)
    return f"expected {what}, received {received!r}; the nearest known one is {nearest}"
