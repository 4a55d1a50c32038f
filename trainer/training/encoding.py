"""Embeddings and predictions of items by a finished model, through the feature caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT, attribute_columns
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable
from trainer.training.checkpoint import HEAD_FILE, MODEL_FILE, load_model, read_record
from trainer.training.features import PLAIN, FeatureRows, extraction_environment
from trainer.training.run_context import RunContext

__all__ = ["CONFIDENCE", "PREDICTED_LABEL", "embedding_table"]

PREDICTED_LABEL = "predicted_label"
CONFIDENCE = "confidence"
_CHUNK = 1024


@dataclass(frozen=True)
class _Encoded:
    embeddings: np.ndarray
    probabilities: np.ndarray


def embedding_table(run: RunContext, name: str, view: str = PLAIN) -> EmbeddingTable:
    """All items of a run as its finished model sees them.

    Args:
        run: see `RunContext`.
        name: of the model; `checkpoints/<name>/best.keras` is loaded.
        view: of the pictures: `plain`, or `mirrored` for all of them flipped left to right.

    Returns:
        A table of all items with their embeddings `[N, D]`, and as attributes the label, the split, the predicted
        label, its probability (`confidence`), the picture's path, and the source's attributes.

    Raises:
        InputError: there is no such checkpoint, or it was trained on other labels.
    """
    path = run.checkpoints(name) / MODEL_FILE
    if read_record(path).get("labels") != list(run.labels):
        raise InputError(f"{path} was trained on other labels than the items have now; run train again")
    encoded = _encode(*(_from_cache(run, name, view) or _from_pictures(run, name, view)))
    best = encoded.probabilities.argmax(axis=1)
    items = run.items
    attributes = {column: items[column].to_numpy() for column in (LABEL, SPLIT, IMAGE_PATH, *attribute_columns(items))}
    attributes[PREDICTED_LABEL] = np.asarray(run.labels)[best]
    attributes[CONFIDENCE] = encoded.probabilities[np.arange(len(best)), best]
    return EmbeddingTable(items[ID].to_numpy(), encoded.embeddings, attributes)


_Ready = tuple[keras.Model, Mapping[str, FeatureRows]]


def _from_cache(run: RunContext, name: str, view: str) -> _Ready | None:
    """The head alone and the features it needs, where the model is as it was and all of them are on disk."""
    folder = run.checkpoints(name)
    if not (folder / HEAD_FILE).is_file():
        return None
    whole, record = read_record(folder / MODEL_FILE), read_record(folder / HEAD_FILE)
    same = all(record.get(fact) == whole.get(fact) for fact in ("progress", "extraction", "backbones"))
    if not same or record.get("extraction") != extraction_environment():
        return None
    with run.strategy.scope():
        head = load_model(folder / HEAD_FILE)
    widths = {part: int(tensor.shape[-1]) for part, tensor in head.input.items()}
    features = run.features.cached(record["backbones"], widths, run.items, view)
    return None if features is None else (head, features)


def _from_pictures(run: RunContext, name: str, view: str) -> _Ready:
    with run.strategy.scope():
        model = load_model(run.checkpoints(name) / MODEL_FILE)
    head = model.get_layer("head")
    return head, run.features.features({part: model.get_layer(part) for part in head.input}, run.items, view)


def _encode(head: keras.Model, features: Mapping[str, FeatureRows]) -> _Encoded:
    forward = tf.function(lambda inputs: head(inputs, training=False), reduce_retracing=True)
    embeddings, probabilities = [], []
    for start in range(0, min(len(rows.rows) for rows in features.values()), _CHUNK):
        places = slice(start, start + _CHUNK)
        answer = forward({part: tf.constant(rows.read(places)) for part, rows in features.items()})
        embeddings.append(answer["embedding"].numpy())
        probabilities.append(tf.nn.softmax(answer["logits"]).numpy())
    return _Encoded(np.concatenate(embeddings), np.concatenate(probabilities))
