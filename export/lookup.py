"""The exported lookup: embeddings to the nearest items of a catalogue, in one graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.config import ExportConfig
from export.index import Index, build_index
from export.index.filling import assign_rows, empty_variable
from export.item_filter import ItemFilter
from export.table_rows import TableRows
from serving.contract import (
    ATTRIBUTE_NAMES_TAKEN,
    EMBEDDING,
    FINGERPRINT,
    IDS,
    LOOKUP,
    LOOKUP_FILTERED,
    NO_MATCH_THRESHOLD,
    SCORES,
    SERVING_DEFAULT,
    TABLE_FINGERPRINT,
)
from trainer.errors import InputError

__all__ = ["Lookup", "build_lookup"]

_log = logging.getLogger(__name__)


class Lookup(tf.Module):
    """A catalogue's items with an index over their vectors.

    Signatures:
        `lookup`, also `serving_default`: `embedding` float32 `[B, D]`.
        `lookup_filtered`, where there is a filterable attribute: beside it a string `[B]` for each of them, its
        admitted values separated by `FILTER_SEPARATOR`; where it holds none, all are admitted.

    Both answer `ids` string `[B, K]`, `scores` float32 `[B, K]`, each attribute string `[B, K]`, `fingerprint` and
    `table_fingerprint` string `[B]`, and `no_match_threshold` float32 `[B]` where there is one. Queries are brought to
    unit length. Where fewer than K items match, the rest has empty texts and score minus infinity; so has everything
    that a zero or not finite query gets, which may be the padding of a batch.

    Args:
        rows: N items, read once more for ids and attributes.
        index: filled with the same rows.
        top_k: K.
        filterable: attributes to filter by.
        fingerprint: of the encoder that made the vectors.
        table_fingerprint: of the rows.
        no_match_threshold: similarity below which the best item is no good match; None where none was calibrated.

    Attributes:
        dimension: D.
        item_count: N.
        top_k: K.
        attributes: names.
        filterable: names.
        fingerprint, table_fingerprint, no_match_threshold: as given.

    Raises:
        InputError: an id is there twice or empty, an attribute cannot be answered or filtered by, or rows and index
            differ.
    """

    def __init__(
        self,
        rows: TableRows,
        index: Index,
        *,
        top_k: int,
        filterable: Sequence[str],
        fingerprint: str,
        table_fingerprint: str,
        no_match_threshold: float | None = None,
    ) -> None:
        super().__init__(name="lookup")
        _check(rows, index, top_k, filterable)
        self.dimension, self.item_count, self.top_k = rows.dimension, rows.count, top_k
        self.attributes, self.filterable = tuple(rows.attribute_names), tuple(filterable)
        self.fingerprint, self.table_fingerprint = fingerprint, table_fingerprint
        self.no_match_threshold = no_match_threshold
        self.index = index
        self._signatures: dict[str, Any] = {}
        codes = self._fill(rows)
        self._filter: ItemFilter | None = None
        if self.filterable:
            vocabularies = {name: self._vocabularies[name] for name in self.filterable}
            self._filter = ItemFilter(vocabularies, {name: codes[name] for name in self.filterable})
            index.set_groups(self._filter.groups_of_rows)

    def lookup(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature `lookup`: float32 `[B, D]` to the answer."""
        return self._answer(embedding, None)

    def lookup_filtered(self, embedding: tf.Tensor, filters: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The signature `lookup_filtered`.

        Args:
            embedding: float32 `[B, D]`.
            filters: string `[B]` for every filterable attribute.
        """
        if self._filter is None:
            raise ValueError("expected a lookup with a filterable attribute, received one without")
        return self._answer(embedding, self._filter.admitted(filters, tf.shape(embedding)[0]))

    def signatures(self) -> dict[str, Any]:
        """Name to concrete function; traced once."""
        if not self._signatures:
            embedding = tf.TensorSpec((None, self.dimension), tf.float32, name=EMBEDDING)
            plain = tf.function(self.lookup, input_signature=[embedding]).get_concrete_function()
            self._signatures = {SERVING_DEFAULT: plain, LOOKUP: plain}
            if self.filterable:
                filters = {name: tf.TensorSpec((None,), tf.string, name=name) for name in self.filterable}
                filtered = tf.function(lambda embedding, **filters: self.lookup_filtered(embedding, filters))
                self._signatures[LOOKUP_FILTERED] = filtered.get_concrete_function(embedding, **filters)
        return dict(self._signatures)

    def _fill(self, rows: TableRows) -> dict[str, np.ndarray]:
        """Makes the variables of ids and attributes; gives each attribute's code of every row."""
        # One empty text at least, so that there is something to gather where there is no item.
        self._ids = empty_variable((max(rows.count, 1),), tf.string, "ids")
        codes = {name: np.zeros(max(rows.count, 1), dtype=np.int32) for name in self.attributes}
        known: dict[str, dict[str, int]] = {name: {} for name in self.attributes}
        seen: set[str] = set()
        start = 0
        for chunk in rows.chunks():
            _check_ids(chunk.ids, start, seen)
            stop = start + len(chunk)
            assign_rows(self._ids, start, tf.constant(chunk.ids, tf.string))
            for name, values in known.items():
                texts = chunk.attributes[name]
                codes[name][start:stop] = [values.setdefault(text, len(values)) for text in texts]
            start = stop
        self._vocabularies = {
            name: tf.Variable(tf.constant(list(values) or [""], tf.string), trainable=False, name=f"{name}_values")
            for name, values in known.items()
        }
        self._codes = {
            name: tf.Variable(values, trainable=False, name=f"{name}_codes") for name, values in codes.items()
        }
        return {name: values[: rows.count] for name, values in codes.items()}

    def _answer(self, embedding: tf.Tensor, admitted: tf.Tensor | None) -> dict[str, tf.Tensor]:
        queries, valid = _unit(embedding)
        scores, rows = self.index(queries, self.top_k, admitted)
        found = (rows >= 0) & valid[:, None]
        rows = tf.maximum(rows, 0)
        texts = {IDS: tf.gather(self._ids, rows)}
        for name in self.attributes:
            texts[name] = tf.gather(self._vocabularies[name], tf.gather(self._codes[name], rows))
        batch = tf.shape(embedding)[0]
        threshold = self.no_match_threshold
        judged = {} if threshold is None else {NO_MATCH_THRESHOLD: tf.fill([batch], np.float32(threshold))}
        return {
            **judged,
            SCORES: tf.where(found, scores, float("-inf")),
            **{name: tf.where(found, values, "") for name, values in texts.items()},
            FINGERPRINT: tf.fill([batch], self.fingerprint),
            TABLE_FINGERPRINT: tf.fill([batch], self.table_fingerprint),
        }


def _unit(embedding: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of unit length, zeros where there is none, and which have one, bool `[B]`."""
    greatest = tf.reduce_max(tf.abs(embedding), axis=1)
    # A maximum of NaN is not always NaN, a sum is. Smaller numbers are zeros to the processor.
    finite = tf.math.is_finite(greatest) & tf.math.is_finite(tf.reduce_sum(embedding * 0.0, axis=1))
    valid = finite & (greatest >= np.finfo(np.float32).tiny)
    # Scaled first, so that squares neither overflow nor vanish.
    scaled = tf.where(valid[:, None], embedding / tf.where(valid, greatest, 1.0)[:, None], 0.0)
    norms = tf.norm(scaled, axis=1, keepdims=True)
    return scaled / tf.where(norms > 0, norms, 1.0), valid


def _check(rows: TableRows, index: Index, top_k: int, filterable: Sequence[str]) -> None:
    if (index.count, index.dimension) != (rows.count, rows.dimension):
        raise InputError(
            f"expected an index of {rows.count} rows of {rows.dimension} dimensions, received one of {index.count} of "
            f"{index.dimension}; index the same rows"
        )
    if top_k < 1:
        raise InputError(f"top_k: expected at least 1, received {top_k}")
    taken = [name for name in rows.attribute_names if name in ATTRIBUTE_NAMES_TAKEN]
    if taken:
        raise InputError(f"attributes: expected none of {sorted(ATTRIBUTE_NAMES_TAKEN)}, received {taken[0]!r}")
    unknown = [name for name in filterable if name not in rows.attribute_names]
    if unknown:
        raise InputError(
            f"filterable: expected some of the attributes {list(rows.attribute_names)}, received {unknown[0]!r}"
        )


def _check_ids(ids: np.ndarray, start: int, seen: set[str]) -> None:
    for row, name in enumerate(ids, start):
        if name == "":
            raise InputError(f"row {row}: expected an id, received an empty one; fill it or leave the row out")
        if name in seen:
            raise InputError(f"row {row}: expected every id once, received {name!r} again; leave one of them out")
        seen.add(name)


def build_lookup(
    rows: TableRows,
    config: ExportConfig,
    filterable: Sequence[str],
    fingerprint: str,
    no_match: Mapping[str, Any] = MappingProxyType({}),
) -> Lookup:
    """Indexes a table as configured.

    Args:
        rows: N items.
        config: its `index` and `top_k` count here.
        filterable: attributes to filter by.
        fingerprint: of the encoder that made the vectors.
        no_match: as the manifest tells it; empty where no threshold was calibrated.

    Raises:
        InputError: the rows cannot be indexed or looked up; see `Index.index` and `Lookup`.
    """
    _log.info("indexing %d items", rows.count)
    index = build_index(config.index)
    index.index(rows)
    return Lookup(
        rows,
        index,
        top_k=config.top_k,
        filterable=filterable,
        fingerprint=fingerprint,
        table_fingerprint=rows.fingerprint(),
        no_match_threshold=no_match.get("threshold"),
    )
