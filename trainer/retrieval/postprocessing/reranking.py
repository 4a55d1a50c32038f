"""Re-ranking by how much two pictures' neighbourhoods have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from sklearn.preprocessing import normalize

from trainer.errors import InputError
from trainer.retrieval.neighbours import RetrievalResult
from trainer.retrieval.postprocessing.reciprocal import reciprocal_encodings, shared_weight
from trainer.retrieval.postprocessing.search import MANY, Search
from trainer.retrieval.similarity import sort_columns
from trainer.retrieval.table import EmbeddingTable

__all__ = ["Reranking"]

CELLS = 4_194_304
CHUNK = 128


@dataclass(frozen=True)
class Reranking:
    """Re-orders the candidates of a search, its first `depth`, by k-reciprocal encoding.

    The new distance is `(1 - lambda) d_J + lambda d`, with d the cosine distance and d_J the Jaccard distance of the
    encodings (see `reciprocal_encodings`): `1 - sum min(V_p, V_g) / sum max(V_p, V_g)`. Scores are 1 minus it, so with
    lambda = 1 they are the cosine similarities; equal ones keep their order.

    The points are the gallery and, where they are not in it (`same_table` false), the queries. So queries that are
    asked together help each other; a search with one query is the paper's case of one probe and a gallery.

    Departures from the paper: the cosine distance instead of the Mahalanobis distance, not scaled by its maximum (the
    authors' code does that), and candidates from the top of the ranking only, which at full depth makes no difference.

    Cost: all points search each other once, O(P^2 D), and are encoded, O(P k1^2); then about O(k1^2 k2^2 + P) a query.
    A server needs the encodings beside the table (`Search.side_bytes`), and for every query finds its reciprocal
    neighbours, encodes it, and compares it with the candidates: there is no stock operation for it, so it belongs into
    the client or a service of its own.

    Args:
        k1: neighbours that must find each other, at least 1. Default 20.
        k2: points whose encodings are averaged, at least 1 (no average). Default 6.
        lambda_: weight of the original distance, 0 to 1. Default 0.3.

    Raises:
        InputError: one of these is out of its range.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
    """

    k1: int = 20
    k2: int = 6
    lambda_: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0.0 <= self.lambda_ <= 1.0:
            raise InputError(
                "expected k1 and k2 of at least 1 and lambda from 0 to 1, "
                f"received {self.k1}, {self.k2} and {self.lambda_}"
            )

    def __call__(self, search: Search) -> Search:
        """The search with its candidates in the new order.

        Raises:
            InputError: the queries are rows of the gallery with other vectors than there, as after a `QueryExpansion`:
                then their own rows, which they must not find, would be among the points.
        """
        found = search.result
        points, asked = _points(search)
        encodings = reciprocal_encodings(points, self.k1, self.k2, progress=len(points) > MANY)
        alike = _neighbourhood_similarities(encodings, asked, found.rows)
        scores = ((1 - self.lambda_) * alike + self.lambda_ * found.scores).astype(np.float32)
        ranked = RetrievalResult(found.queries, *sort_columns(found.rows, scores))
        beside = (encodings.data.nbytes + encodings.indices.nbytes) / len(points)
        return replace(search, ranked=ranked, side_bytes=search.side_bytes + beside)


def _neighbourhood_similarities(encodings: csr_array, asked: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """`[Q, K]` float32: 1 - d_J between the points `asked` `[Q]` and the points `candidates` `[Q, K]` of each."""
    by_column = csr_array(encodings.T.tocsr())
    alike = np.empty(candidates.shape, np.float32)
    chunk = max(1, min(CHUNK, CELLS // encodings.shape[0]))
    for start in range(0, len(asked), chunk):
        some = slice(start, start + chunk)
        shared = np.take_along_axis(shared_weight(encodings, by_column, asked[some]), candidates[some], axis=1)
        alike[some] = np.minimum(shared / (2 - shared), 1.0)  # each encoding sums to 1
    return alike


def _points(search: Search) -> tuple[EmbeddingTable, np.ndarray]:
    """All points, the gallery's rows first, and which of them are the queries."""
    queries, gallery = search.queries, search.gallery
    if queries is gallery:
        return gallery, np.arange(len(gallery))
    if search.same_table:
        own = search.own
        # Encoding a part of a table may round otherwise than encoding all of it.
        if not np.allclose(normalize(queries.vectors), normalize(gallery.vectors[own]), rtol=0, atol=1e-5):
            raise InputError(
                "expected queries with the vectors that they have in the gallery, received others; "
                "re-rank before query expansion, not after it"
            )
        return gallery, own
    vectors = np.concatenate([gallery.vectors, queries.vectors])
    points = EmbeddingTable(
        np.arange(len(vectors)).astype(np.str_), vectors, {"label": np.concatenate([gallery.labels, queries.labels])}
    )
    return points, np.arange(len(gallery), len(points))
