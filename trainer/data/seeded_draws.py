"""Turns the random draws of keras-cv's layers into functions of a seed.

keras-cv draws from global, stateful generators. In a `tf.data` map that means: either one picture after the other, or
another result every time; and never the same picture again when a run goes on from a checkpoint. Here the layers are
traced once with every draw replaced by TensorFlow's stateless one, seeded by (run's seed, position of the picture in
the stream, number of the draw). So pictures are augmented in parallel, in any order, on any number of workers, and
picture number n of a run is always the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["SeededDraws"]


class SeededDraws:
    """Stands in for `tf.random.Generator` and for TensorFlow's stateful draws while a function is traced.

    Use: build the layers inside `with draws.installed():`, and call them inside `with draws.seeded(seed):`.
    """

    def __init__(self) -> None:
        self._seed: Any = None
        self._count = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Layers built here draw from this object."""
        with mock.patch.object(tf.random, "get_global_generator", lambda: self):
            yield

    @contextlib.contextmanager
    def seeded(self, seed: tf.Tensor) -> Iterator[None]:
        """Draws made here are functions of `seed`, int64 `[2]`, and of their order. Not to be nested."""
        self._seed, self._count = seed, 0
        with (
            mock.patch.object(tf.random, "uniform", self._uniform),
            mock.patch.object(tf.random, "normal", self._normal),
            mock.patch.object(tf.random, "gamma", self._gamma),
            mock.patch.object(tf.random, "shuffle", self._shuffle),
        ):
            try:
                yield
            finally:
                self._seed = None

    def _next(self) -> tf.Tensor:
        if self._seed is None:
            raise RuntimeError("a random layer was called outside of SeededDraws.seeded")
        self._count += 1
        return tf.random.fold_in(self._seed, self._count)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = tf.float32, name: Any = None
    ) -> Any:
        """As `tf.random.Generator.uniform`."""
        maxval = 1 if maxval is None else maxval
        return tf.random.stateless_uniform(shape, self._next(), minval=minval, maxval=maxval, dtype=dtype)

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = tf.float32, name: Any = None) -> Any:
        """As `tf.random.Generator.normal`."""
        return tf.random.stateless_normal(shape, self._next(), mean=mean, stddev=stddev, dtype=dtype)

    def _uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = tf.float32, seed: Any = None
    ) -> Any:
        return self.uniform(shape, minval, maxval, dtype)

    def _normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = tf.float32, seed: Any = None) -> Any:
        return self.normal(shape, mean, stddev, dtype)

    def _gamma(self, shape: Any, alpha: Any, beta: Any = None, dtype: Any = tf.float32, seed: Any = None) -> Any:
        return tf.random.stateless_gamma(shape, self._next(), alpha=alpha, beta=beta, dtype=dtype)

    def _shuffle(self, value: Any, seed: Any = None) -> Any:
        return tf.random.experimental.stateless_shuffle(value, tf.cast(self._next(), tf.int64))
