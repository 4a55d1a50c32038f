"""k-reciprocal encodings: every point as a sparse vector of weights of the points that it and that find each other."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, get_index_dtype, vstack
from sklearn.preprocessing import normalize
from tqdm import tqdm

from trainer.retrieval.neighbours import find_neighbours
from trainer.retrieval.table import EmbeddingTable

__all__ = ["reciprocal_encodings", "shared_weight"]

CHUNK = 512


def reciprocal_encodings(points: EmbeddingTable, k1: int, k2: int, *, progress: bool = False) -> csr_array:
    """The encodings V of P points, each of sum 1.

    With N(p, k) the point p itself and its k nearest others, and d the cosine distance:

    - R(p, k) = {q in N(p, k): p in N(q, k)}, the k-reciprocal neighbours;
    - R*(p) = R(p, k1) and every R(q, k1/2) of a q in R(p, k1) of which R(p, k1) holds two thirds or more;
    - V_p is `exp(-d(p, q))` at each q of R*(p), 0 elsewhere, divided by its sum;
    - and then the mean of these over N(p, k2 - 1).

    Memory beside the points is about `P x k1 x k2` numbers at most, usually much less: nothing is ever P x P.

    Args:
        points: the P points.
        k1: neighbours, at least 1; all others where there are fewer. k1/2 is rounded down.
        k2: points that the last mean is over, at least 1: the point alone.
        progress: whether to show a progress bar on standard error.

    Returns:
        `[P, P]` float32, sparse.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, equations 1 to 7
    and 11.
    """
    count = len(points)
    own = np.arange(count)
    found = find_neighbours(points, points, min(max(k1, k2 - 1), count - 1), exclude=own, progress=progress)
    lists = np.concatenate([own[:, None], found.rows], axis=1)
    reciprocal, half = _reciprocal(lists, k1), _reciprocal(lists, k1 // 2)
    unit = normalize(points.vectors)
    parts = [
        _weighted(_expanded(reciprocal[start : start + CHUNK], half), unit, start)
        for start in tqdm(range(0, count, CHUNK), desc="reciprocal encodings", disable=not progress)
    ]
    encodings = csr_array(vstack(parts, format="csr"))
    return encodings if k2 == 1 else csr_array(normalize(_members(lists, k2 - 1) @ encodings, norm="l1"))


def shared_weight(encodings: csr_array, by_column: csr_array, rows: np.ndarray) -> np.ndarray:
    """How much weight some points share with all points: `sum over j of min(V_pj, V_qj)`.

    Args:
        encodings: V `[P, P]`.
        by_column: V transposed, in the same format: for each j the points with a weight there.
        rows: `[q]` which points.

    Returns:
        `[q, P]` float64 in `[0, 1]`, but for rounding.
    """
    some = encodings[rows]
    lengths = np.diff(by_column.indptr)[some.indices]
    entry = np.repeat(np.arange(some.nnz), lengths)
    # Where the points of each entry's column are: its first place, and on.
    place = np.arange(len(entry)) + np.repeat(by_column.indptr[some.indices] - (lengths.cumsum() - lengths), lengths)
    smaller = np.minimum(some.data[entry], by_column.data[place])
    asked = np.repeat(np.arange(len(rows)), np.diff(some.indptr))[entry]
    count = encodings.shape[1]
    cells = np.bincount(asked * count + by_column.indices[place], weights=smaller, minlength=len(rows) * count)
    return cells.reshape(len(rows), count)


def _members(lists: np.ndarray, k: int) -> csr_array:
    """`[P, P]` float32: 1 in row p at the points of N(p, k)."""
    columns = lists[:, : k + 1]
    index = get_index_dtype(maxval=columns.size)  # half the memory where 32 bits do
    starts = np.arange(0, columns.size + 1, columns.shape[1], dtype=index)
    members = (np.ones(columns.size, np.float32), columns.ravel().astype(index), starts)
    return csr_array(members, shape=(len(lists), len(lists)))


def _reciprocal(lists: np.ndarray, k: int) -> csr_array:
    """`[P, P]` float32, symmetric: 1 in row p at the points of R(p, k)."""
    members = _members(lists, k)
    return csr_array(members.multiply(members.T.tocsr()))


def _expanded(reciprocal: csr_array, half: csr_array) -> csr_array:
    """Something above 0 in each row p at the points of R*(p), for some rows `[p, P]` of the reciprocal neighbours."""
    accepted = csr_array(reciprocal.multiply(reciprocal @ half))  # |R(p, k1) and R(q, k1/2)| at each q of R(p, k1)
    sizes = np.diff(half.indptr)
    accepted.data = (3 * accepted.data >= 2 * sizes[accepted.indices]).astype(np.float32)
    return csr_array(reciprocal + accepted @ half)


def _weighted(expanded: csr_array, unit: np.ndarray, start: int) -> csr_array:
    """The encodings of the rows from `start`, before the last mean."""
    expanded.eliminate_zeros()
    rows = start + np.repeat(np.arange(expanded.shape[0]), np.diff(expanded.indptr))
    similarities = np.einsum("nd,nd->n", unit[rows], unit[expanded.indices])
    expanded.data = np.exp(similarities - 1)
    return csr_array(normalize(expanded, norm="l1"))
