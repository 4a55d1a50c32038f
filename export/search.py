"""The exported search: picture bytes to catalogue items in one graph."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.encoder import Encoder
from export.lookup import Lookup
from serving.contract import EMBEDDING, IMAGE_BYTES, SEARCH_IMAGES, SEARCH_IMAGES_FILTERED, SERVING_DEFAULT
from trainer.errors import InputError

__all__ = ["Search"]


class Search(tf.Module):
    """An encoder and a lookup as one model.

    Signatures, answering what the lookup's answer (ids, scores, attributes and both fingerprints):
        `search_images`, also `serving_default`: `image_bytes` string `[B]`.
        `search_images_filtered`, where there is a filterable attribute: beside `image_bytes` a string `[B]` for each,
        as in `Lookup.lookup_filtered`.

    Args:
        encoder: made by `Encoder.from_model`.
        lookup: over vectors that this encoder, or the model it was made of, has embedded.

    Raises:
        InputError: the two do not fit.
    """

    def __init__(self, encoder: Encoder, lookup: Lookup) -> None:
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
            image_bytes = tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)
            plain = tf.function(self._search, input_signature=[image_bytes]).get_concrete_function()
            self._signatures = {SERVING_DEFAULT: plain, SEARCH_IMAGES: plain}
            if self.lookup.filterable:
                filters = {name: tf.TensorSpec((None,), tf.string, name=name) for name in self.lookup.filterable}
                filtered = tf.function(self._search_filtered).get_concrete_function(image_bytes, **filters)
                self._signatures[SEARCH_IMAGES_FILTERED] = filtered
        return dict(self._signatures)

    def _embed(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return self.encoder.encode(self.encoder.decode(image_bytes))[EMBEDDING]

    def _search(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.lookup.lookup(self._embed(image_bytes))

    def _search_filtered(self, image_bytes: tf.Tensor, **filters: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.lookup.lookup_filtered(self._embed(image_bytes), filters)
