"""The exported encoder: pictures to embeddings and labels, and texts to embeddings, as signatures of a SavedModel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from export.optimise.network import Network, optimise
from export.optimise.precision import Precision, Target, choose_precision
from export.pictures import MAX_PIXELS, decode_pictures, preprocessing
from export.text.text_side import TextSide
from serving.contract import (
    CLASSIFY_IMAGES,
    EMBED_IMAGES,
    EMBED_PIXELS,
    EMBED_TEXTS,
    EMBEDDING,
    FINGERPRINT,
    IMAGE_BYTES,
    LABELS,
    PIXELS,
    SCORES,
    SERVING_DEFAULT,
    TEXT,
)
from trainer.errors import InputError

__all__ = ["Encoder", "model_fingerprint"]

_LOGITS = "logits"
_TOP_LABELS = 10


class Encoder(tf.Module):
    """An optimised model with decoding before it; `tf.saved_model.save(encoder, path, encoder.signatures())` saves it.

    Signatures, each with the fingerprint (string `[B]`) among its outputs:
        `embed_images`, also `serving_default`: `image_bytes` string `[B]` to `embedding` float32 `[B, D]`.
        `embed_pixels`: `pixels` uint8 `[B, H, W, 3]` to `embedding`; nothing but arithmetic, so it compiles for TPUs.
        `classify_images`: `image_bytes` to `labels` string `[B, k]`, the likeliest first, and `scores` float32
        `[B, k]`, their probabilities.
        `embed_texts`, where the model has learnt words: `text` string `[B]` to `embedding`, in the pictures' space and
        hence with the pictures' fingerprint.

    Args:
        network: answers `embedding` and `logits`.
        image_size: height and width of its pictures.
        embedding_dim: D.
        labels: name of each logit.
        precision: of its arithmetic.
        fingerprint: see `model_fingerprint`.
        top_labels: k; fewer where there are fewer labels.
        max_pixels: see `decode_pictures`.
        words: what reads texts; None where nothing does.

    Raises:
        InputError: texts have embeddings of another width.
    """

    def __init__(
        self,
        network: Network,
        image_size: int,
        embedding_dim: int,
        labels: Sequence[str],
        *,
        precision: Precision,
        fingerprint: str,
        top_labels: int = _TOP_LABELS,
        max_pixels: int = MAX_PIXELS,
        words: TextSide | None = None,
    ) -> None:
        super().__init__(name="encoder")
        if words is not None and words.embedding_dim != embedding_dim:
            raise InputError(
                f"expected texts to have embeddings as wide as the pictures', {embedding_dim}, received "
                f"{words.embedding_dim}; run train again"
            )
        self.words = words
        self.network = network
        self.image_size, self.embedding_dim = image_size, embedding_dim
        self.precision: Precision = precision
        self.fingerprint = fingerprint
        self.top_labels = min(top_labels, len(labels))
        self.max_pixels = max_pixels
        self._labels = tuple(str(label) for label in labels)
        self._signatures: dict[str, Any] = {}

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        labels: Sequence[str],
        *,
        precision: str = "float32",
        target: Target = "cpu",
        top_labels: int = _TOP_LABELS,
        max_pixels: int = MAX_PIXELS,
        words: TextSide | None = None,
    ) -> Encoder:
        """Optimises a trained model.

        Args:
            model: from uint8 `[B, S, S, 3]` to `embedding` `[B, D]` and `logits` `[B, C]`.
            labels: C names.
            precision: `float32`, `bfloat16` or `auto`; see `choose_precision`.
            target: kind of device that will serve.
            top_labels: how many labels `classify_images` answers at most.
            max_pixels: of a picture before it is refused.
            words: what reads texts, learnt for this model.

        Raises:
            InputError: the model does not answer so, there are more or fewer labels than logits, or texts have
                embeddings of another width.
        """
        size, dimension = _sizes(model, labels)
        chosen = choose_precision(precision, target)
        return cls(
            optimise(model, chosen),
            size,
            dimension,
            labels,
            precision=chosen,
            fingerprint=model_fingerprint(model),
            top_labels=top_labels,
            max_pixels=max_pixels,
            words=words,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self._labels

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How bytes become pixels, for the manifest."""
        return preprocessing(self.image_size, self.max_pixels)

    @property
    def reads_words(self) -> bool:
        """Whether texts can be embedded."""
        return self.words is not None

    @property
    def words_facts(self) -> dict[str, Any]:
        """How texts are read, for the manifest; empty where they are not."""
        return self.words.manifest if self.words is not None else {}

    def embed(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """String `[B]`, bytes of picture files, to float32 `[B, D]` of unit length; also within a graph."""
        return self.signatures()[EMBED_IMAGES](image_bytes=image_bytes)[EMBEDDING]

    def embed_texts(self, text: tf.Tensor) -> tf.Tensor:
        """String `[B]` to float32 `[B, D]` of unit length, where the encoder reads words; also within a graph."""
        return self.signatures()[EMBED_TEXTS](text=text)[EMBEDDING]

    def encode(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """uint8 `[B, S, S, 3]` to `embedding` float32 `[B, D]` of unit length and `logits` float32 `[B, C]`."""
        return self.network(tf.ensure_shape(pixels, (None, self.image_size, self.image_size, 3)))

    def decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """String `[B]` to uint8 `[B, S, S, 3]`; see `decode_pictures`."""
        return decode_pictures(image_bytes, self.image_size, self.max_pixels)

    def marked(self, answer: Mapping[str, tf.Tensor], like: tf.Tensor) -> dict[str, tf.Tensor]:
        """An answer with the fingerprint beside it, for as many queries as `like` has rows."""
        return {**answer, FINGERPRINT: tf.fill(tf.shape(like)[:1], self.fingerprint)}

    def signatures(self) -> dict[str, Any]:
        """Name to concrete function; traced once. A TPU's compiler takes `embed_pixels` alone, since the others begin
        with strings: they run on the host."""
        if not self._signatures:
            image_bytes = tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)
            pixels = tf.TensorSpec((None, self.image_size, self.image_size, 3), tf.uint8, name=PIXELS)
            embed_images = tf.function(self._embed_images, input_signature=[image_bytes]).get_concrete_function()
            embed_pixels = tf.function(self._embed_pixels, input_signature=[pixels]).get_concrete_function()
            classify = tf.function(self._classify, input_signature=[image_bytes]).get_concrete_function()
            self._signatures = {
                SERVING_DEFAULT: embed_images,
                EMBED_IMAGES: embed_images,
                EMBED_PIXELS: embed_pixels,
                CLASSIFY_IMAGES: classify,
            }
            if (words := self.words) is not None:
                text = tf.TensorSpec((None,), tf.string, name=TEXT)
                embed_texts = tf.function(lambda text: self.marked({EMBEDDING: words.embed(text)}, text))
                self._signatures[EMBED_TEXTS] = embed_texts.get_concrete_function(text=text)
        return dict(self._signatures)

    def _embed_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._embed_pixels(self.decode(image_bytes))

    def _embed_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        embedding = self.encode(pixels)[EMBEDDING]
        return self.marked({EMBEDDING: embedding}, embedding)

    def _classify(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self.encode(self.decode(image_bytes))[_LOGITS])
        scores, classes = tf.math.top_k(probabilities, self.top_labels)
        return self.marked({LABELS: tf.gather(tf.constant(self._labels), classes), SCORES: scores}, scores)


def model_fingerprint(model: keras.Model) -> str:
    """SHA-256 of what makes an embedding: the model's weights and layers, and how bytes become its pixels.

    Where the model lies, what a hub module's folder is called, and the precision that is served are no part of it: a
    table embedded in float32 may be asked by an encoder in bfloat16, whose drift was found small enough.

    Args:
        model: the trained model, with the names of its layers.

    Returns:
        64 hexadecimal digits.
    """
    size = int(model.input_shape[1])
    digest = hashlib.sha256(json.dumps(preprocessing(size, 0), sort_keys=True).encode())
    layers = [_layer_settings(layer) for layer in model._flatten_layers(include_self=False)]
    digest.update(json.dumps(layers, sort_keys=True, default=str).encode())
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        digest.update(f"{values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _layer_settings(layer: keras.layers.Layer) -> dict[str, Any]:
    if isinstance(layer, keras.Model):
        return {"model": layer.name}
    ignored = ("handle", "trainable", "dtype", "build_config")
    settings = {name: value for name, value in layer.get_config().items() if name not in ignored}
    return {"layer": type(layer).__name__, **settings, "graph": getattr(layer, "graph_digest", None)}


def _sizes(model: keras.Model, labels: Sequence[str]) -> tuple[int, int]:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 3:
        raise InputError(f"expected a model of square pictures [B, S, S, 3], received one of {shape}; export another")
    answer = model.compute_output_spec(keras.KerasTensor(shape, dtype="uint8"))
    if not isinstance(answer, dict) or not {EMBEDDING, _LOGITS} <= answer.keys():
        received = sorted(answer) if isinstance(answer, dict) else type(answer).__name__
        raise InputError(f"expected a model that answers {EMBEDDING} and {_LOGITS}, received one of {received}")
    classes = answer[_LOGITS].shape[-1]
    if classes != len(labels) or not labels:
        raise InputError(
            f"expected one label for each of the model's {classes} logits, received {len(labels)}; "
            "give the labels it was trained on"
        )
    return int(shape[1]), int(answer[EMBEDDING].shape[-1])
