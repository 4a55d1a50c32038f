"""Embeddings and predictions of items by a finished model, through the feature caches."""

from __future__ import annotations

from dataclasses import dataclass

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT, attribute_columns
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable
from trainer.training.checkpoint import load_model, read_record
from trainer.training.run_context import RunContext

__all__ = ["CONFIDENCE", "PREDICTED_LABEL", "embedding_table"]

PREDICTED_LABEL = "predicted_label"
CONFIDENCE = "confidence"
_CHUNK = 1024


@dataclass(frozen=True)
class _Encoded:
    embeddings: np.ndarray
    probabilities: np.ndarray


def embedding_table(run: RunContext, name: str) -> EmbeddingTable:
    """All items of a run as its finished model sees them.

    Args:
        run: see `RunContext`.
        name: of the model; `checkpoints/<name>/best.keras` is loaded.

    Returns:
        A table of all items with their embeddings `[N, D]`, and as attributes the label, the split, the predicted
        label, its probability (`confidence`), the picture's path, and the source's attributes.

    Raises:
        InputError: there is no such checkpoint, or it was trained on other labels.
    """
    path = run.checkpoints(name) / "best.keras"
    labels = read_record(path).get("labels")
    if labels != list(run.labels):
        raise InputError(f"{path} was trained on other labels than the items have now; run train again")
    with run.strategy.scope():
        model = load_model(path)
    encoded = _encode(run, model, run.items)
    best = encoded.probabilities.argmax(axis=1)
    items = run.items
    attributes = {column: items[column].to_numpy() for column in (LABEL, SPLIT, IMAGE_PATH, *attribute_columns(items))}
    attributes[PREDICTED_LABEL] = np.asarray(run.labels)[best]
    attributes[CONFIDENCE] = encoded.probabilities[np.arange(len(best)), best]
    return EmbeddingTable(items[ID].to_numpy(), encoded.embeddings, attributes)


def _encode(run: RunContext, model: keras.Model, items: pd.DataFrame) -> _Encoded:
    head = model.get_layer("head")
    parts = {part: model.get_layer(part) for part in head.input}
    features = run.features.features(parts, items)
    forward = tf.function(lambda inputs: head(inputs, training=False), reduce_retracing=True)
    embeddings, probabilities = [], []
    for start in range(0, len(items), _CHUNK):
        places = slice(start, start + _CHUNK)
        answer = forward({part: tf.constant(rows.read(places)) for part, rows in features.items()})
        embeddings.append(answer["embedding"].numpy())
        probabilities.append(tf.nn.softmax(answer["logits"]).numpy())
    return _Encoded(np.concatenate(embeddings), np.concatenate(probabilities))
