"""The configuration of an export: typed, frozen, strict about what it does not know. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.config.section import Distinct, Names, Positive, Section, Share

__all__ = ["BatchingConfig", "DriftConfig", "ExportConfig", "IndexConfig"]

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A name that is also one part of a path."""


class IndexConfig(Section):
    """How a lookup finds the nearest rows.

    Attributes:
        type: `exact` compares with every row; `ivf` with the rows of the nearest lists only, for tables where exact is
            too slow on a CPU; `approximate` is for `target: tpu` only.
        dtype: of the stored table for `exact`; `bfloat16` and `int8` find candidates, which are scored in float32.
            `int8` is for `target: cpu` on x86 only, where oneDNN has its operation.
        candidates: for `bfloat16` and `int8`: how many candidates are scored again for each answer.
        lists: for `ivf`: number of k-means lists; null for about the square root of the number of rows.
        nprobe: for `ivf`: lists looked into for each query; null to choose it so that recall reaches `recall`.
        recall: for `ivf` without `nprobe` and for `approximate`: recall to aim at.
        min_recall: an index that is not exact and finds a smaller share of the ten true nearest is not published.
        seed: of k-means.
    """

    type: Literal["exact", "ivf", "approximate"] = "exact"
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    candidates: Positive = 4
    lists: Positive | None = None
    nprobe: Positive | None = None
    recall: Share = 0.95
    min_recall: Share = 0.9
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _fits(self) -> IndexConfig:
        if self.type != "exact" and self.dtype != "float32":
            raise ValueError(f"expected dtype: float32 for type: {self.type}, received {self.dtype}")
        if self.type != "ivf" and not self.lists is self.nprobe is None:
            raise ValueError(f"expected lists and nprobe for type: ivf only, received them for type: {self.type}")
        if self.lists is not None and self.nprobe is not None and self.nprobe > self.lists:
            raise ValueError(f"expected nprobe of at most lists={self.lists}, received {self.nprobe}")
        return self


class BatchingConfig(Section):
    """How the server gathers requests to batches: `batching_params.pbtxt`, and the sizes of the warm-up requests.

    Attributes:
        allowed_batch_sizes: rising; a batch is padded to the next of them; the last is the largest.
        batch_timeout_micros: how long the first request of a batch waits for others.
        max_enqueued_batches: more are refused (UNAVAILABLE).
        num_batch_threads: batches of a model worked on at once; null for 1 on a processor, where the operations of one
            batch use all cores and a second batch only gets in its way, and 2 on an accelerator, where one is decoded
            while another is computed.
    """

    allowed_batch_sizes: Annotated[tuple[Positive, ...], Field(min_length=1), *Distinct] = (1, 2, 4, 8, 16, 32)
    batch_timeout_micros: Annotated[int, Field(ge=0)] = 1000
    max_enqueued_batches: Positive = 100
    num_batch_threads: Positive | None = None

    @model_validator(mode="after")
    def _rising(self) -> BatchingConfig:
        if list(self.allowed_batch_sizes) != sorted(self.allowed_batch_sizes):
            raise ValueError(f"expected rising allowed_batch_sizes, received {list(self.allowed_batch_sizes)}")
        return self

    def suited_to(self, target: str) -> BatchingConfig:
        """The same with `num_batch_threads` chosen, for a target of `ExportConfig`."""
        if self.num_batch_threads is not None:
            return self
        return self.model_copy(update={"num_batch_threads": 1 if target == "cpu" else 2})


class DriftConfig(Section):
    """How far the optimised encoder may move from the trained one before the export is refused.

    Attributes:
        min_cosine: the least mean cosine between embeddings of the same picture, before and after.
        max_hit_rate_loss: how much hit_rate@1 on the test split may fall.
        pictures: of the test split that are embedded to measure it; at most so many.
    """

    min_cosine: Share = 0.999
    max_hit_rate_loss: Share = 0.01
    pictures: Positive = 256


class ExportConfig(Section):
    """What is exported of a run, and how.

    Attributes:
        model: one of the run's models; the served names are `<model>_encoder`, `<model>_lookup`, `<model>_search`.
        top_k: K of the answers.
        top_labels: how many labels `classify_images` answers; fewer where the model knows fewer.
        attributes: of items, answered beside ids and scores; null for the label, the split, and all of the source's
            attributes that are short text.
        filterable: attributes to filter by, among `attributes`; null for those with at most 1,000 distinct values.
        precision: of the encoder's arithmetic; `auto` takes bfloat16 where this machine's processor is faster in it.
        target: kind of device that will serve.
        words: whether to export what reads texts, where the model has learnt words.
        index: how the lookup finds.
        batching: how the server gathers requests.
        max_drift: how far the optimised encoder may move.
        keep: how many versions of each served model to keep; null for all. Never removed: the newest, and those that a
            version label names.
        labels: version labels that the new version gets in `models.config`, such as `canary`.
        served_from: where the server sees the export folder, for `models.config`; null for its path here.
    """

    model: Word = "fused"
    top_k: Annotated[int, Field(ge=1, le=10_000)] = 50
    top_labels: Positive = 10
    attributes: Annotated[Names, *Distinct] | None = None
    filterable: Annotated[Names, *Distinct] | None = None
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    target: Literal["cpu", "gpu", "tpu"] = "cpu"
    words: bool = True
    index: IndexConfig = IndexConfig()
    batching: BatchingConfig = BatchingConfig()
    max_drift: DriftConfig = DriftConfig()
    keep: Positive | None = None
    labels: Annotated[tuple[Word, ...], *Distinct] = ()
    served_from: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> ExportConfig:
        if self.index.type == "approximate" and self.target != "tpu":
            raise ValueError(f"expected target: tpu for index.type: approximate, received {self.target}")
        if self.index.dtype == "int8" and self.target != "cpu":
            raise ValueError(
                f"expected target: cpu for index.dtype: int8, an operation of processors, received {self.target}"
            )
        filterable = self.filterable or ()
        if self.attributes is not None and not set(filterable) <= set(self.attributes):
            raise ValueError(
                f"expected filterable among the attributes {list(self.attributes)}, received {list(filterable)}"
            )
        return self
