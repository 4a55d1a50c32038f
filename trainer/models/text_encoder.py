"""The text encoder: texts to points on the unit sphere where a picture model puts its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.config import WordsConfig
from trainer.errors import InputError
from trainer.models.clip_preset import load_clip_preset
from trainer.models.tokenizer import load_tokenizer, tokenize_texts

if TYPE_CHECKING:
    from keras_hub.models import CLIPTextEncoder
    from keras_hub.tokenizers import CLIPTokenizer

__all__ = ["LARGEST_LOGIT_SCALE", "TextEncoder", "build_text_encoder", "load_text_encoder"]

LARGEST_LOGIT_SCALE = math.log(100.0)
"""`logit_scale` counts as no more than this, as in CLIP, whose training was unstable above."""

_SIGMOID_BIAS = -10.0
"""Of the sigmoid loss at first: nearly all pairs of a batch are false. As SigLIP."""


@keras.saving.register_keras_serializable("shoppin")
class TextEncoder(keras.Model):
    """CLIP's text encoder with its tokenizer; both are saved in one `.keras` file.

    Tokens pass through a causal transformer; what it makes of the end token is projected and brought to unit length.
    So what comes after the end token does not count, and texts may be cut to the longest of a batch.

    Args:
        tower: of keras-hub, tokens to states.
        tokenizer: of keras-hub. The numbers of its start and end are its highest.
        embedding_dim: D.
        length: L, tokens of a text that are read, the start and the end among them.
        dropout: share of the tokens whose embeddings are left out in training. Default 0.
        temperature: that learning starts with. Default 0.07, as CLIP.
        bias: of the logits when learning starts; `None`, the default, for 0 that is not trained, which a softmax wants.
        **kwargs: of `keras.Model`.

    Attributes:
        logit_scale: scalar float32, natural logarithm of what cosines are multiplied by; at most `LARGEST_LOGIT_SCALE`
            where it is used.
        logit_bias: scalar float32, added after that by a sigmoid loss.

    Call arguments:
        token_ids: int32 `[B, l]`, l from 2 to L, as `tokenize` makes them.

    Returns:
        float32 `[B, D]` of unit length, whatever the precision policy.

    Paper: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    https://arxiv.org/abs/2103.00020
    """

    def __init__(
        self,
        tower: CLIPTextEncoder,
        tokenizer: CLIPTokenizer,
        embedding_dim: int,
        length: int,
        dropout: float = 0.0,
        temperature: float = 0.07,
        bias: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tower = tower
        self.tokenizer = tokenizer
        self.embedding_dim = embedding_dim
        self.length = length
        self._start = {"dropout": dropout, "temperature": temperature, "bias": bias}
        # One number a token: a text is to be understood without any of its words.
        self.dropout = keras.layers.Dropout(dropout, noise_shape=(None, None, 1), name="dropout")
        self.projection = keras.layers.Dense(embedding_dim, use_bias=False, dtype="float32", name="projection")
        self.unit = keras.layers.UnitNormalization(dtype="float32", name="unit")
        self.projection.build((None, tower.hidden_dim))
        constant = keras.initializers.Constant
        self.logit_scale = self.add_weight(
            name="logit_scale", shape=(), dtype="float32", initializer=constant(-math.log(temperature))
        )
        self.logit_bias = self.add_weight(
            name="logit_bias", shape=(), dtype="float32", initializer=constant(bias or 0.0), trainable=bias is not None
        )
        self.built = True

    def call(self, token_ids: Any, training: bool | None = None) -> Any:
        states = self.dropout(self.tower.embedding(token_ids), training=training)
        for block in self.tower.encoder_layers:
            states = block(states, training=training)
        end = keras.ops.argmax(token_ids, axis=-1)[:, None, None]
        state = keras.ops.take_along_axis(self.tower.layer_norm(states), end, axis=1)[:, 0]
        return self.unit(self.projection(state))

    def tokenize(self, texts: Sequence[str]) -> np.ndarray:
        """Token numbers int32 `[N, length]` of texts, normalised first; see `tokenize_texts`."""
        return tokenize_texts(self.tokenizer, texts, self.length)

    def encode(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Embeddings float32 `[N, D]` of texts, so many at a time."""
        tokens = self.tokenize(texts)
        found = np.empty((len(tokens), self.embedding_dim), np.float32)
        for start in range(0, len(tokens), batch_size):
            batch = tokens[start : start + batch_size]
            longest = int(batch.argmax(axis=1).max()) + 1
            found[start : start + batch_size] = keras.ops.convert_to_numpy(self(batch[:, :longest], training=False))
        return found

    @property
    def temperature(self) -> float:
        """The one learned so far."""
        return math.exp(-min(float(keras.ops.convert_to_numpy(self.logit_scale)), LARGEST_LOGIT_SCALE))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tower": keras.saving.serialize_keras_object(self.tower),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "embedding_dim": self.embedding_dim,
            "length": self.length,
            **self._start,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TextEncoder:
        import keras_hub  # noqa: F401  (registers the classes of the tower and the tokenizer)

        pieces = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("tower", "tokenizer")}
        return cls(**{**config, **pieces})


