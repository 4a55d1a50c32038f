"""The configuration of a run: typed, frozen, and strict about what it does not know.

`trainer.config_file` reads it from YAML and explains what is wrong with it. This module imports nothing heavy.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "AugmentationConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "FusedConfig",
    "HubVitConfig",
    "ModelConfig",
    "ModelName",
    "ResNet50Config",
    "SelectionConfig",
    "SplitsConfig",
    "StageConfig",
    "TrainConfig",
]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"expected each of them once, received {list(values)}")
    return values


ModelName = Literal["resnet50", "hub_vit", "fused", "concatenated"]
Distinct = (Field(strict=False), AfterValidator(_distinct))
Names = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


class CsvConfig(_Section):
    """Source `csv`: any table of items.

    Attributes:
        file: the CSV, relative to `data.root` or absolute.
        id, image_path, label: names of its columns; `id` may be left out, then the picture's path is the id.
        attributes: columns to carry along; empty for all others.
        split: name of a column that holds train, validation or test, for `splits.by: source`.
        separator: one character.
    """

    file: str = "items.csv"
    id: str | None = "id"
    image_path: str = "image_path"
    label: str = "label"
    split: str | None = None
    attributes: Names = ()
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","


class TfdsConfig(_Section):
    """Source `tfds`: a TensorFlow Datasets image set by name; its pictures are written below the work directory."""

    name: str | None = None
    image: str = "image"
    label: str = "label"
    download: bool = True


class DemoConfig(_Section):
    """Source `demo`: the catalogue this project draws itself, below `data.root` or the work directory."""

    items_per_type: Annotated[int, Field(ge=2)] = 60
    image_size: Annotated[int, Field(ge=32)] = 96
    seed: Annotated[int, Field(ge=0)] = 0


class SampleConfig(_Section):
    """A random sample of `n` rows, overall or of each label; fewer rows than `n` are all taken."""

    n: Positive | None = None
    per_label: bool = False
    random_state: Annotated[int, Field(ge=0)] = 0


class SelectionConfig(_Section):
    """Which rows of the source are used, in this order: first rows, labels, sample.

    Attributes:
        first_rows: only the first so many rows of the source; null for all.
        labels: only these labels; empty for all.
        most_frequent: only the labels with most usable rows, so many of them; null for all. Not together with `labels`.
        min_per_label: labels with fewer usable pictures are left out (and counted); splitting needs some.
        sample: a random sample of what is left.
    """

    first_rows: Positive | None = None
    labels: Names = ()
    most_frequent: Positive | None = None
    min_per_label: Annotated[int, Field(ge=1)] = 5
    sample: SampleConfig = SampleConfig()

    @model_validator(mode="after")
    def _one_choice(self) -> SelectionConfig:
        if self.labels and self.most_frequent:
            raise ValueError("either labels or most_frequent, not both")
        return self


class SplitsConfig(_Section):
    """How items are divided.

    Attributes:
        by: `ratio` (stratified by label, shuffled by `seed`) or `source` (the source's own split).
        train, validation, test: shares; they add up to 1.
        seed: null for the run's seed.
    """

    by: Literal["ratio", "source"] = "ratio"
    train: Share = 0.6
    validation: Share = 0.2
    test: Share = 0.2
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> SplitsConfig:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-6 or min(self.train, self.test) <= 0.0:
            raise ValueError(
                f"train, validation and test must add up to 1, train and test above 0; they give {total:g}"
            )
        return self


class NearDuplicatesConfig(_Section):
    """Copies of one picture are kept on one side of a split; equal files always, near copies too unless switched off.

    Attributes:
        enabled: whether to look for near copies.
        max_distance: largest Hamming distance of two 256-bit perceptual hashes that counts as a near copy, given that
            the colours are close too; 0 for pictures that hash alike only. See `trainer.data.near_duplicates`.
    """

    enabled: bool = True
    max_distance: Annotated[int, Field(ge=0, le=64)] = 10


class DataConfig(_Section):
    """Where the catalogue is and what of it is used.

    Attributes:
        source: kind of catalogue.
        root: its folder; may be null for `demo` and `tfds` (then it lies below the work directory).
        images: folder of pictures below `root` (`fashion_products` only).
        label: the column that is learned (`fashion_products` only).
        max_rejected_share: a larger share of broken pictures among those found ends the run with exit code 2.
        max_pixels: pictures with more pixels are rejected as decompression bombs.
        workers: processes that check pictures; 0 for one per core.
    """

    source: Literal["fashion_products", "csv", "folder", "tfds", "demo"] = "demo"
    root: str | None = None
    images: str = "images"
    label: str = "articleType"
    csv: CsvConfig = CsvConfig()
    tfds: TfdsConfig = TfdsConfig()
    demo: DemoConfig = DemoConfig()
    selection: SelectionConfig = SelectionConfig()
    splits: SplitsConfig = SplitsConfig()
    near_duplicates: NearDuplicatesConfig = NearDuplicatesConfig()
    max_rejected_share: Share = 0.05
    max_pixels: Positive = 89_478_485
    workers: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _needs(self) -> DataConfig:
        if self.root is None and self.source in ("fashion_products", "csv", "folder"):
            raise ValueError(f"root is required for source {self.source!r}: give the catalogue's folder")
        if self.source == "tfds" and self.tfds.name is None:
            raise ValueError("tfds.name is required for source 'tfds', for example 'tf_flowers'")
        return self


class ResNet50Config(_Section):
    """Attributes:
    weights: `imagenet`, `none` (random), or the path of a `.weights.h5` file without the top.
    batch_norm: `frozen` keeps batch normalisation in inference mode while fine-tuning; `train` learns it, which
        `weights: none` needs.
    """

    weights: str = "imagenet"
    batch_norm: Literal["frozen", "train"] = "frozen"

    @model_validator(mode="after")
    def _learnable(self) -> ResNet50Config:
        if self.weights == "none" and self.batch_norm == "frozen":
            raise ValueError("batch_norm must be 'train' where weights is 'none': random statistics cannot stay frozen")
        return self


class HubVitConfig(_Section):
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
            raise ValueError(f"two numbers, the lower one first; received {list(value)}")
        return value


class FusedConfig(_Section):
    """Attributes:
    parts: the backbones that `fused` and `concatenated` join, in this order.
    """

    parts: Annotated[tuple[Literal["resnet50", "hub_vit"], ...], Field(min_length=2), *Distinct] = (
        "resnet50",
        "hub_vit",
    )


class ModelConfig(_Section):
    """Which models a run makes, and of what.

    Attributes:
        names: `resnet50`, `hub_vit`, `fused`, and `concatenated` (the published plain concatenation: a baseline).
        image_size: height and width in pixels of what the models see.
        embedding_dim: width of the learned embeddings.
    """

    names: Annotated[tuple[ModelName, ...], Field(min_length=1), *Distinct] = ("resnet50", "hub_vit", "fused")
    image_size: Annotated[int, Field(ge=32)] = 224
    embedding_dim: Positive = 256
    resnet50: ResNet50Config = ResNet50Config()
    hub_vit: HubVitConfig = HubVitConfig()
    fused: FusedConfig = FusedConfig()

    @model_validator(mode="after")
    def _handle(self) -> ModelConfig:
        if "hub_vit" in self.backbones and self.hub_vit.handle is None:
            raise ValueError("hub_vit.handle is required: a folder, a TF Hub address or a Kaggle handle")
        return self

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones that the chosen models need, in a fixed order."""
        fused = self.fused.parts if {"fused", "concatenated"} & set(self.names) else ()
        return tuple(name for name in ("resnet50", "hub_vit") if name in self.names or name in fused)


class AugmentationConfig(_Section):
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


class StageConfig(_Section):
    """One stage of training.

    Attributes:
        epochs: 0 leaves the stage out.
        batch_size: pictures in one optimiser step over all devices.
        learning_rate: peak; reached after `warmup_epochs`, then `schedule` brings it down.
        weight_decay: AdamW's decoupled decay.
        label_smoothing: of the cross-entropy.
        clip_norm: global norm of the gradients; 0 for no clipping.
        accumulate: batches whose gradients are averaged before one update.
        ema: momentum of the moving average of the weights, used for validation and the best checkpoint; 0 for none.
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
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    clip_norm: Rate = 1.0
    accumulate: Positive = 1
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    class_weights: bool = False
    layers: Annotated[tuple[tuple[str, float], ...], Field(strict=False)] = ()
    augmentation: AugmentationConfig = AugmentationConfig()

    @field_validator("layers", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or any(not isinstance(p, list | tuple) or len(p) != 2 for p in value):
            raise ValueError(f"a list of [regular expression, multiplier]; received {value!r}")
        for pattern, multiplier in value:
            if (
                isinstance(multiplier, bool)
                or not isinstance(multiplier, int | float)
                or not 0 <= multiplier < math.inf
            ):
                raise ValueError(f"a multiplier >= 0 for {pattern!r}; received {multiplier!r}")
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ValueError(f"a regular expression; received {pattern!r} ({error})") from error
        return tuple((pattern, float(multiplier)) for pattern, multiplier in value)


class TrainConfig(_Section):
    """How the models are trained.

    Attributes:
        start: how a head on frozen backbones begins: `discriminant` (closed form, from the features) or `random`.
        finetune_head: what fine-tuning begins with: `keep` the head made on the frozen backbone, or a `random` one,
            which backbones that know nothing yet need.
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
    views: Literal[1, 2] = 2
    head: StageConfig = StageConfig(epochs=10, batch_size=128, learning_rate=1e-3, patience=5)
    finetune: StageConfig = StageConfig()
    joint: StageConfig = StageConfig()
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    distribution: Literal["none", "mirrored", "multi_worker", "tpu"] = "none"
    extraction_batch_size: Positive = 32


class EvaluateConfig(_Section):
    """What is measured.

    Attributes:
        splits: whose items are queries.
        gallery: `split` (queries look among their own split, themselves left out), `train`, or both.
        ks: how many nearest items count.
        baselines: rows to compare with; `raw_pixels` is the cosine of 32 x 32 pixel pictures.
        published: whether the run follows the published protocol, so that its rows are shown beside ours.
        tsne: whether plots hold t-SNE maps beside PCA.
    """

    splits: Annotated[tuple[Literal["train", "validation", "test"], ...], Field(min_length=1), *Distinct] = (
        "validation",
        "test",
    )
    gallery: Annotated[tuple[Literal["split", "train"], ...], Field(min_length=1), *Distinct] = ("split",)
    ks: Annotated[tuple[Positive, ...], Field(min_length=1), *Distinct] = (1, 5, 10)
    baselines: Annotated[tuple[Literal["raw_pixels"], ...], *Distinct] = ()
    published: bool = False
    tsne: bool = True


class Config(_Section):
    """A whole run. `seed` fixes splits, starts, order of pictures and augmentation."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig = DataConfig()
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
