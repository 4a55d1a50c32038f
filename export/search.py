"""The exported search: pictures, texts, or both, to catalogue items in one graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.lookup import Lookup
from serving.contract import (
    IMAGE_BYTES,
    LOOKUP,
    LOOKUP_FILTERED,
    NO_MATCH_THRESHOLD,
    SEARCH_IMAGES,
    SEARCH_IMAGES_AND_TEXTS,
    SEARCH_IMAGES_AND_TEXTS_FILTERED,
    SEARCH_IMAGES_FILTERED,
    SEARCH_TEXTS,
    SEARCH_TEXTS_FILTERED,
    SERVING_DEFAULT,
    TEXT,
    WEIGHT,
)
from trainer.errors import InputError

__all__ = ["QueryEncoder", "Search"]

_FILTERED = {
    SEARCH_IMAGES: SEARCH_IMAGES_FILTERED,
    SEARCH_TEXTS: SEARCH_TEXTS_FILTERED,
    SEARCH_IMAGES_AND_TEXTS: SEARCH_IMAGES_AND_TEXTS_FILTERED,
}
_DTYPES = {IMAGE_BYTES: tf.string, TEXT: tf.string, WEIGHT: tf.float32}


class QueryEncoder(Protocol):
    """What a search needs of an encoder. It is a `tf.Module`, so that its variables are saved."""

    @property
    def embedding_dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def reads_words(self) -> bool: ...

    def embed(self, image_bytes: tf.Tensor) -> tf.Tensor: ...

    def embed_texts(self, text: tf.Tensor) -> tf.Tensor: ...


class Search(tf.Module):
    """An encoder and a lookup as one model.

    Signatures, answering what the lookup's answer (ids, scores, attributes and both fingerprints):
        `search_images`, also `serving_default`: `image_bytes` string `[B]`.
        `search_texts`, where the encoder reads words: `text` string `[B]`.
        `search_images_and_texts`, likewise: both, and `weight` float32 `[B]`; asked with is their sum, the text's part
        being `weight`, the picture's the rest. A weight beyond 0 and 1 counts as the nearer of them, one that is no
        number as a half; where the text is empty the picture is asked with alone.
        `…_filtered` of each, where there is a filterable attribute: beside its inputs a string `[B]` for each, as in
        `Lookup.lookup_filtered`.

    Args:
        encoder: made by `Encoder.from_model`, or exported before.
        lookup: over vectors that this encoder, or the model it was made of, has embedded.

    Raises:
        InputError: the two do not fit.
    """

    def __init__(self, encoder: QueryEncoder, lookup: Lookup) -> None:
        super().__init__(name="search")
        if encoder.embedding_dim != lookup.dimension:
            raise InputError(
                f"expected a table of the encoder's {encoder.embedding_dim} dimensions, received one of "
                f"{lookup.dimension}; embed the catalogue with this encoder"
            )
        if encoder.fingerprint != lookup.fingerprint:
            raise InputError(
                f"expected a table embedded by the encoder {encoder.fingerprint[:12]}…, received one by "
                f"{lookup.fingerprint[:12]}…; embed the catalogue with this encoder"
            )
        self.encoder, self.lookup = encoder, lookup
        self._signatures: dict[str, Any] = {}

    def signatures(self) -> dict[str, Any]:
        """Name to concrete function; traced once."""
        if not self._signatures:
            found = self._searches(SEARCH_IMAGES, self.encoder.embed, (IMAGE_BYTES,))
            if self.encoder.reads_words:
                found |= self._searches(SEARCH_TEXTS, self.encoder.embed_texts, (TEXT,))
                found |= self._searches(SEARCH_IMAGES_AND_TEXTS, self._embed_both, (IMAGE_BYTES, TEXT, WEIGHT))
            self._signatures = {SERVING_DEFAULT: found[SEARCH_IMAGES], **found}
        return dict(self._signatures)

    def _searches(self, name: str, embed: Callable[..., tf.Tensor], arguments: tuple[str, ...]) -> dict[str, Any]:
        """A signature and, where there is a filterable attribute, the filtered one beside it."""

        # What encoder and lookup do is in the graph once, called by however many signatures.
        lookups = self.lookup.signatures()

        def search(**given: tf.Tensor) -> dict[str, tf.Tensor]:
            return judged(lookups[LOOKUP](embedding=embed(**given)))

        def search_filtered(**given: tf.Tensor) -> dict[str, tf.Tensor]:
            query = embed(**{argument: given.pop(argument) for argument in arguments})
            return judged(lookups[LOOKUP_FILTERED](embedding=query, **given))

        def judged(answer: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            """The threshold was found with pictures alone, and speaks of no others."""
            return {key: value for key, value in answer.items() if key != NO_MATCH_THRESHOLD or TEXT not in arguments}

        specs = {argument: tf.TensorSpec((None,), _DTYPES[argument], name=argument) for argument in arguments}
        filters = {filtered: tf.TensorSpec((None,), tf.string, name=filtered) for filtered in self.lookup.filterable}
        traced = {name: tf.function(search).get_concrete_function(**specs)}
        if filters:
            traced[_FILTERED[name]] = tf.function(search_filtered).get_concrete_function(**specs, **filters)
        return traced

    def _embed_both(self, image_bytes: tf.Tensor, text: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        weight = tf.clip_by_value(tf.where(tf.math.is_nan(weight), 0.5, weight), 0.0, 1.0)
        weight = tf.where(tf.strings.strip(text) == "", 0.0, weight)[:, None]
        # The lookup brings it to unit length.
        return (1.0 - weight) * self.encoder.embed(image_bytes) + weight * self.encoder.embed_texts(text)
