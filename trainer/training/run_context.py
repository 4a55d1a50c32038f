"""What every job that touches models shares: items, labels, backbones, cached features, paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.config import Config
from trainer.data.freshness import with_true_hashes
from trainer.data.items import ID, LABEL, PICTURE_SHA256, SPLIT, TRAIN, attribute_columns, read_items
from trainer.errors import InputError
from trainer.models.registry import build_backbone
from trainer.training.features import FeatureStores
from trainer.training.strategy import build_strategy, is_chief

__all__ = ["RunContext", "digest"]


def digest(*values: Any) -> str:
    """A short digest of JSON values, for keys that say whether something must be made anew."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class RunContext:
    """A run's items and the means to train on them.

    Attributes:
        config: of the run.
        workdir: of the run.
        strategy: where models are made and trained.
    """

    config: Config
    workdir: Path
    strategy: tf.distribute.Strategy = field(repr=False)

    @classmethod
    def open(cls, config: Config, workdir: Path, *, training: bool = True) -> RunContext:
        """Sets precision, seeds and strategy, and reads the items.

        Args:
            config: of the run.
            workdir: of the run.
            training: false where other workers do not take part, in evaluation.

        Raises:
            InputError: `prepare` has not run, or the strategy cannot be had.
        """
        alone = config.train.distribution == "multi_worker" and not training
        strategy = build_strategy("none" if alone else config.train.distribution)
        keras.config.set_dtype_policy(config.train.precision)
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_op_determinism()
        context = cls(config, workdir, strategy)
        if len(context.labels) < 2:
            raise InputError(f"expected at least two labels to learn, the items have {len(context.labels)}")
        return context

    @cached_property
    def items(self) -> pd.DataFrame:
        """All items, their hashes true to the files."""
        return with_true_hashes(read_items(self.workdir))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The label names, sorted; their places are the classes."""
        return tuple(sorted(self.items[LABEL].unique()))

    @cached_property
    def features(self) -> FeatureStores:
        """The feature caches."""
        return FeatureStores(self.workdir / "features", self.config.train.extraction_batch_size)

    @property
    def chief(self) -> bool:
        """Whether this process writes."""
        return is_chief(self.strategy)

    def split(self, name: str) -> pd.DataFrame:
        """The items of a split, in their order."""
        return self.items[self.items[SPLIT] == name]

    def classes(self, items: pd.DataFrame) -> np.ndarray:
        """Class numbers int32 `[N]` of the items."""
        places = {label: place for place, label in enumerate(self.labels)}
        return items[LABEL].map(places).to_numpy(np.int32)

    def values(self, attribute: str) -> tuple[str, ...]:
        """The values of an attribute among the training items, in order; a missing one is none.

        Raises:
            InputError: the items have no such attribute.
        """
        if attribute not in self.items.columns:
            known = ", ".join([LABEL, *attribute_columns(self.items)])
            raise InputError(f"relevance: expected attributes of the items ({known}), received {attribute!r}")
        given = self.split(TRAIN)[attribute].dropna().astype(str)
        return tuple(sorted(set(given) - {""}))

    def codes(self, attribute: str, items: pd.DataFrame) -> np.ndarray:
        """Places int32 `[N]` of the items' values in `values(attribute)`, -1 for a missing or unknown one."""
        places = {value: place for place, value in enumerate(self.values(attribute))}
        return items[attribute].map(places).fillna(-1).to_numpy(np.int32)

    def class_counts(self) -> np.ndarray:
        """Training items of each class, int64 `[C]`."""
        return np.bincount(self.classes(self.split(TRAIN)), minlength=len(self.labels))

    @cached_property
    def items_digest(self) -> str:
        """Digest of which picture has which label and split."""
        columns = self.items[[ID, PICTURE_SHA256, LABEL, SPLIT]]
        return hashlib.sha256(pd.util.hash_pandas_object(columns, index=False).to_numpy().tobytes()).hexdigest()

    @cached_property
    def pretrained(self) -> Mapping[str, keras.Model]:
        """The configured backbones as they start."""
        with self.strategy.scope():
            return {name: build_backbone(name, self.config.model) for name in self.config.model.backbones}

    def checkpoints(self, model: str) -> Path:
        """Folder of a model's checkpoints; `best.keras` there is the finished model."""
        return self.workdir / "checkpoints" / model
