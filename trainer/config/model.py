"""Which models a run makes, and of what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainer.config.section import Distinct, Positive, Section

__all__ = ["ClipConfig", "FusedConfig", "HubVitConfig", "ModelConfig", "ModelName", "ResNet50Config"]

ModelName = Literal["resnet50", "hub_vit", "clip", "fused", "concatenated"]


class ResNet50Config(Section):
    """Attributes:
    weights: `imagenet`, `none` (random), or the path of a `.weights.h5` file without the top.
    pooling: `average` of the last block (2048 features), or `multilevel`: of four blocks (5632 features).
    batch_norm: `frozen` keeps batch normalisation in inference mode while fine-tuning; `train` learns it, which
        `weights: none` needs.
    """

    weights: str = "imagenet"
    pooling: Literal["average", "multilevel"] = "multilevel"
    batch_norm: Literal["frozen", "train"] = "frozen"

    @model_validator(mode="after")
    def _learnable(self) -> ResNet50Config:
        if self.weights == "none" and self.batch_norm == "frozen":
            raise ValueError(
                "expected batch_norm: train beside weights: none, whose statistics are random; received frozen"
            )
        return self


class HubVitConfig(Section):
    """Attributes:
    handle: folder of a TF2 reusable SavedModel, a TF Hub address, or a Kaggle handle
        (`owner/model/framework/variation`).
    value_range: what the module expects pixel values 0 and 255 to become.
    """

    handle: str | None = None
    value_range: Annotated[tuple[float, float], Field(strict=False)] = (0.0, 1.0)

    @field_validator("value_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError(f"expected two numbers, the lower one first, received {list(value)}")
        return value


class ClipConfig(Section):
    """CLIP's image tower; its text tower is `words.encoder`'s.

    Attributes:
        tower: `own` for keras-hub's vision tower and projection, or the model of ours that stands in its place.
        preset: of the own tower: a keras-hub name, such as `clip_vit_base_patch32`, or a folder; null for one from
            scratch.
        patch_size, width, layers, heads, projection_dim: of one from scratch.
    """

    tower: Literal["own", "resnet50", "hub_vit", "fused"] = "own"
    preset: str | None = None
    patch_size: Positive = 16
    width: Positive = 192
    layers: Positive = 6
    heads: Positive = 3
    projection_dim: Positive = 256

    @model_validator(mode="after")
    def _divisible(self) -> ClipConfig:
        if self.width % self.heads:
            raise ValueError(f"expected width as a multiple of heads ({self.heads}), received {self.width}")
        return self


class FusedConfig(Section):
    """Attributes:
    parts: the backbones that `fused` and `concatenated` join, in this order; `clip` needs the tower `own`.
    """

    parts: Annotated[tuple[Literal["resnet50", "hub_vit", "clip"], ...], Field(min_length=2), *Distinct] = (
        "resnet50",
        "hub_vit",
    )


class ModelConfig(Section):
    """Which models a run makes, and of what.

    Attributes:
        names: `resnet50`, `hub_vit`, `clip`, `fused`, and `concatenated` (the published plain concatenation: a
            baseline).
        image_size: height and width in pixels of what the models see.
        coarsened_to: pictures are reduced to so many pixels a side and enlarged again inside the models, for comparing
            with results on pictures that small; null for no such step.
        head: what makes an embedding of features: `posterior` (probabilities of the label and of the attributes that
            `relevance` names, and detail beside them) or `linear`.
        embedding_dim: width of the learned embeddings.
        dimensions: smaller widths at which the first so many numbers of an embedding, brought to unit length, are to be
            an embedding too (Matryoshka): training asks for it, evaluation measures it.
    """

    names: Annotated[tuple[ModelName, ...], Field(min_length=1), *Distinct] = ("resnet50", "hub_vit", "fused")
    image_size: Annotated[int, Field(ge=32)] = 224
    coarsened_to: Positive | None = None
    head: Literal["posterior", "linear"] = "posterior"
    embedding_dim: Positive = 256
    dimensions: Annotated[tuple[Positive, ...], *Distinct] = ()
    resnet50: ResNet50Config = ResNet50Config()
    hub_vit: HubVitConfig = HubVitConfig()
    clip: ClipConfig = ClipConfig()
    fused: FusedConfig = FusedConfig()

    @model_validator(mode="after")
    def _handle(self) -> ModelConfig:
        if "hub_vit" in self.backbones and self.hub_vit.handle is None:
            raise ValueError("expected hub_vit.handle: a folder, a TF Hub address or a Kaggle handle; received null")
        return self

    @field_validator("dimensions")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _coarser(self) -> ModelConfig:
        if self.coarsened_to is not None and self.coarsened_to >= self.image_size:
            raise ValueError(
                f"expected coarsened_to below image_size ({self.image_size}), received {self.coarsened_to}"
            )
        return self

    @model_validator(mode="after")
    def _narrower(self) -> ModelConfig:
        if self.dimensions and self.dimensions[-1] >= self.embedding_dim:
            raise ValueError(
                f"expected dimensions below embedding_dim ({self.embedding_dim}), received {list(self.dimensions)}"
            )
        return self

    @model_validator(mode="after")
    def _own_part(self) -> ModelConfig:
        if "clip" in self.fused.parts and self.clip.tower != "own":
            raise ValueError(
                f"expected clip.tower: own where clip is one of fused.parts, received {self.clip.tower}, which would "
                "count twice"
            )
        return self

    def parts_of(self, name: str) -> tuple[str, ...]:
        """The backbones that the model of that name is made of, in the order its head takes them."""
        if name == "clip" and self.clip.tower != "own":
            return self.parts_of(self.clip.tower)
        return self.fused.parts if name in ("fused", "concatenated") else (name,)

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones that the chosen models need, in a fixed order."""
        needed = {part for name in self.names for part in self.parts_of(name)}
        return tuple(name for name in ("resnet50", "hub_vit", "clip") if name in needed)
