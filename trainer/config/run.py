"""The configuration of a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainer.config.cross_domain import CrossDomainConfig
from trainer.config.data import DataConfig
from trainer.config.model import ModelConfig
from trainer.config.no_match import NoMatchConfig
from trainer.config.robustness import RobustnessConfig
from trainer.config.section import Distinct, Positive, Section
from trainer.config.training import TrainConfig
from trainer.config.words import WordsConfig
from trainer.config.words_evaluation import WordsEvaluateConfig

__all__ = ["Config", "EvaluateConfig"]


class EvaluateConfig(Section):
    """What is measured.

    Attributes:
        splits: whose items are queries.
        gallery: `split` (queries look among their own split, themselves left out), `train`, or both.
        ks: how many nearest items count.
        baselines: rows to compare with; `raw_pixels` is the cosine of 32 x 32 pixel pictures.
        published: whether the run follows the published protocol, so that its rows are shown beside ours.
        tsne: for which models there are t-SNE maps beside PCA: `last` of `model.names`, `all`, or `none`.
        resamples: draws of the bootstrap behind every interval; 0 for no intervals.
        slices: attributes by whose values a model is measured, too; by default those of `relevance` beside the label.
        ablations: for which models post-processing is measured: `last` of `model.names`, `all`, or `none`. Embeddings
            of the mirrored pictures are computed for it.
        no_match: how the threshold of "no good match" is chosen; null for none.
        robustness: what the job `robustness` looks at.
        cross_domain: where the queries of the job `cross-domain` come from; null for none.
        words: how words are asked for.
    """

    splits: Annotated[tuple[Literal["train", "validation", "test"], ...], Field(min_length=1), *Distinct] = (
        "validation",
        "test",
    )
    gallery: Annotated[tuple[Literal["split", "train"], ...], Field(min_length=1), *Distinct] = ("split",)
    ks: Annotated[tuple[Positive, ...], Field(min_length=1), *Distinct] = (1, 5, 10)
    baselines: Annotated[tuple[Literal["raw_pixels"], ...], *Distinct] = ()
    published: bool = False
    tsne: Literal["last", "all", "none"] = "last"
    resamples: Annotated[int, Field(ge=0)] = 2000
    slices: Annotated[tuple[str, ...], *Distinct] = ()
    ablations: Literal["none", "last", "all"] = "none"
    no_match: NoMatchConfig | None = NoMatchConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    cross_domain: CrossDomainConfig | None = None
    words: WordsEvaluateConfig = WordsEvaluateConfig()


class Config(Section):
    """A whole run.

    Attributes:
        seed: fixes splits, starts, order of pictures and augmentation.
        relevance: how much an item's agreement with the query on each attribute counts, for graded metrics and graded
            losses: its grade is the share of the weights that belong to attributes on which the two agree.
        words: makes models searchable by words; null for none.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    relevance: Annotated[Mapping[str, Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = {"label": 1.0}
    data: DataConfig = DataConfig()
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    words: WordsConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("relevance")
    @classmethod
    def _with_label(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if "label" not in value:
            raise ValueError(f"expected a weight for label among the attributes, received {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _known_models(self) -> Config:
        unknown = sorted(set(self.words.models) - set(self.model.names)) if self.words else []
        if unknown:
            raise ValueError(
                f"expected words.models among model.names ({', '.join(self.model.names)}), received "
                f"{', '.join(unknown)}"
            )
        return self

    @property
    def models_with_words(self) -> tuple[str, ...]:
        """Names of the models that learn words."""
        return (self.words.models or self.model.names[-1:]) if self.words else ()
