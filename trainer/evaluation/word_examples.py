"""Questions in words with what they found, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from trainer.data.items import ID, IMAGE_PATH, LABEL
from trainer.evaluation.attribute_queries import AttributeQueries, Precision
from trainer.evaluation.zero_shot import EmbedTexts
from trainer.retrieval import EmbeddingTable, find_neighbours

__all__ = ["NEAREST", "word_examples"]

NEAREST = 10
_EACH = 4


def word_examples(found: Sequence[Precision], embed_texts: EmbedTexts, *, seed: int) -> list[dict[str, Any]]:
    """Some of the best, of the worst, and some by chance, out of the questions of several templates.

    Questions are compared by how much they found of what there is to find among the nearest, at the largest K. Among
    equals, the best ask for the most attributes and have the most to find; the worst have the most to find, and are
    then those answered with the most confidence. Each label is there once before any comes again.

    Args:
        found: of every template with questions.
        embed_texts: see `EmbedTexts`.
        seed: of chance.

    Returns:
        Up to a dozen rows of `kind` (`best`, `worst` or `random`), `text`, `template`, `values` (what is asked for, by
        attribute), `matches` (how many items are just that), `precision` (of the `min(K, matches)` that could be right,
        how many are there), and `neighbours`: the `NEAREST` with `id`, `label`, `image_path`, `score`, `values` and
        `right`, whether all of them are what was asked for.
    """
    if not found:
        return []
    place = np.concatenate([np.full(len(each.queries), at) for at, each in enumerate(found)])
    query = np.concatenate([np.arange(len(each.queries)) for each in found])
    share = np.concatenate([(each.values / each.ceiling)[:, _deepest(each), -1] for each in found])
    matches = np.concatenate([each.queries.matches[:, -1] for each in found])
    similarity = np.concatenate([each.similarity for each in found])
    asked = np.array([len(each.queries.names) for each in found])[place]
    labels = [_label(found[at].queries, row) for at, row in zip(place.tolist(), query.tolist(), strict=True)]
    best = np.lexsort((-similarity, -matches, -asked, -share))
    worst = np.lexsort((-similarity, -matches, share))
    chosen: dict[int, str] = {}
    for kind, order in (
        ("best", best[share[best] > 0]),
        ("worst", worst[share[worst] < 1]),
        ("random", np.random.default_rng(seed).permutation(len(place))),
    ):
        free = [at for at in order.tolist() if at not in chosen]
        chosen |= dict.fromkeys(_varied(free, labels), kind)
    return [
        {"kind": kind, "precision": float(share[at]), **_example(found[place[at]].queries, int(query[at]), embed_texts)}
        for at, kind in chosen.items()
    ]


def _deepest(found: Precision) -> int:
    return found.ks.index(max(found.ks))


def _label(queries: AttributeQueries, row: int) -> str:
    """The label asked for; the whole question where no label is."""
    return str(queries.values[row, queries.names.index(LABEL)]) if LABEL in queries.names else queries.texts[row]


def _varied(order: Iterable[int], labels: Sequence[str]) -> list[int]:
    """The first `_EACH` in order, but the first of each label before the second of any."""
    first: dict[str, int] = {}
    again = []
    for at in order:
        if labels[at] in first:
            again.append(at)
        else:
            first[labels[at]] = at
    return [*first.values(), *again][:_EACH]


def _example(queries: AttributeQueries, row: int, embed_texts: EmbedTexts) -> dict[str, Any]:
    text, items = queries.texts[row], queries.items
    asked = EmbeddingTable(np.array([text]), embed_texts([text]), {LABEL: np.array([text])})
    nearest = find_neighbours(asked, items, min(NEAREST, len(items)))
    right = queries.right(np.array([row]), nearest.rows)[0, :, -1]
    return {
        "text": text,
        "template": queries.template,
        "values": dict(zip(queries.names, queries.values[row].tolist(), strict=True)),
        "matches": int(queries.matches[row, -1]),
        "neighbours": [
            {
                ID: str(items.ids[at]),
                LABEL: str(items.labels[at]),
                IMAGE_PATH: str(items.attributes[IMAGE_PATH][at]) if IMAGE_PATH in items.attributes else "",
                "score": float(score),
                "values": {name: str(items.attributes[name][at]) for name in queries.names},
                "right": bool(agrees),
            }
            for at, score, agrees in zip(nearest.rows[0], nearest.scores[0], right, strict=True)
        ],
    }
