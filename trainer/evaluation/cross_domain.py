"""Queries from one catalogue, a gallery from another: which of the gallery's labels are right for a query's."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trainer.data.delimited import read_delimited
from trainer.data.items import LABEL
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable, QueryMetrics, measure_queries

__all__ = ["LabelMapping", "measure_across", "right_across"]

_QUERY, _GALLERY = "query_label", "gallery_label"


@dataclass(frozen=True)
class LabelMapping:
    """What is right to find.

    Attributes:
        right: a query's label to the labels of the gallery of which any is right.
    """

    right: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, path: Path, known: Collection[str]) -> LabelMapping:
        """Reads a CSV with the columns `query_label` and `gallery_label`; several rows of one query label add up.

        Args:
            path: the file.
            known: the labels there are on the gallery's side.

        Raises:
            InputError: the file cannot be read or has other columns, a value is empty, or a gallery label is not known.
        """
        where = f"evaluate.cross_domain.labels {path}"
        if not path.is_file():
            raise InputError(f"{where}: expected a CSV with the columns {_QUERY} and {_GALLERY}, there is no such file")
        table = read_delimited(path)
        missing = [name for name in (_QUERY, _GALLERY) if name not in table.frame]
        if missing:
            raise InputError(
                f"{where}: expected the columns {_QUERY} and {_GALLERY}, received {', '.join(table.frame.columns)}; "
                f"add {' and '.join(missing)}"
            )
        if table.malformed:
            raise InputError(f"{where}: expected as many fields as the header has, line {table.malformed[0]} has not")
        right: dict[str, set[str]] = {}
        for query, gallery in zip(table.frame[_QUERY].str.strip(), table.frame[_GALLERY].str.strip(), strict=True):
            if not query or not gallery:
                raise InputError(f"{where}: expected two labels a row, received {query!r} and {gallery!r}")
            if gallery not in known:
                near = difflib.get_close_matches(gallery, sorted(known), n=1, cutoff=0.0)[0]
                raise InputError(
                    f"{where}: expected a label of the run's items as {_GALLERY}, received {gallery!r}; the nearest is "
                    f"{near!r}"
                )
            right.setdefault(query, set()).add(gallery)
        if not right:
            raise InputError(f"{where}: expected at least one row below the header, received none")
        return cls({query: frozenset(labels) for query, labels in right.items()})


def measure_across(
    queries: EmbeddingTable,
    gallery: EmbeddingTable,
    mapping: LabelMapping,
    ks: Sequence[int] = (1, 5, 10),
    *,
    progress: bool = False,
) -> QueryMetrics:
    """All metrics of queries in a gallery of other labels: an item is relevant when its label is right for the query's.

    No item is left out of the gallery, since no query is one of it, even where ids agree. Departures from
    `measure_queries`: none beside what is relevant; ndcg@K goes by label alone, since other attributes are not mapped.

    Args:
        queries: Q rows, their labels all in `mapping`.
        gallery: N rows.
        mapping: which labels are right.
        ks: see `measure_queries`.
        progress: whether to show a progress bar on standard error.

    Returns:
        The queries in their order, with their own labels. A query is lone where the gallery holds no item of a right
        label.

    Raises:
        InputError: as `measure_queries`.
    """
    values: dict[str, np.ndarray] = {}
    lone = np.empty(len(queries), bool)
    for label in tqdm(np.unique(queries.labels).tolist(), desc="labels", unit="label", disable=not progress):
        rows = np.flatnonzero(queries.labels == label)
        right = np.isin(gallery.labels, list(mapping.right[label]))
        # For these queries all right labels are one, named as theirs, and all others another.
        relabelled = EmbeddingTable(gallery.ids, gallery.vectors, {LABEL: np.where(right, label, f"not {label}")})
        found = measure_queries(queries.select(rows), relabelled, ks, same_table=False)
        lone[rows] = found.lone
        for name, value in found.values.items():
            values.setdefault(name, np.empty(len(queries)))[rows] = value
    return QueryMetrics(queries.ids, queries.labels, lone, values)


def right_across(labels: np.ndarray, predicted: np.ndarray, mapping: LabelMapping) -> np.ndarray:
    """`[Q]` float64: 1 where the predicted gallery label `[Q]` is right for the query label `[Q]`, else 0."""
    pairs = zip(labels.tolist(), predicted.tolist(), strict=True)
    return np.array([label in mapping.right[query] for query, label in pairs], dtype=np.float64)
