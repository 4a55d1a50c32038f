"""Queries and what they found: some of the best, of the worst, and some by chance."""

from __future__ import annotations

import numpy as np

from trainer.data.items import IMAGE_PATH
from trainer.evaluation.sampling import sample_rows
from trainer.report.blocks import Grid, Picture, QueryRow
from trainer.report.products import Products
from trainer.report.results import ModelResults, WorstQuery
from trainer.retrieval import EmbeddingTable, RetrievalResult, find_neighbours, own_rows

__all__ = ["MOST_QUERIES", "query_grids"]

MOST_QUERIES = 2_000
"""Queries that the best and the worst are chosen from; of more, a sample."""

_NEIGHBOURS = 8
_ROWS = 4


def query_grids(results: ModelResults, products: Products, seed: int) -> tuple[Grid, ...]:
    """Grids of the best, the worst and random queries of the split that is shown, which look among that split.

    The worst ones are those of `findings.json` where it is there, else chosen here. The best have the most right items
    among the nearest, the most similar first, and are of different classes as far as there are such.

    Args:
        results: of the model.
        products: takes note of the pictures.
        seed: of the sample and of chance.
    """
    table = results.table
    if table is None or len(table) < 2 or IMAGE_PATH not in table.attributes:
        return ()
    queries = sample_rows(table, MOST_QUERIES, seed)
    asked = own_rows(queries, table)
    found = find_neighbours(queries, table, min(_NEIGHBOURS, len(table) - 1), exclude=asked)
    right = table.labels[found.rows] == queries.labels[:, None]
    best, worst = _best(right, found, queries.labels), _worst(right, found)
    drawn = np.random.default_rng(seed).permutation(len(asked))[:_ROWS]

    def rows(chosen: np.ndarray) -> tuple[QueryRow, ...]:
        return tuple(_row(table, asked[at], found.rows[at], found.scores[at], products) for at in chosen)

    told = results.findings.worst_queries[:_ROWS] if results.findings else []
    lowest = tuple(_told(query, products) for query in told) or rows(worst)
    some = "" if len(asked) == len(table) else f" Out of {len(asked):,} of {len(table):,} queries, drawn by chance."
    worst_note = "The most mistakes among the nearest; among equals those made with the most confidence."
    best_note = "The fewest mistakes and the highest similarity; one of a class first."
    grids = (
        Grid("By chance", rows(drawn)),
        Grid("Worst", lowest, worst_note + ("" if told else some)),
        Grid("Best", rows(best), best_note + some),
    )
    return tuple(grid for grid in grids if grid.rows)


def _best(right: np.ndarray, found: RetrievalResult, labels: np.ndarray) -> np.ndarray:
    order = np.lexsort((-found.scores.mean(axis=1), -right.mean(axis=1)))
    order = order[right[order].any(axis=1)]
    _, first = np.unique(labels[order], return_index=True)
    turn = np.ones(len(order), dtype=bool)
    turn[first] = False
    return order[np.argsort(turn, kind="stable")][:_ROWS]


def _worst(right: np.ndarray, found: RetrievalResult) -> np.ndarray:
    order = np.lexsort((-found.scores.mean(axis=1), right.mean(axis=1)))
    return order[~right[order].all(axis=1)][:_ROWS]


def _row(table: EmbeddingTable, query: int, rows: np.ndarray, scores: np.ndarray, products: Products) -> QueryRow:
    def item(row: int) -> tuple[str, str, str]:
        return str(table.ids[row]), str(table.labels[row]), str(table.attributes[IMAGE_PATH][row])

    label = str(table.labels[query])
    found = (_found(products, *item(row), float(score), label) for row, score in zip(rows, scores, strict=True))
    return QueryRow(products.picture(*item(query), lines=(label,)), tuple(found))


def _told(query: WorstQuery, products: Products) -> QueryRow:
    found = (
        _found(products, item.id, item.label, item.image_path, item.score, query.label)
        for item in query.neighbours[:_NEIGHBOURS]
    )
    return QueryRow(products.picture(query.id, query.label, query.image_path, lines=(query.label,)), tuple(found))


def _found(products: Products, product: str, label: str, image_path: str, score: float | None, wanted: str) -> Picture:
    lines = (label,) if score is None else (label, f"{score:.3f}")
    return products.picture(product, label, image_path, lines=lines, right=label == wanted)
