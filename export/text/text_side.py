"""The exported text encoder: texts to embeddings in one graph, the tokenizer within."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from export.text.graph_tokenizer import GraphTokenizer
from trainer.models.text_encoder import TextEncoder

__all__ = ["TextSide", "text_fingerprint"]


class TextSide(tf.Module):
    """A trained text encoder as part of an exported model.

    Args:
        encoder: the trained one; its weights are shared.

    Attributes:
        embedding_dim: D.
        fingerprint: see `text_fingerprint`.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__(name="words")
        self.embedding_dim = encoder.embedding_dim
        self.fingerprint = text_fingerprint(encoder)
        self.tokenizer = GraphTokenizer(encoder.tokenizer, encoder.length)
        # Not the Keras model itself, which would be saved with all that it is beside its weights.
        self.weights = [weight.value for weight in _weights(encoder)]
        self._encode = lambda token_ids: encoder(token_ids, training=False)
        self._vocabulary_size = int(encoder.tokenizer.vocabulary_size())

    @property
    def manifest(self) -> dict[str, Any]:
        """How texts are read, for `Manifest.words`."""
        return {
            "tokenizer": "byte-pair",
            "ops": "stock",
            "length": self.tokenizer.length,
            "vocabulary_size": self._vocabulary_size,
            "normalisation": ["nfc (client)", "white space", "lower case"],
            "fingerprint": self.fingerprint,
        }

    def embed(self, text: tf.Tensor) -> tf.Tensor:
        """String `[B]`, UTF-8 in normalisation form C, to float32 `[B, D]` of unit length; within a `tf.function`."""
        tokens = self.tokenizer(text)
        # The end token has the highest number; what comes behind the last one of the batch is padding.
        longest = tf.reduce_max(tf.argmax(tokens, axis=1)) + 1
        return self._encode(tokens[:, :longest])


def text_fingerprint(encoder: TextEncoder) -> str:
    """SHA-256 of what makes an embedding of a text: tokenizer, layers and weights.

    Returns:
        64 hexadecimal digits.
    """
    tokenizer, tower = encoder.tokenizer, encoder.tower.get_config()
    layers = {name: value for name, value in tower.items() if name not in ("name", "trainable", "dtype")}
    vocabulary = [sorted(tokenizer.vocabulary.items()), list(tokenizer.merges), encoder.length]
    digest = hashlib.sha256(json.dumps([vocabulary, layers], sort_keys=True, default=str).encode())
    for weight in _weights(encoder):
        values = np.ascontiguousarray(weight.numpy())
        digest.update(f"{values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _weights(encoder: TextEncoder) -> list[keras.Variable]:
    return [*encoder.tower.weights, *encoder.projection.weights]
