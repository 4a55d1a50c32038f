"""How the models are trained."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from trainer.config.losses import ObjectiveConfig
from trainer.config.sampling import SamplerConfig
from trainer.config.section import Positive, Rate, Section, Share

__all__ = ["AugmentationConfig", "StageConfig", "TrainConfig"]


class AugmentationConfig(Section):
    """keras-cv layers, each switched by itself. Pair mixing (`cut_mix`, `mix_up`) works on whole batches.

    Attributes:
        flip: random horizontal flip.
        crop: smallest share of the picture's area that a random crop keeps (then resized back); 1 for no cropping.
        colour: strength in [0, 1] of random brightness, contrast, saturation and hue; 0 for none.
        rand_augment: magnitude in [0, 1] of RandAugment (two operations a picture); 0 for none.
        cut_mix, mix_up: alpha of the Beta distribution; 0 for none.
    """

    flip: bool = True
    crop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    colour: Share = 0.1
    rand_augment: Share = 0.0
    cut_mix: Rate = 0.0
    mix_up: Rate = 0.0


class StageConfig(Section):
    """One stage of training.

    Attributes:
        epochs: 0 leaves the stage out.
        batch_size: pictures in one optimiser step over all devices.
        learning_rate: peak; reached after `warmup_epochs`, then `schedule` brings it down.
        weight_decay: AdamW's decoupled decay.
        objective: what is trained for: cross-entropy, losses on the embeddings, or both; see `ObjectiveConfig`.
        sampler: which rows share a batch; see `SamplerConfig`.
        clip_norm: global norm of the gradients; 0 for no clipping.
        accumulate: batches whose gradients are averaged before one update.
        ema: momentum of the moving average of the weights, used for validation and the best checkpoint; 0 for none.
        monitor: what is best on validation: `accuracy`, or the retrieval's `map@r` among the validation items, for
            stages that train the embedding.
        keep: the weights a stage ends with: `best` on validation (the start counts too), or those of the `last` epoch.
        patience: epochs without a better validation result before the stage stops; 0 to never stop early.
        class_weights: weight each picture by the inverse frequency of its label.
        layers: a list of (regular expression, multiplier) over the paths of the weights; the first that matches decides
            how the learning rate is multiplied; 0 freezes. What no expression matches has multiplier 1.
        augmentation: see `AugmentationConfig`.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-4
    weight_decay: Rate = 0.01
    warmup_epochs: Rate = 0.5
    schedule: Literal["cosine", "constant"] = "cosine"
    objective: ObjectiveConfig = ObjectiveConfig()
    sampler: SamplerConfig = SamplerConfig()
    clip_norm: Rate = 1.0
    accumulate: Positive = 1
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    monitor: Literal["accuracy", "map@r"] = "accuracy"
    keep: Literal["best", "last"] = "best"
    patience: Annotated[int, Field(ge=0)] = 0
    class_weights: bool = False
    layers: Annotated[tuple[tuple[str, float], ...], Field(strict=False)] = ()
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _fitting(self) -> StageConfig:
        if self.sampler.kind != "shuffled":
            self.sampler.per_class(self.batch_size)
        graded = any(loss.name == "graded_contrastive" for loss in self.objective.losses)
        if graded and (self.augmentation.cut_mix or self.augmentation.mix_up):
            raise ValueError("expected graded_contrastive without cut_mix and mix_up, which mix no attributes")
        return self

    @field_validator("layers", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or any(not isinstance(p, list | tuple) or len(p) != 2 for p in value):
            raise ValueError(f"expected a list of [regular expression, multiplier], received {value!r}")
        for pattern, multiplier in value:
            if (
                isinstance(multiplier, bool)
                or not isinstance(multiplier, int | float)
                or not 0 <= multiplier < math.inf
            ):
                raise ValueError(f"expected a multiplier >= 0 for {pattern!r}, received {multiplier!r}")
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ValueError(f"expected a regular expression, received {pattern!r} ({error})") from error
        return tuple((pattern, float(multiplier)) for pattern, multiplier in value)


class TrainConfig(Section):
    """How the models are trained.

    Attributes:
        start: how a head on frozen backbones begins: `discriminant` (closed form, from the features) or `random`.
        finetune_head: what fine-tuning begins with: `keep` the head made on the frozen backbone, or a `random` one,
            which backbones that know nothing yet need.
        refit: make each head anew on its fine-tuned backbone, as on a frozen one.
        views: feature vectors per training picture for the frozen stages: the plain picture, then its mirror image.
        head: heads on frozen backbones, from cached features; `augmentation` does not apply there.
        finetune: each backbone together with its head.
        joint: the fused model as a whole.
        precision: of the computation; weights stay float32.
        distribution: `none`, `mirrored` (all devices of this machine), `multi_worker` (`TF_CONFIG`), `tpu`.
        extraction_batch_size: pictures in one batch while features are extracted.
    """

    start: Literal["discriminant", "random"] = "discriminant"
    finetune_head: Literal["keep", "random"] = "keep"
    refit: bool = True
    views: Literal[1, 2] = 1
    head: StageConfig = StageConfig(epochs=0, batch_size=128, learning_rate=1e-5)
    finetune: StageConfig = StageConfig()
    joint: StageConfig = StageConfig()
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    distribution: Literal["none", "mirrored", "multi_worker", "tpu"] = "none"
    extraction_batch_size: Positive = 32
