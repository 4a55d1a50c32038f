"""Comparing with every row in a cheaper arithmetic, then scoring the best again in float32."""

from __future__ import annotations

import abc
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.index.base import Index
from export.index.filling import assign_rows, empty_variable, unit_chunks
from export.index.selection import best_rows, padded, scores_of_rows
from export.table_rows import TableRows

__all__ = ["BFloat16Index", "Int8Index", "RescoredIndex"]


class RescoredIndex(Index):
    """Compares with small copies of all rows, and scores the best of them again with the rows themselves.

    Both copies are kept: the float32 rows are read for the candidates only.

    Args:
        candidates: rows scored again for each answer.
        name: of the module.
    """

    is_exact = False

    def __init__(self, candidates: int, name: str) -> None:
        super().__init__(name)
        self.candidates = candidates

    def index(self, rows: TableRows) -> None:
        """See `Index.index`."""
        self.count, self.dimension = rows.count, rows.dimension
        self.vectors = empty_variable((rows.count, rows.dimension), tf.float32, "vectors")
        self._make_copies()
        for start, vectors in unit_chunks(rows):
            assign_rows(self.vectors, start, vectors)
            self._copy(start, vectors)

    def __call__(self, queries: tf.Tensor, k: int, admitted: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.__call__`; the scores are those of float32."""
        penalties = self._penalties(admitted)
        prepared = self._prepare(queries)

        def score(start: tf.Tensor | int, size: int) -> tf.Tensor:
            scores = tf.ensure_shape(self._score(prepared, start, start + size), [size, None])
            return self._penalised(scores, penalties, start, start + size)

        wanted = max(1, min(self.candidates * k, self.count))
        _, rows = best_rows(score, self.count, tf.shape(queries)[0], wanted)
        if not self.count:
            return padded(tf.zeros([tf.shape(queries)[0], 0]), rows[:, :0], k)
        # In the order of their rows, so that the lower row wins among equals.
        rows = tf.sort(rows)
        best, places = tf.math.top_k(scores_of_rows(self.vectors, queries, rows), min(k, wanted))
        return padded(best, tf.gather(rows, places, batch_dims=1), k)

    @abc.abstractmethod
    def _make_copies(self) -> None:
        """Makes the variables of the small copies."""

    @abc.abstractmethod
    def _copy(self, start: int, vectors: np.ndarray) -> None:
        """Fills them with unit vectors `[n, D]` from a row on."""

    @abc.abstractmethod
    def _prepare(self, queries: tf.Tensor) -> Any:
        """What `_score` needs of the queries, computed once."""

    @abc.abstractmethod
    def _score(self, prepared: Any, start: tf.Tensor | int, stop: tf.Tensor | int) -> tf.Tensor:
        """Float32 `[stop - start, B]`, in the order of the similarities along every column."""


class BFloat16Index(RescoredIndex):
    """Candidates from a bfloat16 copy: half the memory to read. See `RescoredIndex`."""

    def __init__(self, candidates: int) -> None:
        super().__init__(candidates, "bfloat16")

    def _make_copies(self) -> None:
        self.copies = empty_variable((self.count, self.dimension), tf.bfloat16, "copies")

    def _copy(self, start: int, vectors: np.ndarray) -> None:
        assign_rows(self.copies, start, tf.cast(vectors, tf.bfloat16))

    def _prepare(self, queries: tf.Tensor) -> tf.Tensor:
        return tf.cast(queries, tf.bfloat16)

    def _score(self, prepared: tf.Tensor, start: tf.Tensor | int, stop: tf.Tensor | int) -> tf.Tensor:
        # Unlike in float32, `queries x rows` is the faster way round here, by up to a half.
        scores = tf.matmul(prepared, self.copies[start:stop], transpose_b=True)
        return tf.transpose(tf.cast(scores, tf.float32))


class Int8Index(RescoredIndex):
    """Candidates from an 8-bit copy with a scale for every row: a quarter of the memory to read. See `RescoredIndex`.

    The only stock operation that multiplies 8-bit integers fast is oneDNN's `QuantizedMatMulWithBiasAndDequantize`, in
    TensorFlow's builds for x86. It wants unsigned activations and signed weights, and re-orders the weights at each
    call. So the rows take the part of the activations and the queries that of the weights. A row's codes are shifted by
    128; the bias takes the shift back.
    """

    # Codes of queries keep to 7 bits: processors without VNNI add two products in 16 bits, which would overflow.
    QUERY_LEVELS = 63.0
    ROW_LEVELS = 127.0
    SHIFT = 128.0

    def __init__(self, candidates: int) -> None:
        super().__init__(candidates, "int8")

    def _make_copies(self) -> None:
        self.codes = empty_variable((self.count, self.dimension), tf.uint8, "codes")
        self.scales = empty_variable((self.count,), tf.float32, "scales")

    def _copy(self, start: int, vectors: np.ndarray) -> None:
        scales = np.abs(vectors).max(axis=1) / self.ROW_LEVELS
        codes = (np.round(vectors / scales[:, None]) + self.SHIFT).astype(np.uint8)
        assign_rows(self.codes, start, codes)
        assign_rows(self.scales, start, scales)

    def _prepare(self, queries: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        greatest = tf.reduce_max(tf.abs(queries), axis=1, keepdims=True)
        codes = tf.round(tf.math.divide_no_nan(queries * self.QUERY_LEVELS, greatest))
        return tf.cast(tf.transpose(codes), tf.int8), -self.SHIFT * tf.reduce_sum(codes, axis=1)

    def _score(self, prepared: tuple[tf.Tensor, tf.Tensor], start: tf.Tensor | int, stop: tf.Tensor | int) -> tf.Tensor:
        weights, bias = prepared
        # With these ranges one step of the codes is 1, so the products come back as they are.
        products = tf.raw_ops.QuantizedMatMulWithBiasAndDequantize(
            a=tf.bitcast(self.codes[start:stop], tf.quint8),
            b=tf.bitcast(weights, tf.qint8),  # here, since a loop cannot carry this type
            bias=bias,
            min_a=0.0,
            max_a=255.0,
            min_b=-127.0,
            max_b=127.0,
            min_freezed_output=0.0,
            max_freezed_output=1.0,
            input_quant_mode="SCALED",
            Toutput=tf.float32,
        )
        return products * self.scales[start:stop, None]