def build_text_encoder(config: WordsConfig, embedding_dim: int, tokenizer: CLIPTokenizer | None = None) -> TextEncoder:
    """A text encoder as configured: from scratch, or the text tower of a CLIP preset.

    Args:
        config: see `WordsConfig`.
        embedding_dim: width D of the picture model's embedding.
        tokenizer: of one from scratch; a preset brings its own.

    Raises:
        InputError: the preset cannot be had, or does not fit.
    """
    bias = _SIGMOID_BIAS if config.loss == "sigmoid" else None
    encoder = config.encoder
    if encoder.preset is not None:
        return _from_preset(encoder.preset, embedding_dim, encoder.length, bias)
    if tokenizer is None:
        raise ValueError("expected a tokenizer for a text encoder without a preset; received None")
    from keras_hub.models import CLIPTextEncoder

    tower = CLIPTextEncoder(
        vocabulary_size=tokenizer.vocabulary_size(),
        embedding_dim=encoder.width,
        hidden_dim=encoder.width,
        num_layers=encoder.layers,
        num_heads=encoder.heads,
        intermediate_dim=4 * encoder.width,
        max_sequence_length=encoder.length,
        name="tower",
    )
    return TextEncoder(
        tower, tokenizer, embedding_dim, encoder.length, encoder.dropout, config.temperature, bias, name="words"
    )


def _from_preset(preset: str, embedding_dim: int, length: int, bias: float | None) -> TextEncoder:
    from keras_hub.models import CLIPBackbone

    key = "words.encoder.preset"
    clip = load_clip_preset(CLIPBackbone, preset, key)
    tower = clip.text_encoder
    if clip.projection_dim != embedding_dim:
        raise InputError(
            f"{key}: expected embeddings as wide as the picture model's, {embedding_dim}; {preset!r} makes "
            f"{clip.projection_dim}"
        )
    if length > tower.max_sequence_length:
        raise InputError(
            f"words.encoder.length: expected at most {tower.max_sequence_length}, the tokens that {preset!r} reads; "
            f"received {length}"
        )
    encoder = TextEncoder(tower, load_tokenizer(preset, key), embedding_dim, length, bias=bias, name="words")
    encoder.projection.set_weights(clip.text_projection.get_weights())
    encoder.logit_scale.assign(clip.clip_head.logit_scale)
    return encoder


def load_text_encoder(path: str | Path) -> TextEncoder:
    """Loads what training left, `RUN/checkpoints/<model>/words.keras`, in Keras's safe mode.

    Raises:
        InputError: there is no such file, or it holds no text encoder.
    """
    if not Path(path).is_file():
        raise InputError(f"expected a text encoder at {path}; there is none. Configure words, and run train")
    try:
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and zipfile each have their own classes
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected a text encoder of this project, it cannot be loaded ({reason})") from error
    if not isinstance(loaded, TextEncoder):
        raise InputError(f"{path}: expected a text encoder, it holds a {type(loaded).__name__}")
    return loaded
