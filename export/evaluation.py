"""`assets.extra/evaluation.npz`: queries of the test split with what the trainer's own evaluation found for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.table_rows import TableRows, column_names
from serving.contract import EVALUATION_FILE
from trainer.data.items import LABEL, SPLIT, TEST
from trainer.errors import InputError
from trainer.files import atomic_path
from trainer.retrieval import EmbeddingTable, find_neighbours

__all__ = ["MOST_QUERIES", "EvaluationQueries", "choose_queries", "run_metrics", "write_evaluation"]

MOST_QUERIES = 2000
_DEPTH = 10
"""At least so many neighbours are kept, for recall@10."""


@dataclass(frozen=True, eq=False)
class EvaluationQueries:
    """Rows of the test split.

    Attributes:
        table: ids, vectors and labels.
        whole: whether these are all of the test split.
    """

    table: EmbeddingTable
    whole: bool

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        """Id to vector."""
        return dict(zip(self.table.ids.tolist(), self.table.vectors, strict=True))


def choose_queries(path: Path, most: int = MOST_QUERIES) -> EvaluationQueries | None:
    """Rows of the test split out of a run's embedding table, spread evenly over it.

    Args:
        path: what `python -m trainer evaluate` wrote, such as `RUN/embeddings/fused.parquet`.
        most: how many.

    Returns:
        The queries; None where the table has no test split.
    """
    import pyarrow.parquet as pq

    names = column_names(path)
    if SPLIT not in names or LABEL not in names:
        return None
    tests = np.flatnonzero(pq.read_table(path, columns=[SPLIT])[SPLIT].to_numpy() == TEST)
    if not len(tests):
        return None
    wanted = tests[np.unique(np.linspace(0, len(tests) - 1, min(most, len(tests))).round().astype(np.int64))]
    rows = TableRows.from_parquet(path, [LABEL])
    ids, vectors, labels, start = [], [], [], 0
    for chunk in rows.chunks():
        local = wanted[(wanted >= start) & (wanted < start + len(chunk.ids))] - start
        ids.append(np.asarray(chunk.ids[local], dtype=np.str_))
        vectors.append(np.asarray(chunk.vectors[local], dtype=np.float32))
        labels.append(np.asarray(chunk.attributes[LABEL][local], dtype=np.str_))
        start += len(chunk.ids)
    table = EmbeddingTable(np.concatenate(ids), np.concatenate(vectors), {LABEL: np.concatenate(labels)})
    return EvaluationQueries(table, whole=len(wanted) == len(tests))


def write_evaluation(
    folder: Path, queries: EvaluationQueries, rows: TableRows, top_k: int, metrics: Mapping[str, Any]
) -> None:
    """Writes what the trainer's exact search finds for the queries among all rows of the table that is shipped.

    The table is read chunk by chunk, and the best of the chunks are merged, so memory does not grow with it.

    Args:
        folder: of the version.
        queries: whom to ask for.
        rows: the table.
        top_k: how many neighbours; at least ten are kept where there are so many rows.
        metrics: the run's row of `metrics.json` for test queries among test items; empty where there is none.

    The file holds `query_ids` and `labels` `[Q]`, `vectors` float32 `[Q, D]`, `neighbour_ids` `[Q, K]`, `scores`
    float32 `[Q, K]`, `whole` (whether all test items are queries), and `metrics` as JSON.
    """
    ids, scores = _neighbours(queries.table, rows, min(max(top_k, _DEPTH), rows.count))
    with atomic_path(folder / EVALUATION_FILE) as aside, aside.open("wb") as stream:
        np.savez(
            stream,
            query_ids=queries.table.ids.astype(np.str_),
            labels=queries.table.labels.astype(np.str_),
            vectors=queries.table.vectors,
            neighbour_ids=ids,
            scores=scores,
            whole=np.asarray(queries.whole),
            metrics=np.asarray(json.dumps(dict(metrics))),
        )


def _neighbours(queries: EmbeddingTable, rows: TableRows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids `[Q, k]` and scores `[Q, k]`; equal scores by row, as the trainer ranks them."""
    best_ids = np.empty((len(queries), 0), dtype=np.str_)
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    for chunk in rows.chunks():
        if not len(chunk.ids):
            continue
        chunk_ids = np.asarray(chunk.ids, dtype=np.str_)
        gallery = EmbeddingTable(chunk_ids, np.asarray(chunk.vectors), {LABEL: chunk_ids})
        found = find_neighbours(queries, gallery, min(k, len(chunk_ids)))
        scores = np.concatenate([best_scores, found.scores], axis=1)
        ids = np.concatenate([best_ids, chunk_ids[found.rows]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best_scores, best_ids = np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
    return best_ids, best_scores


def run_metrics(workdir: Path, model: str) -> list[dict[str, Any]]:
    """The rows of a run's `metrics.json` that are about one model.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    path = workdir / "metrics.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [row for row in rows if row["model"] == model]
    except FileNotFoundError as error:
        raise InputError(f"expected {path}; there is none. Run python -m trainer evaluate first") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: expected metrics as JSON, it cannot be read ({error}); run evaluate again"
        ) from error
