"""Where the catalogue is and what of it is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.config.section import Names, Positive, Section, Share

__all__ = [
    "CsvConfig",
    "DataConfig",
    "DemoConfig",
    "NearDuplicatesConfig",
    "SampleConfig",
    "SelectionConfig",
    "SplitsConfig",
    "TfdsConfig",
]


class CsvConfig(Section):
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


class TfdsConfig(Section):
    """Source `tfds`: a TensorFlow Datasets image set by name; its pictures are written below the work directory."""

    name: str | None = None
    image: str = "image"
    label: str = "label"
    download: bool = True


class DemoConfig(Section):
    """Source `demo`: the catalogue this project draws itself, below `data.root` or the work directory."""

    items_per_type: Annotated[int, Field(ge=2)] = 60
    image_size: Annotated[int, Field(ge=32)] = 96
    seed: Annotated[int, Field(ge=0)] = 0


class SampleConfig(Section):
    """A random sample of `n` rows, overall or of each label; fewer rows than `n` are all taken."""

    n: Positive | None = None
    per_label: bool = False
    random_state: Annotated[int, Field(ge=0)] = 0


class SelectionConfig(Section):
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
            raise ValueError("expected labels or most_frequent, received both")
        return self


class SplitsConfig(Section):
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
                "expected train, validation and test that add up to 1, train and test above 0; "
                f"received {self.train:g}, {self.validation:g}, {self.test:g}, together {total:g}"
            )
        return self


class NearDuplicatesConfig(Section):
    """Copies of one picture are kept on one side of a split; equal files always, near copies too unless switched off.

    Attributes:
        enabled: whether to look for near copies.
        max_distance: largest Hamming distance of two 256-bit perceptual hashes that counts as a near copy, given that
            the colours are close too; 0 for pictures that hash alike only. See `trainer.data.near_duplicates`.
    """

    enabled: bool = True
    max_distance: Annotated[int, Field(ge=0, le=64)] = 10


class DataConfig(Section):
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
            raise ValueError(f"expected root, the catalogue's folder, for source {self.source!r}; received null")
        if self.source == "tfds" and self.tfds.name is None:
            raise ValueError("expected tfds.name for source 'tfds', for example tf_flowers; received null")
        return self
