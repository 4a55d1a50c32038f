"""What is learnt of pairs of pictures and texts: by the text encoder alone, or by the picture model too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.data.pipeline import Share
from trainer.losses.picture_text import PictureTextLoss, own_text_is_nearest
from trainer.models.text_encoder import TextEncoder
from trainer.training.labelled_stage import named_weights
from trainer.training.task import Task
from trainer.training.trainee import WordsTrainee
from trainer.training.word_pairs import DrawnTexts
from trainer.training.word_validation import SCORE

__all__ = ["FullTuning", "LockedTuning"]


class _WordTask(Task):
    """What both kinds of tuning have in common.

    Args:
        encoder: of the texts.
        loss: of the pairs.
        drawn: which text stands for which row when.
        figures: those of `WordValidation`, as the weights are now; `None` where there are no validation items.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        loss: PictureTextLoss,
        drawn: DrawnTexts,
        figures: Callable[[], dict[str, float]] | None,
    ) -> None:
        self._encoder, self._loss, self._drawn, self._figures = encoder, loss, drawn, figures
        self.count = drawn.count

    def _pair_losses(self, images: Any, batch: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        texts, groups = self._encoder(batch["tokens"], training=True), batch["group"]
        losses = self._loss(images, texts, self._encoder.logit_scale, self._encoder.logit_bias, groups)
        return losses, own_text_is_nearest(images, texts, groups)

    def validate(self) -> dict[str, float]:
        return {} if self._figures is None else self._figures()

    def score(self, figures: Mapping[str, float]) -> tuple[float, float]:
        return figures[SCORE], figures["val_recall@10"]


class LockedTuning(_WordTask):
    """The text encoder learns where finished embeddings of pictures lie (locked-image tuning).

    Args:
        pictures: float32 `[N, D]` of unit length, of the training items.
        *common: see `_WordTask`.

    Paper: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022,
    https://arxiv.org/abs/2111.07991
    """

    def __init__(self, pictures: np.ndarray, *common: Any) -> None:
        super().__init__(*common)
        self._pictures = pictures
        self.trainee = WordsTrainee(self._encoder)
        self.weights = {f"words/{weight.path}": weight for weight in self._encoder.trainable_variables}

    def batches(self, share: Share, first: int) -> tf.data.Dataset:
        pictures = tf.constant(self._pictures)
        return self._drawn.batches(share, first).map(
            lambda pairs: {**pairs, "image": tf.gather(pictures, pairs["row"])}
        )

    def losses(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self._pair_losses(batch["image"], batch)


class FullTuning(_WordTask):
    """Picture model and text encoder learn together, and the classifier does not forget.

    Args:
        model: from pictures to `{"embedding", "logits"}`.
        pictures: from (this process's share, number of the first batch) to the stream of pictures and labels, in the
            same order as the texts; see `trainer.data.pipeline.training_batches`.
        classification: weight of the logits' cross-entropy.
        *common: see `_WordTask`.
    """

    def __init__(
        self,
        model: keras.Model,
        pictures: Callable[[Share, int], tf.data.Dataset],
        classification: float,
        *common: Any,
    ) -> None:
        super().__init__(*common)
        self._model, self._pictures, self._classification = model, pictures, classification
        self.trainee = WordsTrainee(self._encoder, model)
        words = {f"words/{weight.path}": weight for weight in self._encoder.trainable_variables}
        self.weights = named_weights(model) | words

    def batches(self, share: Share, first: int) -> tf.data.Dataset:
        both = tf.data.Dataset.zip(self._pictures(share, first), self._drawn.batches(share, first))
        return both.map(lambda pictures, texts: {**pictures, **texts})

    def losses(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._model(batch["image"], training=True)
        losses, right = self._pair_losses(outputs["embedding"], batch)
        logits = tf.cast(outputs["logits"], tf.float32)
        known = keras.losses.categorical_crossentropy(batch["label"], logits, from_logits=True)
        return losses + self._classification * known, right
