"""The order of rows is a pure function of the position."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.sampler import ShuffledEpochs


def stream(count: int, seed: int, first: int, last: int) -> np.ndarray:
    sampler = ShuffledEpochs(count, seed)
    rows = tf.data.Dataset.range(first, last).map(sampler.row)
    return np.asarray(list(rows.as_numpy_iterator()), np.int64)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000])
def test_every_epoch_holds_every_row_once(count: int) -> None:
    epochs = stream(count, 5, 0, 4 * count).reshape(4, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (4, 1)))


def test_every_epoch_has_an_order_of_its_own_and_so_has_every_seed() -> None:
    epochs = stream(50, 5, 0, 150).reshape(3, 50)
    orders = [*epochs, stream(50, 6, 0, 50), np.arange(50)]
    assert len(np.unique(orders, axis=0)) == 5


def test_any_position_is_what_it_is_in_the_whole_stream() -> None:
    whole = stream(13, 2, 0, 60)
    np.testing.assert_array_equal(stream(13, 2, 31, 60), whole[31:])
    sampler = ShuffledEpochs(13, 2)
    for position in (0, 12, 13, 59):
        row = sampler.row(tf.constant(position, tf.int64))
        assert row.dtype == tf.int64
        assert row.shape == ()
        assert int(row) == whole[position]


def test_several_positions_at_once_are_as_each_by_itself() -> None:
    asked = np.array([59, 0, 12, 13, 31, 0])
    found = ShuffledEpochs(13, 2).row(tf.constant(asked, tf.int64))
    assert (found.dtype, found.shape) == (tf.int64, (6,))
    np.testing.assert_array_equal(found, stream(13, 2, 0, 60)[asked])
    batches = tf.data.Dataset.range(60).batch(8).map(ShuffledEpochs(13, 2).row)
    np.testing.assert_array_equal(np.concatenate(list(batches.as_numpy_iterator())), stream(13, 2, 0, 60))


def test_the_order_is_that_of_tensorflow() -> None:
    expected = [int(tf.random.experimental.index_shuffle(place, [2, 1], 12)) for place in range(13)]
    np.testing.assert_array_equal(stream(13, 2, 13, 26), expected)


def test_far_positions_work() -> None:
    far = 7 * 10**12
    assert sorted(stream(7, 2**31 - 1, far, far + 7)) == list(range(7))


def test_no_row_prefers_a_place() -> None:
    places = np.argsort(stream(20, 0, 0, 20 * 500).reshape(500, 20), axis=1)
    assert np.abs(places.mean(axis=0) - 9.5).max() < 1.2


def test_rows_are_required() -> None:
    with pytest.raises(ValueError, match="expected at least one row; received 0"):
        ShuffledEpochs(0, 1)
