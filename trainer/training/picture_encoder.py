"""A finished model before pictures that are not the run's items, or not as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from trainer.errors import InputError
from trainer.training.checkpoint import MODEL_FILE, load_model, read_record
from trainer.training.features import FeatureStores, extraction_environment
from trainer.training.predictor import Predictor
from trainer.training.run_context import RunContext

__all__ = ["EncodedPictures", "PictureEncoder"]

_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class EncodedPictures:
    """What a model says about N pictures.

    Args:
        embeddings: float32 `[N, D]`, of unit length.
        predicted_labels: `[N]` strings, the likeliest of the run's labels.
    """

    embeddings: np.ndarray
    predicted_labels: np.ndarray


class PictureEncoder:
    """A run's finished model, loaded when it is first needed.

    Args:
        run: see `RunContext`.
        name: of the model; `checkpoints/<name>/best.keras`.

    Raises:
        InputError: there is no such checkpoint, or it was trained on other labels.
    """

    def __init__(self, run: RunContext, name: str) -> None:
        self._run = run
        self._path = run.checkpoints(name) / MODEL_FILE
        if read_record(self._path).get("labels") != list(run.labels):
            raise InputError(f"{self._path} was trained on other labels than the items have now; run train again")

    @cached_property
    def digest(self) -> str:
        """Digest of all that an embedding depends on beside the picture: the checkpoint, decoding, the libraries."""
        with open(self._path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{content} {extraction_environment()}"

    @cached_property
    def _model(self) -> keras.Model:
        with self._run.strategy.scope():
            return load_model(self._path)

    @cached_property
    def _whole(self) -> Predictor:
        return Predictor(self._model, self._run.strategy)

    def encode(self, batches: Iterable[np.ndarray], count: int, description: str) -> EncodedPictures:
        """Encodes a stream of pictures.

        Args:
            batches: uint8 `[b, S, S, 3]` each, of the model's size.
            count: N, of all pictures together.
            description: for the progress bar.
        """
        return self._gathered((self._whole(batch) for batch in batches), count, description)

    def encode_items(self, items: pd.DataFrame, stores: FeatureStores) -> EncodedPictures:
        """Encodes the items of another catalogue through a feature cache: what is interrupted goes on where it was.

        Args:
            items: see `FeatureStores.features`.
            stores: the caches.

        Raises:
            InputError: as `FeatureStores.features`.
        """
        head = self._model.get_layer("head")
        features = stores.features({part: self._model.get_layer(part) for part in head.input}, items)
        predict = Predictor(head, self._run.strategy)
        chunks = (slice(start, start + _CHUNK) for start in range(0, len(items), _CHUNK))
        answers = (predict({part: rows.read(chunk) for part, rows in features.items()}) for chunk in chunks)
        return self._gathered(answers, len(items), "head")

    def _gathered(self, answers: Iterable[Any], count: int, description: str) -> EncodedPictures:
        embeddings, classes = [], []
        with tqdm(total=count, desc=description, unit="picture", leave=False) as bar:
            for answer in answers:
                embeddings.append(np.asarray(answer["embedding"], np.float32))
                classes.append(np.argmax(answer["logits"], axis=-1))
                bar.update(len(embeddings[-1]))
        return EncodedPictures(np.concatenate(embeddings), np.asarray(self._run.labels)[np.concatenate(classes)])
