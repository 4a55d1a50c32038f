"""Embeddings at rest, their exact neighbours, and how good those are. NumPy only.

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.retrieval.graded import Grades, ndcg
    from trainer.retrieval.metrics import (
        JudgedRanking,
        hit_rate,
        map_at_r,
        precision,
        r_precision,
        recall,
        reciprocal_rank,
        relevance,
    )
    from trainer.retrieval.neighbours import RetrievalResult, find_neighbours, iter_neighbours, own_rows
    from trainer.retrieval.query_metrics import QueryMetrics, judge_result, measure_queries, retrieval_metrics
    from trainer.retrieval.table import EmbeddingTable

__all__ = [
    "EmbeddingTable",
    "Grades",
    "JudgedRanking",
    "QueryMetrics",
    "RetrievalResult",
    "find_neighbours",
    "hit_rate",
    "iter_neighbours",
    "judge_result",
    "map_at_r",
    "measure_queries",
    "ndcg",
    "own_rows",
    "precision",
    "r_precision",
    "recall",
    "reciprocal_rank",
    "relevance",
    "retrieval_metrics",
]

_MODULES = {
    "EmbeddingTable": "table",
    "Grades": "graded",
    "QueryMetrics": "query_metrics",
    "RetrievalResult": "neighbours",
    "find_neighbours": "neighbours",
    "iter_neighbours": "neighbours",
    "judge_result": "query_metrics",
    "measure_queries": "query_metrics",
    "ndcg": "graded",
    "own_rows": "neighbours",
    "retrieval_metrics": "query_metrics",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'metrics')}"), name)
