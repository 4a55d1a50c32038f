"""What is peculiar to the inverted file."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf

from export.index.clusters import needed_probes
from export.index.ivf import IvfIndex
from export.table_rows import TableRows
from trainer.errors import InputError


def clustered(count: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(0, 40, count)] + 0.6 * random.standard_normal((count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(vectors: np.ndarray, lists: int | None = None, nprobe: int | None = None, recall: float = 0.95) -> IvfIndex:
    index = IvfIndex(lists, nprobe, recall=recall, seed=3)
    index.index(TableRows.from_arrays(np.arange(len(vectors)).astype(str), vectors, {}))
    return index


def ask(index: IvfIndex, queries: np.ndarray, k: int, admitted: np.ndarray | None = None) -> np.ndarray:
    return tf.function(lambda asked, mask: index(asked, k, mask)[1])(tf.constant(queries), admitted).numpy()


def test_reaches_the_recall_it_aims_at_with_few_lists() -> None:
    vectors, queries = clustered(4000, seed=1), clustered(200, seed=2)
    index = filled(vectors)
    assert index.lists == 63
    assert index.nprobe is not None and 1 <= index.nprobe <= 20
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found = ask(index, queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)])
    assert recall >= 0.93
    low = filled(vectors, recall=0.5)
    assert low.nprobe is not None and low.nprobe < index.nprobe


def test_one_query_and_several_through_one_graph() -> None:
    vectors, queries = clustered(4000, seed=1), clustered(64, seed=2)
    index = filled(vectors, lists=20, nprobe=6)
    graph = tf.function(lambda asked: index(asked, 10), input_signature=[tf.TensorSpec((None, 32), tf.float32)])
    together = [answer.numpy() for answer in graph(tf.constant(queries))]
    alone = [np.concatenate(answers) for answers in zip(*(graph(query[None]) for query in queries), strict=True)]
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    np.testing.assert_array_equal(alone[1], together[1])


def test_the_same_rows_give_the_same_index() -> None:
    first, second = (filled(clustered(500, seed=1), lists=9) for _ in range(2))
    assert first.nprobe == second.nprobe
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.centroids, second.centroids)


def test_as_many_answers_as_rows_match_though_the_lists_hold_fewer() -> None:
    vectors, queries = clustered(600, seed=1), clustered(3, seed=2)
    index = filled(vectors, lists=30, nprobe=1)
    groups = np.zeros(600, np.int32)
    groups[::100] = 1
    index.set_groups(groups)
    found = ask(index, queries, 8, np.array([[False, True]] * 3))
    assert np.sort(found, axis=1).tolist() == [[-1, -1, 0, 100, 200, 300, 400, 500]] * 3
    many = ask(index, queries, 500)
    assert (many >= 0).all() and all(len(set(row)) == 500 for row in many)


def test_reading_does_not_copy_the_table() -> None:
    index = filled(clustered(300, seed=1), lists=4, nprobe=2)
    read = [tf.raw_ops.ReadVariableOp(resource=index.vectors.handle, dtype=tf.float32) for _ in range(2)]
    first, second = (np.asarray(memoryview(value)) for value in read)
    assert np.shares_memory(first, second)


def test_more_lists_than_rows() -> None:
    with pytest.raises(InputError, match="at most one for each of 5 rows, received 6"):
        filled(clustered(5, seed=1), lists=6)


def test_lists_to_look_into() -> None:
    centroids = np.eye(4, dtype=np.float32)
    queries = np.array([[0.9, 0.4, 0.2, 0.1]], np.float32)
    assert needed_probes(queries, np.array([[0, 0, 0, 2]]), centroids, 0.75) == 1
    assert needed_probes(queries, np.array([[0, 0, 0, 2]]), centroids, 0.76) == 3
    assert needed_probes(queries, np.array([[0, 3, -1, -1]]), centroids, 1.0) == 4
    assert needed_probes(queries, np.array([[-1]]), centroids, 1.0) == 1
