"""Hard negatives across the catalogue: batches in which classes meet that the model confuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer.data.balanced_sampler import BalancedBatches
from trainer.data.sampler import graph_row
from trainer.errors import InputError
from trainer.files import atomic_path

__all__ = ["HardNegativeBatches", "HardNegatives", "mine_hard_negatives"]

_CELLS = 1 << 24
_GROUPS_KEPT = 1024
_PARTNERS = 2**62
"""Second word of the key of the draws made here; those of `BalancedBatches` count up from 0."""


@dataclass(frozen=True, eq=False)
class HardNegatives:
    """For each row the rows of other classes that are most similar to it.

    Attributes:
        rows: int32 `[N, M]`, most similar first, equally similar ones by row.
        similarities: float32 `[N, M]`, their cosine similarities.
    """

    rows: np.ndarray
    similarities: np.ndarray


def mine_hard_negatives(
    vectors: np.ndarray, classes: np.ndarray, *, per_row: int, skip_nearest: float = 0.0, progress: bool = False
) -> HardNegatives:
    """Finds each row's most similar rows of other classes, by cosine and exactly, on the GPU where there is one.

    Needs, beside a copy of the vectors, about 200 MiB (or 12 bytes x N where that is more) and 8 bytes x N x `per_row`
    for the answer: nothing is N x N. Takes time in proportion to N^2 x D.

    Args:
        vectors: float `[N, D]`, not necessarily of unit length.
        classes: int `[N]`.
        per_row: M, at least 1.
        skip_nearest: share of the N rows that are passed over as too near, in `[0, 1)`, rounded down: among a row's
            nearest of another class are those that wear the wrong label.
        progress: whether to show a progress bar on standard error.

    Raises:
        InputError: the vectors are not finite, or some row has fewer than M rows of other classes beyond those skipped.
    """
    count = len(classes)
    skipped = int(skip_nearest * count)
    others = count - int(np.unique(classes, return_counts=True)[1].max())
    if per_row + skipped > others:
        raise InputError(
            f"expected at least {per_row + skipped} rows of other classes for each row (sampler.per_row={per_row} and "
            f"{skipped} by sampler.skip_nearest={skip_nearest:g}), received {others}; lower one of them"
        )
    gallery, known = tf.constant(_unit(np.asarray(vectors, np.float32))), tf.constant(np.asarray(classes, np.int32))
    chunk = max(1, _CELLS // count)
    rows, similarities = np.empty((count, per_row), np.int32), np.empty((count, per_row), np.float32)
    with tqdm(total=count, desc="hard negatives", unit="row", disable=not progress) as bar:
        for start in range(0, count, chunk):
            asked = slice(start, start + chunk)
            found = _nearest_others(gallery[asked], known[asked], gallery, known, tf.constant(skipped + per_row))
            similarities[asked], rows[asked] = (values[:, skipped:].numpy() for values in found)
            bar.update(len(rows[asked]))
    return HardNegatives(rows, similarities)


def _unit(vectors: np.ndarray) -> np.ndarray:
    if not np.isfinite(vectors).all():
        raise InputError("expected finite embeddings to mine hard negatives from; lower learning_rate or set clip_norm")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


@tf.function(reduce_retracing=True)
def _nearest_others(
    queries: tf.Tensor, query_classes: tf.Tensor, gallery: tf.Tensor, classes: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    similarities = tf.matmul(queries, gallery, transpose_b=True)
    own = query_classes[:, None] == classes
    return tf.math.top_k(tf.where(own, -np.inf, similarities), k)


class HardNegativeBatches:
    """P x K batches whose classes come in pairs: one as `BalancedBatches` draws it, then one that is confused with it.

    A batch holds `P / 2` pairs of groups of K rows. The first group of a pair is that of a `BalancedBatches` of `P / 2`
    classes, so that all classes are asked about alike. For the second, one of the first group's mined hard negatives is
    drawn; the group consists of it, of further hard negatives of the first group that have its class, and of other rows
    of that class, at random, up to K; where the class has fewer, they repeat in turn. So every row of a batch has
    positives and hard negatives. Where several groups are of one class, a row may come more than once in a batch.

    What is mined stays in force for `refresh_epochs` epochs, and lies in the folder as `negatives-<epoch>.npy` so that
    a stopped run goes on with it. It is a `trainer.data.sampler.MinedSampler`: before the first `refresh`, it has no
    rows.

    L. Xiong et al., "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval", ICLR 2021
    (negatives from the whole corpus, mined anew at intervals); here exact, and at the end of epochs.

    Args:
        labels: int `[N]`, the class number of each row; numbers without a row are allowed.
        classes: P, even.
        per_class: K, at least 1.
        seed: of the orders, at least 0.
        folder: of the stage's checkpoints.
        draw: see `BalancedBatches`.
        per_row: hard negatives for each row.
        skip_nearest: see `mine_hard_negatives`.
        refresh_epochs: epochs after which they are mined anew.

    Raises:
        InputError: as `BalancedBatches`.
    """

    def __init__(
        self,
        labels: np.ndarray,
        classes: int,
        per_class: int,
        seed: int,
        folder: Path,
        *,
        draw: Literal["uniform", "sqrt", "share"] = "uniform",
        per_row: int = 8,
        skip_nearest: float = 0.0,
        refresh_epochs: int = 1,
    ) -> None:
        if classes % 2:
            raise ValueError(f"expected an even number of classes, received {classes}")
        self._anchors = BalancedBatches(labels, classes // 2, per_class, seed, draw)
        self._labels, self._per_class, self._seed = np.asarray(labels), per_class, seed
        self._by_class = np.argsort(self._labels, kind="stable")
        self._sorted = self._labels[self._by_class]
        self._folder, self._refresh_epochs = folder, refresh_epochs
        self._mine = functools.partial(
            mine_hard_negatives, classes=self._labels, per_row=per_row, skip_nearest=skip_nearest, progress=True
        )
        self._shape = (len(self._labels), per_row)
        self._since: int | None = None
        self._group: Callable[[int], np.ndarray] = self._unready

    def refresh(self, epoch: int, encode: Callable[[], np.ndarray] | None = None) -> bool:
        """See `MinedSampler`.

        Raises:
            InputError: what was mined is gone or not of these rows, or it cannot be written.
        """
        since = epoch - epoch % self._refresh_epochs
        path = self._folder / f"negatives-{since}.npy"
        if encode is not None and epoch == since:
            rows = self._mine(encode()).rows
            with atomic_path(path) as aside:
                np.save(aside, rows)
            for former in self._folder.glob("negatives-*.npy"):
                if former != path:
                    former.unlink(missing_ok=True)
        elif self._since == since:
            return False
        else:
            rows = self._read(path)
        self._since = since
        # A new function each time: streams made before keep the rows they began with.
        self._group = functools.lru_cache(_GROUPS_KEPT)(functools.partial(self._drawn_group, rows))
        return True

    @tf.autograph.experimental.do_not_convert  # it runs in Python, where what AutoGraph makes of it is slow
    def row(self, position: tf.Tensor) -> tf.Tensor:
        group, per_class = self._group, self._per_class
        return graph_row(lambda place: group(place // per_class)[place % per_class], position)

    def group(self, number: int) -> np.ndarray:
        """The rows, int64 `[K]`, of a group, from 0; groups `b * P` to `b * P + P - 1` are batch b."""
        return self._group(number)

    def _drawn_group(self, negatives: np.ndarray, number: int) -> np.ndarray:
        pair, second = divmod(number, 2)
        anchors = self._anchors.group(pair)
        if not second:
            return anchors
        candidates = negatives[anchors].ravel()
        bits = np.random.Philox(key=[self._seed, _PARTNERS], counter=[0, 0, 0, pair])
        candidates = np.roll(candidates, -int(bits.random_raw() % candidates.size))
        own = self._labels[candidates[0]]
        hard = candidates[self._labels[candidates] == own]
        others = _distinct_draws(
            bits, self._by_class[slice(*np.searchsorted(self._sorted, [own, own + 1]))], self._per_class
        )
        rows = list(dict.fromkeys([*hard.tolist(), *others.tolist()]))[: self._per_class]
        return np.resize(np.array(rows), self._per_class)

    def _unready(self, number: int) -> np.ndarray:
        raise RuntimeError("expected refresh to be called before rows are asked for")

    def _read(self, path: Path) -> np.ndarray:
        wanted = f"int32 {self._shape} below {self._shape[0]}"
        try:
            rows = np.load(path, allow_pickle=False)
            fits = rows.dtype == np.int32 and rows.shape == self._shape and 0 <= rows.min() <= rows.max() < len(rows)
            received = f"{rows.dtype} {rows.shape}"
        except (OSError, ValueError, EOFError) as error:  # NumPy says each of these of a file that it cannot read
            fits, received = False, str(error)
        if not fits:
            raise InputError(
                f"{path}: expected the hard negatives that this stage was stopped with, {wanted}, received {received}; "
                f"remove {self._folder / 'last.keras'} to begin the stage anew"
            )
        return rows


def _distinct_draws(bits: np.random.Philox, values: np.ndarray, count: int) -> np.ndarray:
    """Some of the values without replacement, in random order; all of them where they are fewer.

    Floyd's algorithm P, in J. Bentley, "Programming Pearls: A Sample of Brilliance", CACM 30 (9), 1987.
    """
    chosen: list[int] = []
    for last in range(max(0, len(values) - count), len(values)):
        drawn = int(bits.random_raw() % (last + 1))
        if drawn in chosen:
            chosen.insert(chosen.index(drawn) + 1, last)
        else:
            chosen.insert(0, drawn)
    return values[chosen]
