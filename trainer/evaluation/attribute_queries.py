"""Asking in words for every combination of attributes that there is: "navy blue men's shirts"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.config.words import template_attributes
from trainer.data.items import LABEL
from trainer.evaluation.intervals import bootstrap_intervals
from trainer.evaluation.zero_shot import EmbedTexts
from trainer.retrieval import EmbeddingTable, iter_neighbours

__all__ = ["TOGETHER", "AttributeQueries", "Precision", "attribute_queries", "precision_of", "query_rows"]

TOGETHER = "(all)"
"""Stands for all attributes of a query at once."""


@dataclass(frozen=True, eq=False)
class AttributeQueries:
    """Q questions made of one template.

    Args:
        template: that was filled.
        items: N pictures that are looked among.
        names: the A attributes between its braces.
        values: `[Q, A]` strings asked for; every combination that an item has, each once.
        matches: `[Q, S]` int64, how many items agree on each of `subjects`.
    """

    template: str
    items: EmbeddingTable
    names: tuple[str, ...]
    values: np.ndarray
    matches: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def subjects(self) -> tuple[str, ...]:
        """What an answer is judged by, S of them: each attribute alone, and where there are several, all together."""
        return (*self.names, TOGETHER) if len(self.names) > 1 else self.names

    @cached_property
    def texts(self) -> list[str]:
        """The questions."""
        return [self.template.format_map(dict(zip(self.names, values, strict=True))) for values in self.values.tolist()]

    def right(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`[q, K, S]` booleans: whether the items at `rows` `[q, K]` are what the `queries` `[q]` ask for."""
        each = [
            self.items.attributes[name][rows] == self.values[queries, at, None] for at, name in enumerate(self.names)
        ]
        return np.stack([*each, np.all(each, axis=0)] if len(each) > 1 else each, axis=2)


@dataclass(frozen=True, eq=False)
class Precision:
    """What Q questions found.

    Args:
        queries: the questions.
        ks: the K.
        values: `[Q, len(ks), S]` float64, precision@K: how many of the K nearest are right, by K, even where there are
            fewer items.
        similarity: `[Q]` float32, mean over the nearest.
    """

    queries: AttributeQueries
    ks: tuple[int, ...]
    values: np.ndarray
    similarity: np.ndarray

    @property
    def ceiling(self) -> np.ndarray:
        """`[Q, len(ks), S]`: the highest that any ranking could have: `min(K, R) / K` with R right items."""
        ks = np.array(self.ks)[None, :, None]
        return np.minimum(ks, self.queries.matches[:, None, :]) / ks


def attribute_queries(items: EmbeddingTable, template: str, *, min_matches: int = 1) -> AttributeQueries:
    """The questions that a template makes of what there is.

    Args:
        items: N pictures, with the template's attributes as strings; one that lacks a value is in no combination.
        template: such as `{baseColour} {label}`.
        min_matches: combinations that fewer items have are left out.
    """
    names = tuple(dict.fromkeys(template_attributes(template)))
    columns = [np.unique(items.attributes[name], return_inverse=True) for name in names]
    codes = np.stack([code for _, code in columns], axis=1)
    present = np.all([items.attributes[name] != "" for name in names], axis=0)
    asked, counts = np.unique(codes[present], axis=0, return_counts=True)
    asked, counts = asked[counts >= min_matches], counts[counts >= min_matches]
    values = np.stack([values[asked[:, at]] for at, (values, _) in enumerate(columns)], axis=1)
    matches = [np.bincount(codes[:, at])[asked[:, at]] for at in range(len(names))]
    matches += [counts] if len(names) > 1 else []
    return AttributeQueries(template, items, names, values, np.stack(matches, axis=1))


def precision_of(queries: AttributeQueries, ks: Sequence[int], embed_texts: EmbedTexts) -> Precision:
    """Asks the questions, a chunk at a time: memory does not grow with questions x items.

    Args:
        queries: at least one.
        ks: the K.
        embed_texts: see `EmbedTexts`.

    Raises:
        InputError: texts and pictures are not in one space: their dimensions differ.
    """
    names = np.array([str(at) for at in range(len(queries))])
    asked = EmbeddingTable(names, embed_texts(queries.texts), {LABEL: np.array(queries.texts)})
    values = np.empty((len(queries), len(ks), len(queries.subjects)))
    similarity = np.empty(len(queries), dtype=np.float32)
    for found in iter_neighbours(asked, queries.items, min(max(ks), len(queries.items))):
        right = queries.right(found.queries, found.rows)
        for place, k in enumerate(ks):
            values[found.queries, place] = right[:, :k].sum(axis=1) / k
        similarity[found.queries] = found.scores.mean(axis=1)
    return Precision(queries, tuple(ks), values, similarity)


def query_rows(found: Precision, *, resamples: int) -> list[dict[str, Any]]:
    """What the questions of a template came to.

    Args:
        found: see `precision_of`.
        resamples: of the intervals; 0 for none.

    Returns:
        A row for each of the questions' `subjects`: `template`, `attribute`, `queries`, `precision@K` with its
        `intervals` and `ceiling@K`, the highest that any ranking could have, as means over the questions; and
        `by_item@K`, where a question counts as often as there are items that are all it asks for.
    """
    rows = []
    items = found.queries.matches[:, -1]
    for at, subject in enumerate(found.queries.subjects):
        values = {f"precision@{k}": found.values[:, place, at] for place, k in enumerate(found.ks)}
        row: dict[str, Any] = {"template": found.queries.template, "attribute": subject, "queries": len(found.queries)}
        row |= {name: float(value.mean()) for name, value in values.items()}
        for place, k in enumerate(found.ks):
            row[f"by_item@{k}"] = float(np.average(found.values[:, place, at], weights=items))
            row[f"ceiling@{k}"] = float(found.ceiling[:, place, at].mean())
        if resamples:
            row["intervals"] = bootstrap_intervals(values, resamples=resamples)
        rows.append(row)
    return rows
