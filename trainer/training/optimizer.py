"""AdamW with a learning rate of its own for every weight."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.config import StageConfig
from trainer.errors import InputError

__all__ = ["LayerwiseAdamW", "build_optimizer", "check_rules", "multipliers"]


@keras.saving.register_keras_serializable("shoppin")
class LayerwiseAdamW(keras.optimizers.Adam):
    """Adam with decoupled weight decay, both scaled for each weight by a multiplier.

    Biases, normalisation scales and other weights of one dimension or none are not decayed.

    Args:
        learning_rate: float or `LearningRateSchedule`.
        decay: decoupled weight decay, multiplied with the learning rate. Default 0.01.
        multipliers: one factor for each trainable weight, in the order given to `build`; default 1 for all.
        **kwargs: of `keras.optimizers.Adam`; `weight_decay` is not accepted, `decay` stands for it.

    Paper: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self, learning_rate: Any = 1e-4, decay: float = 0.01, multipliers: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        kwargs.pop("weight_decay", None)
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.decay = float(decay)
        self.multipliers = None if multipliers is None else [float(m) for m in multipliers]

    def build(self, variables: list[Any]) -> None:
        if self.multipliers is not None and len(self.multipliers) != len(variables):
            raise ValueError(f"expected {len(variables)} multipliers, one a weight; received {len(self.multipliers)}")
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = keras.ops.cast(learning_rate, variable.dtype)
        if self.multipliers is not None:
            rate = rate * self.multipliers[index]
        if self.decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * (rate * self.decay))
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "decay": self.decay, "multipliers": self.multipliers}
        config.pop("weight_decay", None)
        return config


def multipliers(paths: Sequence[str], rules: Sequence[tuple[str, float]]) -> list[float]:
    """What each weight's learning rate is multiplied with.

    Args:
        paths: of the weights, such as `resnet50/conv5_block1_1_conv/kernel` or `head/projection/kernel`.
        rules: (regular expression, multiplier); the first whose expression is found in the path decides.

    Returns:
        A multiplier for each path; 1 where no rule matches.
    """
    return [next((factor for pattern, factor in rules if re.search(pattern, path)), 1.0) for path in paths]


def check_rules(key: str, paths: Sequence[str], rules: Sequence[tuple[str, float]]) -> None:
    """Refuses rules that match no weight of any model of the run: they are misspelt.

    Args:
        key: of the configuration, for the message.
        paths: of the weights of all models.
        rules: see `multipliers`.

    Raises:
        InputError: names the expression and paths that look like it.
    """
    for pattern, _ in rules:
        if not any(re.search(pattern, path) for path in paths):
            near = difflib.get_close_matches(pattern, paths, n=2, cutoff=0.0)
            raise InputError(
                f"{key}: expected expressions that are found in the path of a weight; {pattern!r} is found in none. "
                f"Paths look like {', '.join(near)}"
            )


def build_optimizer(stage: StageConfig, steps: int, steps_per_epoch: int, factors: Sequence[float]) -> LayerwiseAdamW:
    """The optimiser of a stage: warm-up, then cosine decay to zero or a constant rate.

    Args:
        stage: its settings.
        steps: updates in the whole stage.
        steps_per_epoch: updates in one epoch.
        factors: see `LayerwiseAdamW`.
    """
    warmup = min(round(stage.warmup_epochs * steps_per_epoch), max(steps - 1, 0))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else stage.learning_rate,
        decay_steps=max(steps - warmup, 1),
        alpha=0.0 if stage.schedule == "cosine" else 1.0,
        warmup_target=stage.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return LayerwiseAdamW(
        schedule,
        decay=stage.weight_decay,
        multipliers=factors,
        use_ema=stage.ema > 0.0,
        ema_momentum=stage.ema or 0.99,
    )
