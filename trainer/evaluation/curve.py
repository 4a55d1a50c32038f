"""Quality against how many neighbours are shown."""

from __future__ import annotations

from trainer.evaluation.analyses import Evaluated
from trainer.retrieval import judge_result

__all__ = ["curve"]

_METRICS = ("hit_rate", "precision", "recall", "ndcg")


def curve(evaluated: Evaluated) -> list[dict[str, int | float | None]]:
    """A row for each K from 1 to `DEPTH`, or to what there is to find: `k` and the means of hit rate, precision, recall
    and NDCG at K; None where no query counts."""
    result = evaluated.neighbours
    ks = range(1, result.rows.shape[1] + 1)
    queries, relevance = evaluated.queries, evaluated.config.relevance
    means = judge_result(result, queries, queries, ks, same_table=True, relevance=relevance).means()
    return [{"k": k, **{name: means[f"{name}@{k}"] for name in _METRICS}} for k in ks]
