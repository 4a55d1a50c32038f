"""Queries asked for what is there and for what is not: what a threshold of "no good match" is judged by.

Every query q is asked twice. Its gallery is the train items and the items of its own split, itself left out, since a
shop's index holds what was learned from beside what was not.

- *Present*: the gallery as it is. Counts if it holds another item of q's class. `best(q)` is the highest similarity,
  and q is *right* when the item that has it is of q's class (an item of another class as similar makes it wrong).
- *Absent*: the gallery without q's class (leave one class out): there is nothing to find, and whatever is shown is
  wrong. `other(q)` is the highest similarity left. Counts if anything is left.

At threshold t, with P queries that count as present, N as absent, and a, the share of questions about absent classes
that is expected (`evaluate.no_match.absent`):

    right(t)    = |present q: right and best(q) >= t| / P
    answered(t) = |present q: best(q) >= t| / P
    false(t)    = |absent q: other(q) >= t| / N

    precision(t) = (1 - a) right(t) / ((1 - a) answered(t) + a false(t))     of what is answered, what is right
    recall(t)    = right(t)                                                  of what could be found, what is
    F1(t)        = 2 precision(t) recall(t) / (precision(t) + recall(t))

So recall cannot pass hit_rate@1. Departures: the usual precision-recall curve is of one list of decisions and takes the
share of negatives from it; here each query is a positive and a negative, and the share is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.retrieval import EmbeddingTable, own_rows
from trainer.retrieval.similarity import CosineBlocks

__all__ = ["Trials", "ask_twice"]

_CELLS = 8_388_608


@dataclass(frozen=True, eq=False)
class Trials:
    """What Q queries found when asked twice.

    Args:
        own: `[Q]` the highest similarity to an item of the query's class, minus infinity where there is none.
        other: `[Q]` the highest similarity to an item of another class, minus infinity where there is none.
        absent: a of the module's docstring.
    """

    own: np.ndarray
    other: np.ndarray
    absent: float

    def at(self, thresholds: np.ndarray) -> dict[str, np.ndarray]:
        """`precision`, `recall`, `f1`, `answered` and `answered_absent` (the `false` above) at thresholds `[T]`."""
        present, missing = np.isfinite(self.own), np.isfinite(self.other)
        best, right = np.maximum(self.own, self.other), self.own > self.other
        found = _share_above(best[present & right], thresholds, present.sum())
        answered = _share_above(best[present], thresholds, present.sum())
        false = _share_above(self.other[missing], thresholds, missing.sum())
        shown = (1 - self.absent) * answered + self.absent * false
        precision = np.divide((1 - self.absent) * found, shown, out=np.zeros_like(shown), where=shown > 0)
        both = precision + found
        f1 = np.divide(2 * precision * found, both, out=np.zeros_like(both), where=both > 0)
        return {"precision": precision, "recall": found, "f1": f1, "answered": answered, "answered_absent": false}

    def thresholds(self) -> np.ndarray:
        """`[T]` rising: all that tell the scores apart, each half way between two; the first answers everything."""
        present = np.isfinite(self.own)
        scores = np.concatenate([np.maximum(self.own, self.other)[present], self.other[np.isfinite(self.other)]])
        distinct = np.unique(scores.astype(np.float64))
        return np.concatenate([distinct[:1], (distinct[:-1] + distinct[1:]) / 2])

    def answers(self, thresholds: np.ndarray) -> np.ndarray:
        """`[T]` how many of the trials, present and absent ones, are answered."""
        at = self.at(thresholds)
        counts = np.isfinite(self.own).sum(), np.isfinite(self.other).sum()
        return np.round(at["answered"] * counts[0] + at["answered_absent"] * counts[1])


def ask_twice(queries: EmbeddingTable, gallery: EmbeddingTable, absent: float = 0.5) -> Trials:
    """Searches the gallery for each query, with its class and without.

    Args:
        queries: Q rows.
        gallery: N rows; a query's own row, found by its id, is left out.
        absent: see `Trials`.

    Raises:
        InputError: the dimensions differ.
    """
    by_class = np.argsort(gallery.labels, kind="stable")
    gallery = gallery.select(by_class)
    classes, first = np.unique(gallery.labels, return_index=True)
    blocks = CosineBlocks(queries, gallery, own_rows(queries, gallery))
    place = np.searchsorted(classes, queries.labels)
    known = classes[np.minimum(place, len(classes) - 1)] == queries.labels
    own, other = np.empty(len(queries), np.float32), np.empty(len(queries), np.float32)
    size = max(1, _CELLS // len(gallery))
    for start in range(0, len(queries), size):
        asked = slice(start, min(start + size, len(queries)))
        scores = blocks.scores(blocks.unit_queries(asked), asked, 0, len(gallery))
        of_class = np.maximum.reduceat(scores, first, axis=1)
        rows = np.flatnonzero(known[asked])
        own[asked] = -np.inf
        own[start + rows] = of_class[rows, place[asked][rows]]
        of_class[rows, place[asked][rows]] = -np.inf
        other[asked] = of_class.max(axis=1)
    return Trials(own, other, absent)


def _share_above(scores: np.ndarray, thresholds: np.ndarray, count: int) -> np.ndarray:
    """`[T]` how many scores reach each threshold, of `count`; 0 where there are none."""
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return (len(scores) - below) / max(1, count)
