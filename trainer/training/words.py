"""How a finished picture model learns words: a text encoder for its space, and perhaps that space anew."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.config import AugmentationConfig, StageConfig, WordsConfig, WordsStageConfig
from trainer.data.augmentation import Augmentation
from trainer.data.items import IMAGE_PATH, TRAIN, VALIDATION
from trainer.data.pipeline import Share, read_pictures, training_batches
from trainer.data.sampler import ShuffledEpochs
from trainer.data.texts import ItemTexts
from trainer.losses import InfoNCE, PairwiseSigmoid
from trainer.models.head import compose
from trainer.models.text_encoder import TextEncoder, build_text_encoder
from trainer.models.tokenizer import load_tokenizer, train_tokenizer
from trainer.training.checkpoint import (
    HEAD_FILE,
    MODEL_FILE,
    WORDS_FILE,
    Progress,
    read_progress,
    read_record,
    save_checkpoint,
)
from trainer.training.decoded_pictures import DecodedPictures
from trainer.training.interpolation import Interpolation, interpolate, interpolated_weights
from trainer.training.loop import train_task
from trainer.training.predictor import Predictor
from trainer.training.run_context import RunContext, digest
from trainer.training.task import Task
from trainer.training.word_pairs import DrawnTexts
from trainer.training.word_tasks import FullTuning, LockedTuning
from trainer.training.word_validation import SCORE, WordValidation, asked_rows

__all__ = ["train_words"]

_log = logging.getLogger(__name__)

_CHUNK = 1024


def train_words(run: RunContext, name: str, parts: Mapping[str, keras.Model], head: keras.Model, key: str) -> str:
    """Makes a finished picture model searchable by words, where the configuration asks for it.

    Leaves `checkpoints/<name>/words.keras`, a `TextEncoder` with the facts `model`, `image_model` (key of the picture
    model whose space it is), `temperature`, `interpolation` (how far full tuning was followed, null without it) and
    `interpolations` (what every share tried came to); one that still fits is kept. A model that is to learn no words
    any longer loses it.

    Args:
        run: see `RunContext`.
        name: of the model.
        parts: its backbones. Full tuning changes their weights, and the head's.
        head: finished.
        key: digest of all that the picture model depends on.

    Returns:
        The picture model's key: another one where full tuning has changed it.

    Raises:
        InputError: the items lack what the texts are made of, or as `trainer.training.loop.train_task`.
    """
    words = run.config.words
    if words is None or name not in run.config.models_with_words:
        if run.chief:
            (run.checkpoints(name) / WORDS_FILE).unlink(missing_ok=True)
        return key
    return _WordTraining(run, words, name, parts, head, key).learn()


class _WordTraining:
    """The stages of one model's words, in order."""

    def __init__(
        self,
        run: RunContext,
        config: WordsConfig,
        name: str,
        parts: Mapping[str, keras.Model],
        head: keras.Model,
        image_key: str,
    ) -> None:
        self.run, self.config, self.name, self.image_key = run, config, name, image_key
        self.parts, self.head, self.folder = parts, head, run.checkpoints(name)
        self.train, validation = run.split(TRAIN), run.split(VALIDATION)
        self.asked = validation.iloc[asked_rows(len(validation), run.config.seed)]
        self.texts = ItemTexts(self.train, config.texts)
        self.encoder = _new_encoder(run, config, self.texts, int(head.output["embedding"].shape[-1]))
        self.loss = {"softmax": InfoNCE, "sigmoid": PairwiseSigmoid}[config.loss]()
        self.sampler = ShuffledEpochs(len(self.train), run.config.seed)
        self.drawn = DrawnTexts(self.texts, len(self.train), self.encoder, self.sampler, run.config.seed)
        self.locked_key = self._digest()
        self.full_key = digest(self.locked_key, config.full.model_dump(exclude={"interpolation"}))
        self.key = digest(self.full_key, config.full.interpolation)

    def _digest(self) -> str:
        config = self.config
        return digest(
            "words",
            self.name,
            self.image_key,
            self.run.config.seed,
            self.run.items_digest,
            config.texts.model_dump(exclude={"queries"}),
            [_texts_digest(texts) for texts in (self.texts, ItemTexts(self.asked, config.texts))],
            config.model_dump(include={"tokenizer", "encoder", "loss", "temperature", "locked"}),
            _encoder_digest(self.encoder),
        )

    def learn(self) -> str:
        kept = self._kept()
        if kept is not None:
            return kept
        if self.config.locked.epochs:
            self._tune_locked()
        found = self._tune_fully() if self.config.full.epochs else None
        image_key = self.key if found is not None and found.share else self.image_key
        if self.run.chief:
            self._save(image_key, found)
        return image_key

    def _kept(self) -> str | None:
        """The picture model's key, where all that would be made is there already."""

        def there(file: str, key: str) -> bool:
            progress = read_progress(self.folder / file)
            return progress is not None and progress.key == key

        if not there(WORDS_FILE, self.key):
            return None
        image_key = str(read_record(self.folder / WORDS_FILE).get("image_model"))
        changed = image_key != self.image_key
        return None if changed and not all(there(file, image_key) for file in (HEAD_FILE, MODEL_FILE)) else image_key

    def _tune_locked(self) -> None:
        pictures = self._embeddings(self.asked)
        judge = (lambda: self._validation.figures(pictures)) if len(self.asked) else None
        task = LockedTuning(self._embeddings(self.train), self.encoder, self.loss, self.drawn, judge)
        self._train("words-locked", task, self.config.locked, "best", self.locked_key)

    def _tune_fully(self) -> Interpolation:
        """Trains both, then goes back as far as is best for both."""
        size, batch_size = self.run.config.model.image_size, self.run.config.train.extraction_batch_size
        with self.run.strategy.scope():
            model = compose(self.parts, self.head, size, self.name)
        predict = Predictor(model, self.run.strategy)

        def judge() -> dict[str, float]:
            batches = read_pictures(self.asked[IMAGE_PATH].tolist(), size, batch_size)
            return self._validation.figures(np.concatenate([predict(batch["image"])["embedding"] for batch in batches]))

        both = (self.encoder, self.loss, self.drawn, judge if len(self.asked) else None)
        task = FullTuning(model, self._pictures(), self.config.full.classification, *both)
        weights = interpolated_weights(model, self.encoder)
        before = [weight.numpy() for weight in weights]
        # The end of the way, even where it leads astray at first: interpolation finds how much of it is good.
        self._train("words-full", task, self.config.full, "last", self.full_key)
        found = interpolate(weights, before, self.config.full.interpolation, task.validate, SCORE)
        for row in found.figures:
            _log.info("%s: %s", self.name, ", ".join(f"{figure} {value:.4f}" for figure, value in row.items()))
        return found

    def _train(
        self, stage_name: str, task: Task, config: WordsStageConfig, keep: Literal["best", "last"], key: str
    ) -> None:
        replicas = self.run.strategy.num_replicas_in_sync
        # More pairs than there are items would hold an item against itself.
        most = max(len(self.train) // replicas, 1) * replicas
        settings = config.model_dump(include=set(WordsStageConfig.model_fields))
        stage = StageConfig(**{**settings, "batch_size": min(config.batch_size, most), "keep": keep})
        train_task(f"{self.name}/{stage_name}", task, stage, self.folder / stage_name, key, self.run.strategy)

    @cached_property
    def _validation(self) -> WordValidation:
        run, classes = self.run, self.run.classes(self.asked)
        return WordValidation(
            self.asked, classes, run.labels, self.config.texts, self.encoder, run.strategy, run.config.seed
        )

    def _embeddings(self, items: pd.DataFrame) -> np.ndarray:
        """Where the picture model puts the items, float32 `[n, D]`."""
        features = self.run.features.features(self.parts, items)
        predict = Predictor(self.head, self.run.strategy)
        chunks = (slice(start, start + _CHUNK) for start in range(0, len(items), _CHUNK))
        answers = [predict({part: rows.read(chunk) for part, rows in features.items()}) for chunk in chunks]
        width = self.head.output["embedding"].shape[-1]
        return np.concatenate([np.zeros((0, width), np.float32), *(answer["embedding"] for answer in answers)])

    def _pictures(self) -> Callable[[Share, int], tf.data.Dataset]:
        run, size = self.run, self.run.config.model.image_size
        classes, labels = run.classes(self.train), len(run.labels)
        decoded = DecodedPictures(run.workdir / "features", self.train, size, run.config.train.extraction_batch_size)
        # Mild, and no other colours: the texts name them.
        augmentation = Augmentation(AugmentationConfig(colour=0.0), size, run.config.seed)
        return lambda share, first: training_batches(
            decoded.load, classes, labels, self.sampler, augmentation, share, first
        )

    def _save(self, image_key: str, found: Interpolation | None) -> None:
        facts = {
            "model": self.name,
            "image_model": image_key,
            "temperature": self.encoder.temperature,
            "interpolation": None if found is None else found.share,
            "interpolations": [] if found is None else list(found.figures),
        }
        path = self.folder / WORDS_FILE
        save_checkpoint(self.encoder, path, Progress(self.key, finished=True), facts)
        _log.info("%s: %s", self.name, path)


def _new_encoder(run: RunContext, config: WordsConfig, texts: ItemTexts, width: int) -> TextEncoder:
    tokenizer = None
    if config.encoder.preset is None:
        preset, size = config.tokenizer.preset, config.tokenizer.vocabulary_size
        tokenizer = train_tokenizer(texts.all_texts(), size) if preset is None else load_tokenizer(preset)
    keras.utils.set_random_seed(run.config.seed)  # whatever was made before
    with run.strategy.scope():
        encoder = build_text_encoder(config, width, tokenizer)
        encoder.set_weights(encoder.get_weights())  # the replicas of a mirrored variable may draw different starts
    return encoder


def _encoder_digest(encoder: TextEncoder) -> str:
    """Of what the encoder starts with: its tokenizer and weights, which a preset's name does not tell."""
    found = hashlib.sha256(json.dumps([encoder.tokenizer.vocabulary, encoder.tokenizer.merges]).encode())
    for weight in encoder.get_weights():
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.hexdigest()


def _texts_digest(texts: ItemTexts) -> str:
    found = hashlib.sha256()
    for text in texts.all_texts():
        found.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return found.hexdigest()
