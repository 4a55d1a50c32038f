"""An encoder that was exported before, to embed with, and to build a new search of: no checkpoint, no Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.manifest import read_manifest
from serving.contract import EMBED_IMAGES, EMBED_TEXTS, EMBEDDING, Manifest
from trainer.errors import InputError

__all__ = ["ExportedEncoder"]


class ExportedEncoder(tf.Module):
    """The signatures `embed_images` and, where the encoder reads words, `embed_texts` of a SavedModel, with the
    variables that they read.

    Args:
        folder: of the version, such as `EXPORTS/fused_encoder/3`.

    Raises:
        InputError: it is no exported encoder, or it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(name="encoder")
        self._manifest = (read_manifest(folder),)  # in a tuple: what it holds is no part of the saved module
        if self.manifest.kind != "encoder":
            raise InputError(f"expected an exported encoder, {folder} is a {self.manifest.kind}")
        try:
            loaded = tf.saved_model.load(str(folder), tags=["serve"])
            names = (EMBED_IMAGES, EMBED_TEXTS) if self.reads_words else (EMBED_IMAGES,)
            signatures = {name: loaded.signatures[name] for name in names}
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"expected a SavedModel with the signature {EMBED_IMAGES} in {folder}, it cannot be loaded "
                f"({' '.join(str(error).split())[:200]}); run python -m export verify {folder}"
            ) from error
        # The loaded object itself stays out of what is saved: its other signatures are not needed.
        self.weights = [variable for signature in signatures.values() for variable in signature.variables]
        self._ask = lambda name, **given: signatures[name](**given)[EMBEDDING]
        self._alive = lambda: loaded

    @property
    def manifest(self) -> Manifest:
        """Of the encoder's version."""
        return self._manifest[0]

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.manifest.embedding_dim

    @property
    def fingerprint(self) -> str:
        """Of weights and preprocessing."""
        return self.manifest.fingerprint

    @property
    def reads_words(self) -> bool:
        """Whether texts can be embedded."""
        return EMBED_TEXTS in self.manifest.signatures

    def embed(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """String `[B]`, bytes of picture files, to float32 `[B, D]` of unit length; also within a graph."""
        return self._ask(EMBED_IMAGES, image_bytes=image_bytes)

    def embed_texts(self, text: tf.Tensor) -> tf.Tensor:
        """String `[B]` to float32 `[B, D]` of unit length, where the encoder reads words; also within a graph."""
        return self._ask(EMBED_TEXTS, text=text)

    def embed_contents(self, contents: Sequence[bytes]) -> tuple[np.ndarray, list[int]]:
        """Embeds pictures of which some may be spoilt.

        Args:
            contents: bytes of B picture files.

        Returns:
            float32 `[B, D]`, and the places of those that the graph cannot read or that have no direction; what
            stands there in the vectors means nothing.
        """
        if not contents:
            return np.empty((0, self.embedding_dim), np.float32), []
        try:
            vectors = self.embed(tf.constant(list(contents), tf.string)).numpy()
        except tf.errors.InvalidArgumentError:
            if len(contents) == 1:
                return np.zeros((1, self.embedding_dim), np.float32), [0]
            each = [self.embed_contents([content]) for content in contents]
            return np.concatenate([vector for vector, _ in each]), [at for at, (_, bad) in enumerate(each) if bad]
        sound = np.isfinite(vectors).all(axis=1) & (np.abs(vectors).max(axis=1) > 0)
        return vectors, np.flatnonzero(~sound).tolist()
