"""Labels that are probably wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.data.items import IMAGE_PATH, LABEL, SPLIT, TRAIN
from trainer.evaluation.classification import CONFIDENCE, PREDICTED_LABEL
from trainer.retrieval import EmbeddingTable, find_neighbours

__all__ = ["label_errors"]


def label_errors(table: EmbeddingTable, *, neighbours: int = 10, most: int = 50) -> list[dict[str, Any]]:
    """Items whose label both the classifier and the most similar items contradict, the most certain first.

    After confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in
    Dataset Labels", JAIR 70, 2021): an item labelled y is suspected to be j when the classifier says j with at least
    the probability that items labelled j usually have of being j. That differs by class, so that a class of which the
    classifier is never sure is not overlooked. Here the item's nearest neighbours, itself left out,
    must agree: their votes, weighted by similarity, must be more for j than for y. The score is the classifier's
    probability of j times the share of votes for j.

    Departures: of an item's probabilities only the largest is known. Where that is not of its label, what is left of 1
    is taken for the label's, so the usual probability is a little higher than the paper's, and fewer are suspected.

    The paper wants predictions for items that the classifier was not trained on. Those of the train split were learned
    with the labels under suspicion, so they are surer and agree with them too often. The usual probabilities are
    therefore taken from other splits wherever these have the class. A train item that is contradicted all the same is
    at least as suspect as any, but most errors among train items stay hidden: a run with another `data.splits.seed`
    moves them into other splits.

    Args:
        table: items with `predicted_label`, `confidence` and `split`.
        neighbours: how many vote.
        most: how many items to answer.

    Returns:
        Rows of `id`, `label`, `suggested`, `score`, `confidence`, `votes` (the share for the suggested label),
        `image_path` and `split`; nothing for a table without predictions.
    """
    if PREDICTED_LABEL not in table.attributes or len(table) < 2:
        return []
    predicted = table.attributes[PREDICTED_LABEL]
    confidence = table.attributes[CONFIDENCE].astype(np.float64)
    usual = _usual_confidence(table, predicted, confidence)
    enough = np.array([usual.get(label, np.inf) for label in predicted.tolist()])
    suspects = np.flatnonzero((predicted != table.labels) & (confidence >= enough))
    if not suspects.size:
        return []
    found = find_neighbours(
        table.select(suspects),
        table,
        min(neighbours, len(table) - 1),
        exclude=suspects,
        progress=len(suspects) > 10_000,
    )
    weights = np.maximum(found.scores, 0).astype(np.float64)
    voted = table.labels[found.rows]
    total = np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny)
    votes = (weights * (voted == predicted[suspects, None])).sum(axis=1) / total
    against = (weights * (voted == table.labels[suspects, None])).sum(axis=1) / total
    score = confidence[suspects] * votes
    order = np.argsort(-score, kind="stable")
    return [
        {
            **{name: str(table.attributes[name][row]) for name in (IMAGE_PATH, SPLIT) if name in table.attributes},
            "id": str(table.ids[row]),
            LABEL: str(table.labels[row]),
            "suggested": str(predicted[row]),
            "score": float(score[at]),
            CONFIDENCE: float(confidence[row]),
            "votes": float(votes[at]),
        }
        for at, row in zip(order, suspects[order], strict=True)
        if votes[at] > against[at]
    ][:most]


def _usual_confidence(table: EmbeddingTable, predicted: np.ndarray, confidence: np.ndarray) -> Mapping[str, float]:
    """By class, the mean probability of the label: of unseen items where there are such."""
    of_label = np.where(predicted == table.labels, confidence, 1 - confidence)
    unseen = table.attributes[SPLIT] != TRAIN if SPLIT in table.attributes else np.ones(len(table), dtype=bool)
    usual: dict[str, float] = {}
    for counted in (~unseen, unseen):
        labels, codes = np.unique(table.labels[counted], return_inverse=True)
        means = np.bincount(codes, weights=of_label[counted]) / np.bincount(codes)
        usual |= dict(zip(labels.tolist(), means.tolist(), strict=True))
    return usual
