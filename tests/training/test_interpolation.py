"""How far a training is followed: between the weights before and after."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.training.interpolation import interpolate, interpolated_weights


def moved_weights() -> tuple[list[keras.Variable], list[np.ndarray], np.ndarray]:
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])
    weights = interpolated_weights(model, model)
    assert [weight.name for weight in weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    before = [weight.numpy() for weight in weights]
    for weight in weights:
        weight.assign(weight.numpy() + 4.0)
    return weights, before, weights[0].numpy()


def test_the_best_share_stays() -> None:
    weights, before, _ = moved_weights()
    asked: list[float] = []

    def figures() -> dict[str, float]:
        asked.append(float(weights[2].numpy()[0]))
        return {"score": -abs(asked[-1] - 1.2)}

    found = interpolate(weights, before, (1.0, 0.0, 0.25), figures, "score")
    assert asked == [0.0, 1.0, 4.0]
    assert found.share == 0.25
    assert [row["interpolation"] for row in found.figures] == [0.0, 0.25, 1.0]
    np.testing.assert_allclose(weights[2].numpy(), 1.0)
    np.testing.assert_allclose(weights[0].numpy(), 2.0)


def test_of_equal_ones_the_smaller_share() -> None:
    weights, before, _ = moved_weights()
    assert interpolate(weights, before, (1.0, 0.5), lambda: {"score": 0.3}, "score").share == 0.5


def test_without_validation_the_whole_way() -> None:
    weights, before, after = moved_weights()
    assert interpolate(weights, before, (0.0, 1.0, 0.5), dict, "score").share == 1.0
    np.testing.assert_array_equal(weights[0].numpy(), after)
