"""From the configuration of a stage to its sampler."""

from __future__ import annotations

from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np

from trainer.config.sampling import SamplerConfig
from trainer.data.balanced_sampler import BalancedBatches
from trainer.data.sampler import Sampler, ShuffledEpochs
from trainer.training.hard_negatives import HardNegativeBatches

__all__ = ["build_sampler"]


def build_sampler(config: SamplerConfig, labels: np.ndarray, batch_size: int, seed: int, folder: Path) -> Sampler:
    """The sampler that a stage asks for.

    Args:
        config: of the stage.
        labels: int `[N]`, the class number of each training row.
        batch_size: rows in a batch over all devices.
        seed: of the run.
        folder: of the stage's checkpoints; hard negatives are kept there.

    Raises:
        InputError: the training rows have too few classes.
        ValueError: `config.classes` does not divide the batch size.
    """
    if config.kind == "shuffled":
        return ShuffledEpochs(len(labels), seed)
    per_class = config.per_class(batch_size)
    if config.kind == "balanced":
        return BalancedBatches(labels, config.classes, per_class, seed, config.draw)
    return HardNegativeBatches(
        labels,
        config.classes,
        per_class,
        seed,
        folder,
        draw=config.draw,
        per_row=config.per_row,
        skip_nearest=config.skip_nearest,
        refresh_epochs=config.refresh_epochs,
    )
