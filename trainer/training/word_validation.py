"""How well words find pictures among the validation items: what training them is judged by."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.config.words import TextsConfig
from trainer.data.texts import ItemTexts, fill
from trainer.models.text_encoder import TextEncoder
from trainer.training.predictor import Predictor
from trainer.training.word_pairs import cropped

__all__ = ["SCORE", "WordValidation", "asked_rows"]

SCORE = "val_words"
"""The mean of the other two figures of `WordValidation`, by which results are compared."""
_NEAREST = 10
_MOST_ITEMS = 2000
_BATCH = 256


def asked_rows(count: int, seed: int) -> np.ndarray:
    """Places int64 of the validation items that are asked about: all, or 2,000 of them drawn at random."""
    if count <= _MOST_ITEMS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST_ITEMS, replace=False))


class WordValidation:
    """One text of each validation item and the prompts of each label, to be held against pictures.

    Args:
        items: those that are asked about; at least one.
        classes: int32 `[V]`, their class numbers.
        labels: names of the classes.
        config: where texts come from; an item's text is its title where it has one, else a template filled.
        encoder: of the texts.
        strategy: under which the encoder was made.
        seed: of the run.
    """

    def __init__(
        self,
        items: pd.DataFrame,
        classes: np.ndarray,
        labels: tuple[str, ...],
        config: TextsConfig,
        encoder: TextEncoder,
        strategy: tf.distribute.Strategy,
        seed: int,
    ) -> None:
        titled = ItemTexts(items, config.model_copy(update={"title_share": 1.0}))
        texts = titled.sample(np.arange(len(items)), np.random.default_rng(seed))
        prompts = [fill(prompt, {"label": label}) or label for label in labels for prompt in config.prompts]
        self._tokens = encoder.tokenize([*texts, *prompts])
        self._classes, self._labels, self._prompts = classes, len(labels), len(config.prompts)
        self._predict = Predictor(encoder, strategy)

    def figures(self, pictures: np.ndarray) -> dict[str, float]:
        """What the encoder as it is now makes of the texts, held against the pictures.

        Args:
            pictures: float32 `[V, D]` of unit length, the items' pictures.

        Returns:
            `val_recall@10`, the share of items that are among the ten pictures nearest to their own text;
            `val_zero_shot`, the share of pictures nearest to their label's prompts, whose embeddings' mean stands for
            the label; and `val_words`, the mean of both.
        """
        starts = range(0, len(self._tokens), _BATCH)
        chunks = [self._predict(tf.constant(cropped(self._tokens[start : start + _BATCH]))) for start in starts]
        embeddings = np.concatenate(chunks)
        texts, prompts = embeddings[: len(pictures)], embeddings[len(pictures) :]
        similarity = texts @ pictures.T
        nearer = (similarity > np.diagonal(similarity)[:, None]).sum(axis=1)
        recall = float((nearer < _NEAREST).mean())
        means = prompts.reshape(self._labels, self._prompts, -1).mean(axis=1)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        right = float(((pictures @ means.T).argmax(axis=1) == self._classes).mean())
        return {"val_recall@10": recall, "val_zero_shot": right, SCORE: (recall + right) / 2}
