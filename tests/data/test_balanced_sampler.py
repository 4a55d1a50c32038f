"""Batches hold P classes x K items, all alike often, and are a pure function of the position."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.balanced_sampler import BalancedBatches
from trainer.errors import InputError

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 25)


def labels_of(sizes: tuple[int, ...]) -> np.ndarray:
    """Class numbers of rows, mixed; every second number is no class."""
    labels = 2 * np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(0).permutation(labels)


def stream(sampler: BalancedBatches, first: int, last: int) -> np.ndarray:
    rows = tf.data.Dataset.range(first, last).map(sampler.row, num_parallel_calls=2, deterministic=True)
    return np.fromiter(rows.as_numpy_iterator(), np.int64, last - first)


def groups(sampler: BalancedBatches, count: int) -> np.ndarray:
    return np.array([sampler.group(number) for number in range(count)])


# Fewer than two batches to a cycle, just two, several; batches that end with a cycle and ones that do not.
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 6, 8, 10])
@pytest.mark.parametrize("per_class", [1, 4])
def test_every_batch_has_its_classes_and_every_cycle_all_of_them(classes: int, per_class: int) -> None:
    labels = labels_of(SIZES)
    found = labels[groups(BalancedBatches(labels, classes, per_class, 3), 40 * classes)]
    assert (found == found[:, :1]).all()
    batches = found[:, 0].reshape(40, classes)
    assert all(len(set(batch)) == classes for batch in batches.tolist())
    cycles = np.sort(batches.reshape(-1, len(SIZES)), axis=1)
    np.testing.assert_array_equal(cycles, np.tile(np.unique(labels), (len(cycles), 1)))


@pytest.mark.parametrize("draw", ["uniform", "sqrt", "share"])
def test_no_item_comes_again_before_all_of_its_class_have_come(draw: str) -> None:
    labels = labels_of(SIZES)
    found = groups(BalancedBatches(labels, 4, 4, 3, draw), 400)
    for label in np.unique(labels):
        items = np.flatnonzero(labels == label)
        seen = found[labels[found[:, 0]] == label].ravel()
        rounds = seen[: len(seen) // len(items) * len(items)].reshape(-1, len(items))
        assert len(rounds) >= 2
        np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(items, (len(rounds), 1)))


def test_items_of_a_group_differ_unless_the_class_has_too_few_and_then_repeat_in_turn() -> None:
    labels = labels_of(SIZES)
    for group in groups(BalancedBatches(labels, 4, 4, 3), 400):
        size = int((labels == labels[group[0]]).sum())
        assert len(set(group.tolist())) == min(4, size)
        assert np.bincount(group)[group].max() == -(-4 // size)


def test_batches_and_orders_vary() -> None:
    sampler = BalancedBatches(labels_of((20,) * 12), 4, 4, 3)
    cycles = labels_of((20,) * 12)[groups(sampler, 24 * 12)[:, 0]].reshape(24, 12)
    assert len(np.unique(cycles, axis=0)) == 24
    together = {frozenset(batch) for batch in cycles.reshape(-1, 4).tolist()}
    assert len(together) > 60  # of 72
    other_seed = BalancedBatches(labels_of((20,) * 12), 4, 4, 4)
    assert not np.array_equal(groups(other_seed, 12), groups(sampler, 12))


def test_few_classes_get_a_new_order_as_soon_as_a_batch_ends_with_a_cycle() -> None:
    cycles = groups(BalancedBatches(np.repeat(np.arange(6), 2), 4, 1, 0), 24 * 6)[:, 0].reshape(12, 2, 6) // 2
    np.testing.assert_array_equal(cycles[:, 0], cycles[:, 1])  # three batches of four
    assert len(np.unique(cycles[:, 0], axis=0)) > 10


def test_no_class_prefers_a_place_of_the_cycle() -> None:
    labels = np.repeat(np.arange(20), 2)
    cycles = groups(BalancedBatches(labels, 7, 1, 0), 20 * 500)[:, 0].reshape(500, 20) // 2
    assert np.abs(np.argsort(cycles, axis=1).mean(axis=0) - 9.5).max() < 1.2


@pytest.mark.parametrize(
    ("draw", "times"), [("uniform", [1, 1, 1, 1]), ("sqrt", [1, 2, 3, 10]), ("share", [1, 1, 3, 25])]
)
def test_how_often_a_class_comes(draw: str, times: list[int]) -> None:
    labels = np.repeat(np.arange(4), (1, 4, 9, 100))
    found = labels[groups(BalancedBatches(labels, 2, 4, 3, draw), 3 * sum(times))[:, 0]].reshape(3, -1)
    assert [np.bincount(cycle).tolist() for cycle in found] == [times] * 3


def test_any_position_is_what_it_is_in_the_whole_stream() -> None:
    labels = labels_of(SIZES)
    whole = stream(BalancedBatches(labels, 4, 4, 3), 0, 400)
    np.testing.assert_array_equal(whole, groups(BalancedBatches(labels, 4, 4, 3), 100).ravel())
    for first in (1, 39, 40, 163, 399):
        np.testing.assert_array_equal(stream(BalancedBatches(labels, 4, 4, 3), first, 400), whole[first:])
    backwards = BalancedBatches(labels, 4, 4, 3)
    asked = tf.function(backwards.row, input_signature=[tf.TensorSpec((), tf.int64)])
    for position in range(399, -1, -7):
        row = asked(tf.constant(position, tf.int64))
        assert (row.dtype, row.shape) == (tf.int64, ())
        assert int(row) == whole[position]
    batches = tf.data.Dataset.range(400).batch(16).map(BalancedBatches(labels, 4, 4, 3).row)
    assert batches.element_spec.shape.as_list() == [None]
    np.testing.assert_array_equal(np.concatenate(list(batches.as_numpy_iterator())), whole)


def test_workers_that_share_the_batches_see_what_one_would() -> None:
    labels = labels_of(SIZES)
    whole = stream(BalancedBatches(labels, 4, 4, 3), 0, 160).reshape(10, 2, 8)
    for worker in (0, 1):
        places = [place for batch in range(10) for place in range(16 * batch + 8 * worker, 16 * batch + 8 * worker + 8)]
        sampler = BalancedBatches(labels, 4, 4, 3)
        rows = tf.data.Dataset.from_tensor_slices(np.array(places, np.int64)).map(sampler.row)
        np.testing.assert_array_equal(list(rows.as_numpy_iterator()), whole[:, worker].ravel())


def test_the_order_is_the_same_everywhere_and_for_ever() -> None:
    sampler = BalancedBatches(np.repeat(np.arange(5), 3), 2, 2, 7)
    assert groups(sampler, 5).tolist() == [[12, 14], [3, 4], [10, 9], [8, 6], [1, 2]]


def test_far_positions_work() -> None:
    labels = labels_of(SIZES)
    far = 10**12
    found = labels[stream(BalancedBatches(labels, 5, 2, 2**31 - 1), far, far + 20)].reshape(10, 2)[:, 0]
    np.testing.assert_array_equal(np.sort(found), np.unique(labels))


def test_impossible_numbers_are_refused() -> None:
    labels = labels_of(SIZES)
    with pytest.raises(InputError, match=r"sampler\.classes: expected training items of at least 11 .* received 10"):
        BalancedBatches(labels, 11, 4, 3)
    with pytest.raises(InputError, match="of at least 2 classes, received 1"):
        BalancedBatches(np.zeros(9, int), 1, 4, 3)
    with pytest.raises(ValueError, match="at least 1 class x 1 row, received 4 x 0"):
        BalancedBatches(labels, 4, 0, 3)
