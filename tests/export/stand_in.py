"""A small lookup, saved with all that lies beside it, for tests of what is beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.config import BatchingConfig
from export.evaluation import EvaluationQueries, write_evaluation
from export.golden import GoldenQuery, write_golden
from export.manifest import write_manifest
from export.model_config import write_batching
from export.table_rows import TableRows
from export.warmup import write_warmup
from serving.contract import Manifest
from trainer.retrieval import EmbeddingTable, retrieval_metrics

COUNT, DIMENSION, TOP_K = 40, 8, 12
BATCHING = BatchingConfig(allowed_batch_sizes=(1, 3))


def catalogue(seed: int = 0) -> EmbeddingTable:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(COUNT, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.array([f"item-{row}" for row in range(COUNT)])
    labels = np.array(["shirt", "shoe", "watch"])[np.abs(vectors[:, 0] * 6).astype(int) % 3]
    split = np.array(["test", "train"])[np.arange(COUNT) % 2]
    return EmbeddingTable(ids, vectors, {"label": labels, "split": split})


class StandInLookup(tf.Module):
    """Exact search with a filter by split. `spoil` changes how it answers, to be found out."""

    def __init__(self, table: EmbeddingTable, spoil: str = "") -> None:
        super().__init__()
        self.vectors, self.spoil = tf.Variable(table.vectors), spoil
        self.texts = {"ids": table.ids, **table.attributes}
        self.columns = {name: tf.Variable(values.tolist(), name=name) for name, values in self.texts.items()}

    def answer(self, embedding: tf.Tensor, admitted: tf.Tensor | None) -> dict[str, tf.Tensor]:
        scores = tf.matmul(embedding, self.vectors, transpose_b=True)
        if admitted is not None:
            scores = tf.where(admitted, scores, -np.inf)
        if self.spoil == "order":
            scores *= tf.where(tf.range(COUNT) % 5 == 0, 0.9, 1.0)
        best, rows = tf.math.top_k(scores, TOP_K)
        found = tf.math.is_finite(best)
        texts = {name: tf.where(found, tf.gather(values, rows), "") for name, values in self.columns.items()}
        size = [2] if self.spoil == "rank" else tf.shape(best)[:1]
        return {"scores": best, "fingerprint": tf.fill(size, "abc"), **texts}

    def signatures(self) -> dict[str, Any]:
        embedding = tf.TensorSpec([None, DIMENSION], tf.float32, name="embedding")

        @tf.function(input_signature=[embedding])
        def lookup(embedding: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(embedding, None)

        @tf.function(input_signature=[embedding, tf.TensorSpec([None], tf.string, name="split")])
        def lookup_filtered(embedding: tf.Tensor, split: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(embedding, (split[:, None] == "") | (split[:, None] == self.columns["split"]))

        self.kept = [lookup, lookup_filtered]
        plain = lookup.get_concrete_function()
        return {
            "serving_default": plain,
            "lookup": plain,
            "lookup_filtered": lookup_filtered.get_concrete_function(),
        }


def write_version(folder: Path, spoil: str = "", **changes: Any) -> Manifest:
    """Writes a version that is whole; `spoil` names how its graph answers otherwise than what lies beside it says."""
    table = catalogue()
    right = StandInLookup(table).signatures()
    module = StandInLookup(table, spoil)
    tf.saved_model.save(module, str(folder), signatures=module.signatures())
    return write_beside(folder, table, right, **changes)


def write_beside(folder: Path, table: EmbeddingTable, signatures: Mapping[str, Any], **changes: Any) -> Manifest:
    tests = table.select(table.attributes["split"] == "test")
    named = {name: function for name, function in signatures.items() if name != "serving_default"}
    golden = [GoldenQuery(tests.ids[row], b"", ".jpg", {"split": "test"}, tests.vectors[row]) for row in range(3)]
    write_golden(folder, named, golden)
    rows = TableRows.from_arrays(table.ids, table.vectors, table.attributes)
    metrics = retrieval_metrics(tests, tests, (1, 5, 10), same_table=True)
    write_evaluation(folder, EvaluationQueries(tests, whole=True), rows, TOP_K, metrics)
    write_warmup(folder, "fused_lookup", signatures, BATCHING.allowed_batch_sizes)
    write_batching(folder, BATCHING, "fused")
    facts = {
        "kind": "lookup",
        "name": "fused",
        "created": "2026-01-01T00:00:00+00:00",
        "libraries": {"tensorflow": tf.__version__},
        "target": "cpu",
        "signatures": tuple(named),
        "embedding_dim": DIMENSION,
        "precision": "float32",
        "fingerprint": "abc",
        "table_fingerprint": "def",
        "item_count": COUNT,
        "top_k": TOP_K,
        "index": {"type": "exact", "dtype": "float32", "min_recall": 0.9},
        "attributes": ("label", "split"),
        "filterable": ("split",),
    }
    return write_manifest(folder, Manifest(**(facts | changes)))
