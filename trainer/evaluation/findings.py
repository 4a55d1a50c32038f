"""Single cases that a person should look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.data.items import ID, IMAGE_PATH, LABEL
from trainer.evaluation.analyses import Evaluated
from trainer.evaluation.classification import PREDICTED_LABEL
from trainer.evaluation.label_errors import label_errors
from trainer.retrieval import EmbeddingTable

__all__ = ["confused_pairs", "findings", "worst_queries"]


def findings(evaluated: Evaluated) -> dict[str, Any]:
    """What stands out.

    Returns:
        `worst_queries` (see there), `confused_pairs` of `label` and `found`, the label of the nearest item,
        `confused_predictions` of `label` and `predicted`, the classifier's answer (see `confused_pairs`; not there for
        a model without classifier), and `label_errors` among all items (see there).
    """
    queries, fair = evaluated.queries, ~evaluated.measured.lone
    nearest = queries.labels[evaluated.neighbours.rows[:, 0]]
    found: dict[str, Any] = {
        "worst_queries": worst_queries(evaluated),
        "confused_pairs": confused_pairs(queries.labels[fair], nearest[fair], "found"),
    }
    if PREDICTED_LABEL in queries.attributes:
        found["confused_predictions"] = confused_pairs(queries.labels, queries.attributes[PREDICTED_LABEL], "predicted")
    return {**found, "label_errors": label_errors(evaluated.table)}


def worst_queries(evaluated: Evaluated, *, k: int = 10, most: int = 20) -> list[dict[str, Any]]:
    """The queries with the fewest right items among their nearest, the most similar ones first: an error made with
    confidence teaches most.

    Args:
        evaluated: the model.
        k: how many neighbours are looked at.
        most: how many queries to answer.

    Returns:
        Rows of `id`, `label`, `image_path`, `precision`, and `neighbours`: the k nearest with `id`, `label`,
        `image_path` and `score`, the cosine similarity. The precision is that of the `min(k, R)` nearest, where R is
        how many right ones there are: queries of a small class are not the worst only because it is small. Queries
        without an error or without anything to find are none of the worst.
    """
    queries, result = evaluated.queries, evaluated.neighbours
    rows, scores = result.rows[:, :k], result.scores[:, :k]
    _, codes, sizes = np.unique(queries.labels, return_inverse=True, return_counts=True)
    right = codes[rows] == codes[:, None]
    wanted = np.minimum(rows.shape[1], sizes[codes] - 1)
    counted = np.arange(rows.shape[1]) < wanted[:, None]
    precision = (right & counted).sum(axis=1) / np.maximum(wanted, 1)
    failed = np.flatnonzero((wanted > 0) & (precision < 1))
    order = failed[np.lexsort((-scores[failed].mean(axis=1), precision[failed]))][:most]
    return [
        {
            **_item(queries, query),
            "precision": float(precision[query]),
            "neighbours": [
                {**_item(queries, row), "score": float(score)}
                for row, score in zip(rows[query], scores[query], strict=True)
            ],
        }
        for query in order
    ]


def confused_pairs(labels: np.ndarray, taken_for: np.ndarray, name: str, *, most: int = 20) -> list[dict[str, Any]]:
    """Which label is taken for which other most often.

    Args:
        labels: `[Q]` strings.
        taken_for: `[Q]` strings.
        name: of the other label in the rows.
        most: how many pairs to answer.

    Returns:
        Rows of `label`, the other label, `count`, and `share` of the queries with the label; the highest count first,
        then the highest share.
    """
    wrong = labels != taken_for
    pairs, counts = np.unique(np.stack([labels[wrong], taken_for[wrong]], axis=1), axis=0, return_counts=True)
    names, sizes = np.unique(labels, return_counts=True)
    shares = counts / sizes[np.searchsorted(names, pairs[:, 0])]
    return [
        {LABEL: str(pairs[at, 0]), name: str(pairs[at, 1]), "count": int(counts[at]), "share": float(shares[at])}
        for at in np.lexsort((-shares, -counts))[:most]
    ]


def _item(table: EmbeddingTable, row: int) -> dict[str, str]:
    shown = {ID: str(table.ids[row]), LABEL: str(table.labels[row])}
    return shown | {name: str(table.attributes[name][row]) for name in (IMAGE_PATH,) if name in table.attributes}
