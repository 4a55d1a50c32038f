"""Asking with a picture and words together: "this one, but in red"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.config.words import template_attributes
from trainer.data.items import LABEL
from trainer.data.texts import fill
from trainer.evaluation.intervals import bootstrap_intervals
from trainer.evaluation.zero_shot import EmbedTexts
from trainer.retrieval import EmbeddingTable, find_neighbours

__all__ = ["MOST_QUERIES", "composed_queries"]

MOST_QUERIES = 500
"""Pictures that are asked with; of more, so many drawn by chance."""


def composed_queries(
    items: EmbeddingTable,
    templates: Sequence[str],
    weights: Sequence[float],
    k: int,
    embed_texts: EmbedTexts,
    *,
    seed: int,
    resamples: int,
) -> list[dict[str, Any]]:
    """How often a picture and the name of another value find its label with that value, by the weight of the words.

    The attribute is the first of the templates beside the label. Each picture is asked with another value that some
    item of its label has: as the value alone (`{baseColour}`), and in the first template with that attribute, where
    the picture's own values stand in the other places. The query is `unit((1 - weight) * picture + weight * words)`;
    the picture itself is left out of what it finds.

    Args:
        items: N pictures, with the attributes of the templates.
        templates: of the questions asked in words.
        weights: of the words.
        k: how many of the nearest are judged.
        embed_texts: see `EmbedTexts`.
        seed: of the pictures and the values asked for.
        resamples: of the intervals; 0 for none.

    Returns:
        A row for each form of words and weight: `text` (the template), `attribute`, `weight`, `queries`, `k`, and, as
        means over the queries, the shares of the k nearest with the picture's `label`, with the value `asked` for, and
        with `both`, the highest that the last could be (`ceiling`), and their `intervals`. Empty where the templates
        have no attribute beside the label, or there is no picture to ask with.

    Raises:
        InputError: texts and pictures are not in one space: their dimensions differ.
    """
    asking = [template for template in templates if set(template_attributes(template)) - {LABEL}]
    if not asking:
        return []
    attribute = next(name for name in template_attributes(asking[0]) if name != LABEL)
    chosen, values = _asked(items, attribute, np.random.default_rng(seed))
    if not chosen.size:
        return []
    pictures = items.select(chosen)
    there = Counter(zip(items.labels.tolist(), items.attributes[attribute].tolist(), strict=True))
    wanted = zip(pictures.labels.tolist(), values.tolist(), strict=True)
    ceiling = float(np.mean([min(k, there[both]) / k for both in wanted]))
    rows = []
    for template in dict.fromkeys((f"{{{attribute}}}", asking[0])):
        words = embed_texts([*_texts(template, pictures, attribute, values)])
        for weight in weights:
            found = _nearest(items, pictures, chosen, words, weight, k)
            label = items.labels[found] == pictures.labels[:, None]
            value = items.attributes[attribute][found] == values[:, None]
            right = {"label": label, "asked": value, "both": label & value}
            shares = {name: agrees.sum(axis=1) / k for name, agrees in right.items()}
            row: dict[str, Any] = {"text": template, "attribute": attribute, "weight": weight, "queries": len(values)}
            row |= {"k": k, **{name: float(share.mean()) for name, share in shares.items()}, "ceiling": ceiling}
            rows.append(row | _intervals(shares, resamples))
    return rows


def _intervals(shares: Mapping[str, np.ndarray], resamples: int) -> dict[str, Any]:
    return {"intervals": bootstrap_intervals(shares, resamples=resamples)} if resamples else {}


def _asked(items: EmbeddingTable, attribute: str, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`[Q]` int64 rows, rising, and `[Q]` strings: another value than theirs that an item of their label has."""
    values = items.attributes[attribute]
    known: dict[str, set[str]] = {}
    for label, value in zip(items.labels.tolist(), values.tolist(), strict=True):
        known.setdefault(label, set()).add(value)
    chosen: dict[int, str] = {}
    for row in draw.permutation(len(items)).tolist():
        others = sorted(known[str(items.labels[row])] - {str(values[row]), ""})
        if values[row] and others:
            chosen[row] = others[draw.integers(len(others))]
        if len(chosen) == MOST_QUERIES:
            break
    rows = sorted(chosen)
    return np.array(rows, dtype=np.int64), np.array([chosen[row] for row in rows], dtype=np.str_)


def _texts(template: str, pictures: EmbeddingTable, attribute: str, values: np.ndarray) -> Iterator[str]:
    """The template with each picture's own values but for the one asked for; that alone where another is missing."""
    names = template_attributes(template)
    for row, value in enumerate(values.tolist()):
        filled = {name: str(pictures.attributes[name][row]) for name in names} | {attribute: value}
        yield fill(template, filled) or value


def _nearest(
    items: EmbeddingTable, pictures: EmbeddingTable, own: np.ndarray, words: np.ndarray, weight: float, k: int
) -> np.ndarray:
    """`[Q, K]` rows of the items nearest to the pictures with words, K smaller than k where there are fewer."""
    unit = pictures.vectors / np.maximum(np.linalg.norm(pictures.vectors, axis=1, keepdims=True), 1e-12)
    queries = EmbeddingTable(pictures.ids, (1 - weight) * unit + weight * words, {LABEL: pictures.labels})
    return find_neighbours(queries, items, min(k, len(items) - 1), exclude=own).rows
