"""WiSE-FT: between the weights before and after a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

__all__ = ["Interpolation", "interpolate", "interpolated_weights"]


class Interpolation(NamedTuple):
    """How far to go, and what was found on the way.

    Attributes:
        share: of the weights after; 0 for those before.
        figures: those of every share that was tried, in rising order, the share itself as `interpolation`.
    """

    share: float
    figures: tuple[dict[str, float], ...]


def interpolated_weights(*models: keras.Model) -> list[keras.Variable]:
    """What is interpolated of some models: all numbers with a fraction, whether trained or moving along."""
    found = {id(weight): weight for model in models for weight in model.weights}
    return [weight for weight in found.values() if keras.backend.is_float_dtype(weight.dtype)]


def interpolate(
    weights: Sequence[keras.Variable],
    before: Sequence[np.ndarray],
    shares: Sequence[float],
    figures: Callable[[], dict[str, float]],
    score: str,
) -> Interpolation:
    """Sets the weights to the best of `(1 - share) * before + share * after`, after being what they are now.

    Args:
        weights: to be set.
        before: their values before the training.
        shares: to be tried, in [0, 1].
        figures: judges the weights as they are when it is called.
        score: name of the figure by which shares are compared: higher is better, of equal ones the smaller share is
            taken. Without such a figure, the largest share.

    Returns:
        The share that was best, and all figures.

    Paper: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, https://arxiv.org/abs/2109.01903
    """
    after = [weight.numpy() for weight in weights]

    def go(share: float) -> None:
        for weight, a, b in zip(weights, before, after, strict=True):
            weight.assign((1.0 - share) * a + share * b)

    table = []
    for share in sorted(shares):
        go(share)
        table.append({"interpolation": share, **figures()})
    best = max(table, key=lambda row: row.get(score, row["interpolation"]))["interpolation"]  # the first of equal ones
    go(best)
    return Interpolation(best, tuple(table))
