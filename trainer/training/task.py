"""What the training loop must know of what it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf

from trainer.data.pipeline import Share

__all__ = ["Task"]


class Task(ABC):
    """What a stage learns: which rows come when, how a batch is asked, and how the result is judged.

    Attributes:
        trainee: what checkpoints hold: all that the stage changes, as one model.
        weights: what may be trained, by the paths that `StageConfig.layers` speaks of.
        count: number of training rows, which makes an epoch.
        refresh: for rows that are chosen by what the model makes of them. Takes the number of whole epochs trained and
            whether the model may be asked now, which is so before an epoch's first batch and in one process only; says
            whether the stream must be made anew. `None` where the rows heed no model.
    """

    trainee: keras.Model
    weights: Mapping[str, keras.Variable]
    count: int
    refresh: Callable[[int, bool], bool] | None = None

    @abstractmethod
    def batches(self, share: Share, first: int) -> tf.data.Dataset:
        """The endless stream of batches of this process's share, from the global batch of that number on.

        Every element is a function of its position; see `trainer.data.pipeline.training_batches`.
        """

    @abstractmethod
    def losses(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Asks the model about one replica's batch, in training.

        Returns:
            float32 `[b]`, whose sum over all replicas divided by the size of the global batch is the loss; and bool
            `[b]`, whether the row is answered rightly, of which `accuracy` is the mean.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on the validation rows, each named `val_…`; empty where there are none."""

    @abstractmethod
    def score(self, figures: Mapping[str, float]) -> tuple[float, float]:
        """By which results of `validate` are compared: higher is better, the second where the first are equal."""

    def begin(self) -> None:  # noqa: B027  (a hook that need not be used)
        """Called once, before the start is judged; not where training goes on."""
