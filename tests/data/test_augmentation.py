"""Augmentation: every switch by itself, and every picture a function of seed and position."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import AugmentationConfig
from trainer.data.augmentation import Augmentation
from trainer.data.seeded_draws import SeededDraws

OFF: dict[str, Any] = {"flip": False, "crop": 1.0, "colour": 0.0, "rand_augment": 0.0, "cut_mix": 0.0, "mix_up": 0.0}
PICTURE_SWITCHES = [{"flip": True}, {"crop": 0.5}, {"colour": 0.5}, {"rand_augment": 0.5}]
BATCH_SWITCHES = [{"cut_mix": 1.0}, {"mix_up": 1.0}, {"cut_mix": 1.0, "mix_up": 0.4}]
SIZE, COUNT = 24, 8


def augmentation(switches: dict[str, Any], seed: int = 3) -> Augmentation:
    return Augmentation(AugmentationConfig(**{**OFF, **switches}), SIZE, seed)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Each unlike the others and unlike its own mirror image."""
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.eye(COUNT, dtype=np.float32)


def augmented(made: Augmentation, picture: np.ndarray, positions: list[int], **how: Any) -> np.ndarray:
    """The same picture at several positions of the stream."""
    stream = tf.data.Dataset.from_tensor_slices(np.asarray(positions, np.int64))
    stream = stream.map(lambda position: made.picture(tf.constant(picture), position), **how)
    return np.stack([image.numpy() for image in stream])


@pytest.mark.parametrize("switches", PICTURE_SWITCHES, ids=str)
def test_a_picture_is_a_function_of_seed_and_position(switches: dict[str, Any], pictures: np.ndarray) -> None:
    positions = list(range(COUNT))
    one = augmented(augmentation(switches), pictures[0], positions)
    assert one.shape == pictures.shape
    assert one.dtype == np.uint8
    assert len(np.unique(one, axis=0)) > (1 if "flip" in switches else COUNT // 2)
    again = augmented(augmentation(switches), pictures[0], positions[::-1], num_parallel_calls=4)[::-1]
    np.testing.assert_array_equal(again, one)


@pytest.mark.parametrize("switches", PICTURE_SWITCHES[:3], ids=str)
def test_another_seed_gives_other_pictures(switches: dict[str, Any], pictures: np.ndarray) -> None:
    found = [augmented(augmentation(switches, seed), pictures[0], list(range(COUNT))) for seed in (3, 4)]
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("switches", BATCH_SWITCHES, ids=str)
def test_a_mixture_is_a_function_of_seed_and_position(
    switches: dict[str, Any], pictures: np.ndarray, labels: np.ndarray
) -> None:
    def mixed(seed: int, position: int) -> tuple[np.ndarray, np.ndarray]:
        made = tf.function(augmentation(switches, seed).batch)
        images, weights = made(tf.constant(pictures), tf.constant(labels), tf.constant(position, tf.int64))
        return images.numpy(), weights.numpy()

    images, weights = mixed(3, 16)
    assert images.shape == pictures.shape
    assert images.dtype == np.uint8
    assert weights.shape == labels.shape
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert weights.min() >= 0.0
    assert (weights < 0.999).any()
    for a, b in zip(mixed(3, 16), (images, weights), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (mixed(3, 24)[0] != images).any()
    assert (mixed(4, 16)[0] != images).any()


def test_mixed_pictures_hold_what_their_labels_say(pictures: np.ndarray, labels: np.ndarray) -> None:
    made = augmentation({"mix_up": 1.0})
    assert made.mixes
    images, weights = made.batch(tf.constant(pictures), tf.constant(labels), tf.constant(0, tf.int64))
    expected = np.tensordot(weights.numpy(), pictures.astype(np.float32), axes=1)
    np.testing.assert_allclose(images.numpy(), expected, atol=0.51)


def test_switched_off_is_the_picture_itself(pictures: np.ndarray, labels: np.ndarray) -> None:
    made = augmentation({})
    assert not made.mixes
    np.testing.assert_array_equal(augmented(made, pictures[0], [0, 1, 2]), np.stack([pictures[0]] * 3))
    images, weights = made.batch(tf.constant(pictures), tf.constant(labels), tf.constant(0, tf.int64))
    np.testing.assert_array_equal(images, pictures)
    np.testing.assert_array_equal(weights, labels)


def test_a_flip_mirrors_half_of_the_pictures_left_to_right(pictures: np.ndarray) -> None:
    found = augmented(augmentation({"flip": True}), pictures[0], list(range(100)))
    mirrored = (found == pictures[0][:, ::-1]).all(axis=(1, 2, 3))
    plain = (found == pictures[0]).all(axis=(1, 2, 3))
    assert (mirrored ^ plain).all()
    assert 35 < mirrored.sum() < 65


def test_a_crop_shows_a_part_from_anywhere() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, SIZE).round().astype(np.uint8)[None, :, None], (SIZE, SIZE, 3))
    found = augmented(augmentation({"crop": 0.5}), ramp.copy(), list(range(40)))[:, SIZE // 2, :, 0].astype(float)
    shown = (found[:, -1] - found[:, 0]) / 255.0
    assert shown.max() <= 1.0
    assert 0.4 < shown.min() < 0.8
    left, right = found[:, 0], 255 - found[:, -1]
    assert (left > right + 10).any()
    assert (right > left + 10).any()


def test_colours_change_within_their_strength() -> None:
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    means = augmented(augmentation({"colour": 0.1}), grey, list(range(40))).mean(axis=(1, 2, 3))
    assert 100 < means.min() < 120
    assert 136 < means.max() < 156


def operations(made: Augmentation) -> set[str]:
    image, position = tf.TensorSpec((SIZE, SIZE, 3), tf.uint8), tf.TensorSpec((), tf.int64)
    batch = (tf.TensorSpec((4, SIZE, SIZE, 3), tf.uint8), tf.TensorSpec((4, 3), tf.float32), position)
    graphs = [
        tf.function(made.picture).get_concrete_function(image, position).graph.as_graph_def(),
        tf.function(made.batch).get_concrete_function(*batch).graph.as_graph_def(),
    ]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return {node.op for node in nodes}


def test_no_draw_depends_on_a_hidden_state() -> None:
    everything = {key: value for switches in (*PICTURE_SWITCHES, *BATCH_SWITCHES) for key, value in switches.items()}
    found = operations(augmentation(everything))
    random = {name for name in found if any(word in name for word in ("Random", "Rng", "Shuffle", "Multinomial"))}
    assert random
    assert {name for name in random if "Stateless" not in name} == set()
    assert not {name for name in found if name in ("ReadVariableOp", "VarHandleOp", "PyFunc", "EagerPyFunc")}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_pictures_do_not_depend_on_the_precision_of_the_model(policy: str, pictures: np.ndarray) -> None:
    switches = {"crop": 0.5, "colour": 0.5}
    expected = augmented(augmentation(switches), pictures[0], [0, 1])
    keras.config.set_dtype_policy(policy)
    try:
        found = augmented(augmentation(switches), pictures[0], [0, 1])
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, expected)


def test_a_draw_outside_of_a_seed_is_our_fault() -> None:
    with pytest.raises(RuntimeError, match=r"outside of SeededDraws\.seeded"):
        SeededDraws().uniform((2,))


def test_tensorflow_draws_as_ever_afterwards() -> None:
    before = tf.random.uniform, tf.random.get_global_generator
    made = augmentation({"crop": 0.5})
    made.picture(tf.zeros((SIZE, SIZE, 3), tf.uint8), tf.constant(0, tf.int64))
    assert (tf.random.uniform, tf.random.get_global_generator) == before
