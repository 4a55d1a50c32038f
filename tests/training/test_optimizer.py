"""AdamW with a rate for every weight; its schedule at hand-worked steps; rules over paths."""

from __future__ import annotations

import json
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.config import StageConfig
from trainer.errors import InputError
from trainer.training.optimizer import LayerwiseAdamW, build_optimizer, check_rules, multipliers


def variables(*shapes: tuple[int, ...]) -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=shape), dtype="float32") for shape in shapes]


def gradients(weights: list[keras.Variable], step: int) -> list[Any]:
    random = np.random.default_rng(step + 100)
    return [keras.ops.convert_to_tensor(random.normal(size=w.shape), dtype="float32") for w in weights]


def run(optimizer: keras.optimizers.Optimizer, weights: list[keras.Variable], steps: int) -> list[np.ndarray]:
    optimizer.build(weights)
    for step in range(steps):
        optimizer.apply(gradients(weights, step), weights)
    return [weight.numpy() for weight in weights]


SHAPES = [(3, 4), (2, 2, 3, 5), (4, 1)]


@pytest.mark.parametrize("factors", [None, [1.0, 1.0, 1.0]])
def test_over_matrices_it_is_keras_adamw(factors: list[float] | None) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 6)
    expected = run(keras.optimizers.AdamW(schedule, weight_decay=0.3), variables(*SHAPES), 5)
    found = run(LayerwiseAdamW(schedule, decay=0.3, multipliers=factors), variables(*SHAPES), 5)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_multiplier_scales_step_and_decay() -> None:
    start = [weight.numpy() for weight in variables(*SHAPES)]
    plain = run(LayerwiseAdamW(0.1, decay=0.3), variables(*SHAPES), 1)
    slowed = run(LayerwiseAdamW(0.1, decay=0.3, multipliers=[1.0, 0.1, 0.0]), variables(*SHAPES), 1)
    np.testing.assert_allclose(slowed[0], plain[0], rtol=1e-6)
    # Decay comes before the step, and the step does not depend on the weight.
    np.testing.assert_allclose(slowed[1] - start[1], 0.1 * (plain[1] - start[1]), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(slowed[2], start[2])


def test_biases_and_scales_are_not_decayed() -> None:
    weights = variables((3, 4), (4,), ())
    start = [weight.numpy() for weight in weights]
    optimizer = LayerwiseAdamW(0.1, decay=0.5)
    optimizer.build(weights)
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
    np.testing.assert_allclose(weights[0].numpy(), 0.95 * start[0], rtol=1e-6)
    np.testing.assert_array_equal(weights[1].numpy(), start[1])
    np.testing.assert_array_equal(weights[2].numpy(), start[2])


def test_the_configuration_comes_back() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 10, warmup_target=0.3, warmup_steps=2)
    made = LayerwiseAdamW(schedule, decay=0.02, multipliers=[1, 0.5], beta_2=0.99, use_ema=True, ema_momentum=0.8)
    config = json.loads(json.dumps(keras.optimizers.serialize(made)))
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, LayerwiseAdamW)
    assert again.get_config() == made.get_config()
    assert (again.decay, again.multipliers, again.beta_2, again.ema_momentum) == (0.02, [1.0, 0.5], 0.99, 0.8)


def test_one_multiplier_a_weight_is_required() -> None:
    with pytest.raises(ValueError, match="expected 2 multipliers, one a weight; received 1"):
        LayerwiseAdamW(multipliers=[1.0]).build(variables((2, 2), (2, 2)))


def rates(steps: int, per_epoch: int, **stage: Any) -> list[float]:
    made = build_optimizer(StageConfig(learning_rate=0.8, **stage), steps, per_epoch, [1.0])
    schedule = made._learning_rate
    return [float(schedule(step)) for step in range(steps + 1)]


def test_the_rate_warms_up_and_falls_as_a_cosine() -> None:
    found = rates(10, 4, warmup_epochs=0.5)
    half = np.sqrt(0.5) / 2
    eighths = [1, 0, 0.5 + half, 0, 0.5, 0, 0.5 - half, 0, 0]  # of a half cosine over the eight steps after the warm-up
    assert found[:3] == pytest.approx([0.0, 0.4, 0.8])
    for place in (0, 2, 4, 6, 8):
        assert found[2 + place] == pytest.approx(0.8 * eighths[place], abs=1e-6)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert rates(4, 4, warmup_epochs=0.0) == pytest.approx(
        [0.8, 0.4 + 0.4 * np.sqrt(0.5), 0.4, 0.4 - 0.4 * np.sqrt(0.5), 0]
    )


def test_a_constant_rate_stays() -> None:
    assert rates(6, 2, warmup_epochs=1.0, schedule="constant") == pytest.approx([0.0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8])


@pytest.mark.parametrize(("steps", "per_epoch"), [(1, 1), (3, 3), (4, 2)])
def test_a_warm_up_longer_than_the_training_still_reaches_the_rate(steps: int, per_epoch: int) -> None:
    assert max(rates(steps, per_epoch, warmup_epochs=10.0)) == pytest.approx(0.8)


def test_settings_reach_the_optimizer() -> None:
    made = build_optimizer(StageConfig(weight_decay=0.07, ema=0.9), 10, 5, [0.5, 2.0])
    assert (made.decay, made.multipliers, made.use_ema, made.ema_momentum) == (0.07, [0.5, 2.0], True, 0.9)
    assert not build_optimizer(StageConfig(), 10, 5, [1.0]).use_ema


PATHS = ["resnet50/conv1_conv/kernel", "resnet50/conv5_block1_1_conv/kernel", "head/projection/kernel"]


def test_the_first_rule_that_matches_decides() -> None:
    rules = [("conv5", 0.5), (r"^resnet50/", 0.0), ("kernel$", 3.0)]
    assert multipliers(PATHS, rules) == [0.0, 0.5, 3.0]
    assert multipliers(PATHS, [("nothing", 0.0)]) == [1.0, 1.0, 1.0]
    assert multipliers(PATHS, []) == [1.0, 1.0, 1.0]


def test_a_rule_that_matches_nothing_is_misspelt() -> None:
    check_rules("train.finetune.layers", PATHS, [("conv5", 0.5), ("kernel$", 3.0)])
    with pytest.raises(
        InputError, match=r"^train\.finetune\.layers: expected .*'con6_block1' is found in none"
    ) as caught:
        check_rules("train.finetune.layers", PATHS, [("conv5", 0.5), ("con6_block1", 0.0)])
    assert "resnet50/conv5_block1_1_conv/kernel" in str(caught.value)
    assert "\n" not in str(caught.value)
