"""The objective: today's cross-entropy where nothing else is asked, and all that may be added to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config.losses import ObjectiveConfig
from trainer.losses import GradedContrastive, Matryoshka, Objective, ProxyAnchor, Triplet, build_objective
from trainer.losses.build import LOSSES, attribute_columns

RANDOM = np.random.default_rng(0)
CLASSES, ROWS = 4, 12
OUTPUTS = {
    "embedding": RANDOM.normal(size=(ROWS, 8)).astype(np.float32),
    "logits": (3 * RANDOM.normal(size=(ROWS, CLASSES))).astype(np.float32),
}
CODES = RANDOM.integers(0, CLASSES, ROWS)
ATTRIBUTES = RANDOM.integers(-1, 3, (ROWS, 1)).astype(np.int32)
BATCH = {
    "image": {"part": np.zeros((ROWS, 3), np.float32)},
    "label": np.eye(CLASSES, dtype=np.float32)[CODES],
    "attributes": ATTRIBUTES,
}
WEIGHTS = [0.5, 1.0, 2.5, 0.7]
RELEVANCE = {"colour": 1.0, "label": 3.0}


def configured(**settings: Any) -> ObjectiveConfig:
    return ObjectiveConfig.model_validate(settings)


def built(*losses: dict[str, Any], **settings: Any) -> Objective:
    return build_objective(configured(losses=list(losses), **settings), CLASSES, 8, relevance=RELEVANCE)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_default_is_the_cross_entropy_to_the_last_bit(weights: list[float] | None) -> None:
    labels = 0.7 * BATCH["label"] + 0.3 * BATCH["label"][::-1]
    with tf.GradientTape(persistent=True) as tape:
        logits = tf.constant(OUTPUTS["logits"])
        tape.watch(logits)
        smoothed = keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=0.1)
        expected = smoothed * tf.linalg.matvec(labels, tf.constant(weights or [1.0] * CLASSES))
        objective = build_objective(ObjectiveConfig(), CLASSES, 8, class_weights=weights)
        found = objective({**BATCH, "label": labels}, {**OUTPUTS, "logits": logits})
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(tape.gradient(found, logits), tape.gradient(expected, logits))
    assert objective.weights == []


def test_losses_are_added_by_weight_and_weighed_by_class() -> None:
    config = configured(
        cross_entropy={"weight": 0.5, "label_smoothing": 0.0},
        losses=[{"name": "triplet", "weight": 2.0, "mining": "all", "margin": "soft"}],
    )
    found = build_objective(config, CLASSES, 8, class_weights=WEIGHTS)(BATCH, OUTPUTS)
    entropy = keras.losses.categorical_crossentropy(BATCH["label"], OUTPUTS["logits"], from_logits=True)
    expected = 0.5 * entropy + 2.0 * Triplet("all", "soft")(CODES, OUTPUTS["embedding"])
    np.testing.assert_allclose(found, expected * np.array(WEIGHTS)[CODES], rtol=1e-6)


def test_a_mixture_is_of_its_heaviest_class() -> None:
    config = configured(cross_entropy={"weight": 0.0}, losses=[{"name": "supervised_contrastive"}])
    objective = build_objective(config, CLASSES, 8)
    mixed = 0.6 * BATCH["label"] + 0.4 * BATCH["label"][::-1]
    expected = objective(BATCH, OUTPUTS)
    np.testing.assert_allclose(objective({**BATCH, "label": mixed}, OUTPUTS), expected, rtol=1e-6)
    assert expected.numpy().any()


def test_graded_losses_see_the_class_first_then_the_other_attributes() -> None:
    entry = {"name": "graded_contrastive", "power": 2.0}
    config = configured(cross_entropy={"weight": 0.0}, losses=[entry])
    assert attribute_columns(config, RELEVANCE) == ("colour",)
    objective = build_objective(config, CLASSES, 8, relevance=RELEVANCE)
    labels = np.concatenate([CODES[:, None], ATTRIBUTES], axis=1)
    expected = GradedContrastive((3.0, 1.0), power=2.0)(labels, OUTPUTS["embedding"])
    np.testing.assert_array_equal(objective(BATCH, OUTPUTS), expected)
    with pytest.raises(ValueError, match=r"expected batch\['attributes'\] \[b, 1\]\. Received: none"):
        objective({"label": BATCH["label"]}, OUTPUTS)
    with pytest.raises(ValueError, match=r"Received: \[12, 2\]"):
        objective({**BATCH, "attributes": np.zeros((ROWS, 2), np.int32)}, OUTPUTS)


def test_other_losses_need_no_attributes() -> None:
    config = configured(losses=[{"name": "multi_similarity"}])
    assert attribute_columns(config, RELEVANCE) == ()
    objective = build_objective(config, CLASSES, 8, relevance=RELEVANCE)
    assert np.isfinite(objective({"label": BATCH["label"]}, OUTPUTS)).all()


def test_the_configuration_s_defaults_are_the_losses_own() -> None:
    for name, kind in LOSSES.items():
        (entry,) = configured(losses=[{"name": name}]).losses
        own: Any = kind(CLASSES) if "proxies" in vars(built({"name": name}).loss.members[0]) else kind()
        settings = entry.model_dump(exclude={"name", "weight"})
        assert settings.items() <= own.get_config().items(), name


def test_every_loss_can_be_asked_for_at_every_width_with_a_memory() -> None:
    config = configured(losses=[{"name": name} for name in LOSSES], memory=16, memory_start=1)
    objective = build_objective(config, CLASSES, 8, dimensions=(2, 4), relevance=RELEVANCE)
    assert all(isinstance(member, Matryoshka) for member in objective.loss.members)
    paths = [weight.path for weight in objective.weights]
    assert len(set(paths)) == len(paths) == 3 * (3 + 4 * 4)
    assert "objective/losses/proxy_anchor_dimensions/proxy_anchor_4/proxies" in paths
    assert np.isfinite(objective(BATCH, OUTPUTS)).all()


def test_an_objective_is_saved_and_loaded_with_all_it_holds(tmp_path: Path) -> None:
    config = configured(losses=[{"name": "proxy_anchor"}, {"name": "graded_contrastive"}], memory=16)
    objective = build_objective(config, CLASSES, 8, dimensions=(2,), relevance=RELEVANCE, class_weights=WEIGHTS, seed=3)
    objective.set_centers(RANDOM.normal(size=(CLASSES, 8)))
    for _ in range(2):
        objective(BATCH, OUTPUTS)
    inputs = {name: keras.Input(values.shape[1:], dtype=str(values.dtype)) for name, values in OUTPUTS.items()}
    asked = {name: keras.Input(BATCH[name].shape[1:], dtype=str(BATCH[name].dtype)) for name in ("label", "attributes")}
    model = keras.Model([asked, inputs], objective(asked, inputs))
    model.save(tmp_path / "objective.keras")
    loaded = keras.saving.load_model(tmp_path / "objective.keras").get_layer("objective")
    assert loaded.get_config() == objective.get_config()
    for _ in range(2):
        np.testing.assert_array_equal(loaded(BATCH, OUTPUTS), objective(BATCH, OUTPUTS))


def test_weights_alone_bring_a_new_objective_to_the_same_place() -> None:
    settings: Any = {"losses": [{"name": "proxy_anchor"}, {"name": "triplet"}], "memory": 30}
    one, other = (build_objective(configured(**settings), CLASSES, 8) for _ in range(2))
    one.set_centers(RANDOM.normal(size=(CLASSES, 8)))
    one(BATCH, OUTPUTS)
    other.set_weights(one.get_weights())
    reversed_outputs = {name: values[::-1].copy() for name, values in OUTPUTS.items()}
    np.testing.assert_array_equal(one(BATCH, reversed_outputs), other(BATCH, reversed_outputs))


def test_starts_are_the_same_in_every_process() -> None:
    proxies = [built({"name": "proxy_anchor"}).get_weights()[0] for _ in range(2)]
    np.testing.assert_array_equal(*proxies)
    other = build_objective(configured(losses=[{"name": "proxy_anchor"}]), CLASSES, 8, seed=1)
    assert (other.get_weights()[0] != proxies[0]).all()
    keras.utils.set_random_seed(9)  # on which they do not depend
    np.testing.assert_array_equal(built({"name": "proxy_anchor"}).get_weights()[0], proxies[0])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a weight above 0 of the cross-entropy, or a loss"):
        Objective(cross_entropy=0.0)
    with pytest.raises(ValueError, match=r"expected 4 class weights\. Received: 3"):
        build_objective(ObjectiveConfig(), CLASSES, 8, class_weights=[1.0] * 3)
    with pytest.raises(ValueError, match="expected a MetricLoss"):
        Objective(loss=keras.layers.Dense(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected at least one class"):
        ProxyAnchor(0)
    with pytest.raises(ValueError, match="expected mining among semi_hard, batch_hard, all"):
        Triplet("hardest")  # type: ignore[arg-type]
