"""Filtering by attributes inside the graph."""

from __future__ import annotations

from collections.abc import Mapping

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from serving.contract import FILTER_SEPARATOR
from trainer.errors import InputError

__all__ = ["ItemFilter"]


class ItemFilter(tf.Module):
    """Which groups of items each query admits. Items with the same values of all filterable attributes are one group:
    of these there are far fewer than items, so an item costs one look-up, however many attributes there are.

    Args:
        vocabularies: attribute to its distinct values, string `[V]`.
        codes: attribute to each item's place in them, int `[N]`.

    Attributes:
        groups_of_rows: int32 `[N]`, the group of each item.

    Raises:
        InputError: a value holds the separator of filters.
    """

    def __init__(self, vocabularies: Mapping[str, tf.Variable], codes: Mapping[str, np.ndarray]) -> None:
        super().__init__(name="item_filter")
        self._vocabularies = dict(vocabularies)
        for name, values in self._vocabularies.items():
            separated = [value for value in values.numpy() if FILTER_SEPARATOR.encode() in value]
            if separated:
                raise InputError(
                    f"filterable: expected values without line feeds, {name} has {separated[0].decode()!r}; "
                    "leave it out"
                )
        groups = np.zeros(len(next(iter(codes.values()))), dtype=np.int64)
        for name, values in codes.items():
            groups = np.unique(groups * self._vocabularies[name].shape[0] + values, return_inverse=True)[1]
        self.groups_of_rows: np.ndarray = groups.astype(np.int32)
        count = int(groups.max(initial=0)) + 1
        self._codes_of_groups = {}
        for name, values in codes.items():
            of_groups = np.zeros(count, dtype=np.int32)
            of_groups[groups] = values
            self._codes_of_groups[name] = tf.Variable(of_groups, trainable=False, name=f"{name}_of_groups")

    def admitted(self, filters: Mapping[str, tf.Tensor], batch: tf.Tensor) -> tf.Tensor:
        """Which groups pass all filters.

        Args:
            filters: attribute to string `[B]`, admitted values separated by `FILTER_SEPARATOR`; empty parts do not
                count, and without any other part all values are admitted. An unknown value admits nothing.
            batch: B, int32 scalar.

        Returns:
            Bool `[B, G]`.
        """
        passed = tf.constant(True)
        for name, vocabulary in self._vocabularies.items():
            parts = tf.strings.split(filters[name], FILTER_SEPARATOR)
            given = parts.flat_values != ""
            owners = tf.boolean_mask(parts.value_rowids(), given)
            equal = tf.boolean_mask(parts.flat_values, given)[:, None] == vocabulary[None, :]
            hits = tf.math.unsorted_segment_sum(tf.cast(equal, tf.int32), owners, batch)
            asked = tf.math.unsorted_segment_sum(tf.ones_like(owners, tf.int32), owners, batch)
            values = (hits > 0) | (asked == 0)[:, None]
            passed &= tf.gather(values, self._codes_of_groups[name], axis=1)
        return passed
