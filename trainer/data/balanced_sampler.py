"""Batches of P classes x K items, as losses over the pairs of a batch need them."""

from __future__ import annotations

import functools
import math
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from trainer.data.sampler import graph_row
from trainer.errors import InputError

__all__ = ["BalancedBatches"]

_GROUPS_KEPT = 1024


class BalancedBatches:
    """K rows of each of P classes in every batch; rows of one class come together, P such groups are a batch.

    Classes come in shuffled cycles joined without a gap. In a cycle each class comes once (`uniform`), or
    `round(sqrt(n))` times (`sqrt`), or `ceil(n / K)` times (`share`), n being its number of rows. With `uniform` the P
    classes of a batch always differ; with the others, a large class may hold several of its groups.

    The rows of a class come in shuffled cycles of their own: none comes again before all have come. The K rows of a
    group always differ, unless the class has fewer than K, which then repeat in turn.

    An epoch remains `count` rows, as with `ShuffledEpochs`, but is not one look at each: rows of small classes come
    more often in it, rows of large ones less often or not at all.

    A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017 (there "PK").

    Args:
        labels: int `[N]`, the class number of each row; numbers without a row are allowed.
        classes: P, at least 1.
        per_class: K, at least 1.
        seed: of the orders, at least 0.
        draw: how often a class comes.

    Raises:
        InputError: the rows have fewer than P classes, or fewer than two.
    """

    def __init__(
        self,
        labels: np.ndarray,
        classes: int,
        per_class: int,
        seed: int,
        draw: Literal["uniform", "sqrt", "share"] = "uniform",
    ) -> None:
        if classes < 1 or per_class < 1:
            raise ValueError(f"expected at least 1 class x 1 row, received {classes} x {per_class}")
        labels = np.asarray(labels)
        sizes = np.unique(labels, return_counts=True)[1]
        if len(sizes) < max(2, classes):
            raise InputError(
                f"sampler.classes: expected training items of at least {max(2, classes)} classes, received "
                f"{len(sizes)}; lower sampler.classes or select more labels"
            )
        self.count = len(labels)
        self.per_class = per_class
        times = {
            "uniform": np.ones_like(sizes),
            "sqrt": np.rint(np.sqrt(sizes)).astype(np.int64),
            "share": -(-sizes // per_class),
        }[draw]
        self._times, self._slots = times, np.repeat(np.arange(len(sizes)), times)
        self._first_slots = np.cumsum(times) - times
        self._classes = _JoinedShuffles(len(self._slots), classes, seed, 0)
        self._rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
        self._items = [_JoinedShuffles(int(size), per_class, seed, 1 + own) for own, size in enumerate(sizes)]
        self._cycle = functools.lru_cache(maxsize=2)(self._classes_of_cycle)
        self._group = functools.lru_cache(_GROUPS_KEPT)(self._drawn_group)

    @tf.autograph.experimental.do_not_convert  # it runs in Python, where what AutoGraph makes of it is slow
    def row(self, position: tf.Tensor) -> tf.Tensor:
        return graph_row(lambda place: self.group(place // self.per_class)[place % self.per_class], position)

    def group(self, number: int) -> np.ndarray:
        """The rows, int64 `[K]`, of a group, from 0; groups `b * P` to `b * P + P - 1` are batch b."""
        return self._group(number)

    def _drawn_group(self, number: int) -> np.ndarray:
        cycle, place = divmod(number, len(self._slots))
        classes, earlier = self._cycle(cycle)
        own = classes[place]
        window = cycle * self._times[own] + earlier[place]
        return self._rows[own][self._items[own].window(int(window))]

    def _classes_of_cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """The class of each group of a cycle, and how many groups the class had in the cycle before it."""
        classes = self._slots[self._classes.shuffle(cycle)]
        by_class = np.argsort(classes, kind="stable")
        earlier = np.empty_like(classes)
        earlier[by_class] = np.arange(len(classes)) - self._first_slots[classes[by_class]]
        return classes, earlier


class _JoinedShuffles:
    """An endless row of shuffles of 0 to size - 1, one after the other, that is looked at in windows.

    A window holds nothing twice, where there are enough elements for that: what ended the shuffle before and would come
    again in the same window is put off behind the others of the window's length. (With at least two windows to a
    shuffle that does not reach its end, so each shuffle depends on the one before it alone, not on all.) Where there
    are fewer elements, one order serves for as many shuffles as it takes to end with a window's end.

    Args:
        size: number of elements.
        width: of a window.
        key: two numbers that the orders depend on, such as a seed and what is shuffled.
    """

    __slots__ = ("_key", "_latest", "_size", "_width")

    def __init__(self, size: int, width: int, *key: int) -> None:
        self._size, self._width, self._key = size, width, key
        self._latest: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def window(self, number: int) -> np.ndarray:
        """The elements of a window, int64 `[width]`."""
        places = range(number * self._width, (number + 1) * self._width)
        return np.array([self.shuffle(place // self._size)[place % self._size] for place in places])

    def shuffle(self, number: int) -> np.ndarray:
        """The elements of a shuffle, int64 `[size]`. The latest one is kept."""
        latest, order = self._latest
        if latest != number:
            order = self._joined(number)
            self._latest = (number, order)
        return order

    def _joined(self, number: int) -> np.ndarray:
        size, width = self._size, self._width
        if size < 2 * width:
            return self._drawn(number // (width // math.gcd(size, width)))
        order = self._drawn(number)
        shared = number * size % width
        if shared:
            clash = np.isin(order[:width], self._drawn(number - 1)[-shared:])
            order[:width] = order[:width][np.argsort(clash, kind="stable")]
        return order

    def _drawn(self, number: int) -> np.ndarray:
        # Raw bits and a stable sort: NumPy promises the same ones for ever, which it does not for `permutation`.
        bits = np.random.Philox(key=self._key, counter=[0, 0, 0, number]).random_raw(self._size)
        return np.argsort(bits, kind="stable")
