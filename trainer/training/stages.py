"""The stages of a run: heads on frozen backbones, backbones with their heads, the fused model as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.config import StageConfig
from trainer.data.augmentation import Augmentation
from trainer.data.items import IMAGE_PATH, LABEL, TRAIN, VALIDATION
from trainer.data.pipeline import (
    Share,
    feature_batches,
    read_pictures,
    training_batches,
)
from trainer.data.sampler import MinedSampler, Sampler
from trainer.losses.build import attribute_columns
from trainer.models.head import compose
from trainer.models.posterior_head import GradedAttribute
from trainer.models.registry import build_model_head
from trainer.training.checkpoint import HEAD_FILE, MODEL_FILE, Progress, read_progress, save_checkpoint
from trainer.training.decoded_pictures import DecodedPictures
from trainer.training.features import MIRRORED, PLAIN, FeatureRows, backbone_digest, extraction_environment
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import randomise_head, start_head
from trainer.training.labelled_stage import StageData, train_stage
from trainer.training.optimizer import check_rules, multipliers
from trainer.training.predictor import Predictor
from trainer.training.run_context import RunContext, digest
from trainer.training.sampling import build_sampler
from trainer.training.words import train_words

__all__ = ["train_models"]

_log = logging.getLogger(__name__)


def train_models(run: RunContext) -> None:
    """Trains every model of the configuration, leaving `checkpoints/<model>/best.keras` for each.

    Backbones come first, each with its head, and are fine-tuned if so configured; then the heads over several
    backbones; then, if so configured, the fused model as a whole. What is there already and still fits is kept.
    """
    backbones = dict(run.pretrained)
    _check_rules(run, backbones)
    if not run.config.train.finetune.epochs:
        run.features.features(backbones, run.items)  # each picture is decoded once for all that follows
    for name in run.config.model.backbones:
        if name in run.config.model.names or run.config.train.finetune.epochs:
            backbones[name] = _backbone_model(run, name, backbones[name])
    for name in run.config.model.names:
        if name not in backbones:
            _joined_model(run, name, {part: backbones[part] for part in run.config.model.parts_of(name)})


def _check_rules(run: RunContext, backbones: Mapping[str, keras.Model]) -> None:
    paths = [f"{name}/{weight.path}" for name, backbone in backbones.items() for weight in backbone.trainable_variables]
    for name in run.config.model.names:
        widths = {part: int(backbones[part].output_shape[-1]) for part in run.config.model.parts_of(name)}
        head = build_model_head(name, run.config.model, widths, len(run.labels), graded_attributes(run))
        paths += [f"head/{weight.path}" for weight in head.trainable_variables]
    for stage in ("finetune", "joint"):
        check_rules(f"train.{stage}.layers", paths, getattr(run.config.train, stage).layers)


def _backbone_model(run: RunContext, name: str, backbone: keras.Model) -> keras.Model:
    parts = {name: backbone}
    head = _train_head(run, name, parts, "head")
    stage = run.config.train.finetune
    if not stage.epochs or not _moves(name, backbone, stage):
        _finish(run, name, parts, head.model, head.key)
        return backbone
    if run.config.train.finetune_head == "random":
        randomise_head(head.model, run.config.seed)
    key = digest("finetune", head.key, stage.model_dump(), run.config.model.image_size, run.config.train.finetune_head)
    _train_on_pictures(run, f"{name}/finetune", parts, head, stage, key)
    head = _train_head(run, name, parts, "refit") if run.config.train.refit else head._replace(key=key)
    _finish(run, name, parts, head.model, head.key)
    return backbone


def _moves(name: str, backbone: keras.Model, stage: StageConfig) -> bool:
    """Whether a stage trains any weight of the backbone; if it freezes them all, its head is made already."""
    paths = [f"{name}/{weight.path}" for weight in backbone.trainable_variables]
    return any(factor > 0.0 for factor in multipliers(paths, stage.layers))


def _joined_model(run: RunContext, name: str, parts: Mapping[str, keras.Model]) -> None:
    head = _train_head(run, name, parts, "head")
    stage = run.config.train.joint
    if name != "fused" or not stage.epochs:
        _finish(run, name, parts, head.model, head.key)
        return
    before = {part: backbone.get_weights() for part, backbone in parts.items()}
    key = digest("joint", head.key, stage.model_dump(), run.config.model.image_size)
    _train_on_pictures(run, f"{name}/joint", parts, head, stage, key)
    _finish(run, name, parts, head.model, key)
    for part, backbone in parts.items():
        backbone.set_weights(before[part])


class _Head(NamedTuple):
    """A head on frozen backbones, the digest of what it depends on, and the features it was made of."""

    model: keras.Model
    key: str
    known: HeadFeatures


def _train_head(run: RunContext, name: str, parts: Mapping[str, keras.Model], stage_name: str) -> _Head:
    config = run.config
    train, validation = run.split(TRAIN), run.split(VALIDATION)
    views = (PLAIN, MIRRORED)[: config.train.views]
    features = [run.features.features(parts, train, view) for view in views]
    widths = {part: features[0][part].width for part in parts}
    graded = graded_attributes(run)
    with run.strategy.scope():
        head = build_model_head(name, config.model, widths, len(run.labels), graded)
    known = HeadFeatures(
        {part: [view[part] for view in features] for part in parts},
        run.classes(train),
        {attribute.name: run.codes(attribute.name, train) for attribute in graded},
    )
    key = digest(
        "head",
        name,
        config.seed,
        config.train.start,
        config.train.views,
        config.train.head.model_dump(exclude={"augmentation"}),
        config.model.head,
        config.model.embedding_dim,
        config.model.dimensions,
        dict(config.relevance),
        [(attribute, known.item_codes[attribute.name].tobytes().hex()) for attribute in graded],
        run.items_digest,
        {part: backbone_digest(backbone) for part, backbone in parts.items()},
    )
    start_head(head, known, len(run.labels), discriminant=config.train.start == "discriminant")
    stage = config.train.head
    if stage.epochs:
        checked = run.features.features(parts, validation) if len(validation) else None
        folder = run.checkpoints(name) / stage_name
        data = _feature_data(run, known, checked, head, folder)
        train_stage(f"{name}/{stage_name}", head, stage, data, folder, key, run.strategy)
    return _Head(head, key, known)


def graded_attributes(run: RunContext) -> tuple[GradedAttribute, ...]:
    """What the configuration's `relevance` names beside the label, but for attributes of fewer than two values."""
    weights = run.config.relevance
    found = ((name, len(run.values(name)), weight / weights[LABEL]) for name, weight in weights.items())
    return tuple(GradedAttribute(*attribute) for attribute in found if attribute[0] != LABEL and attribute[1] > 1)


def _feature_data(
    run: RunContext, known: HeadFeatures, checked: Mapping[str, FeatureRows] | None, head: keras.Model, folder: Path
) -> StageData:
    stage = run.config.train.head
    attributes = _attribute_codes(run, stage, known.count // len(known.item_classes))
    sampler = build_sampler(stage.sampler, known.classes, stage.batch_size, run.config.seed, folder)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return feature_batches(
            known.read, known.widths, known.classes, len(run.labels), sampler, share, first, attributes
        )

    labels = run.classes(run.split(VALIDATION))
    validation = None if checked is None else _FeatureValidation(checked, labels)
    return StageData(
        batches,
        known.count,
        run.class_counts(),
        validation,
        run.config.model.dimensions,
        run.config.relevance,
        partial(_centres, head, known, len(run.labels)),
        _refresh(sampler, lambda: np.concatenate([rows for rows, _ in _embeddings(head, known)])),
        run.config.seed,
    )


def _embeddings(head: keras.Model, known: HeadFeatures) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Embeddings of all rows by the head as it is now, some thousands at a time, with their classes."""
    for features, classes in known.chunks():
        yield keras.ops.convert_to_numpy(head(features)["embedding"]), classes


def _refresh(sampler: Sampler, encode: Callable[[], np.ndarray]) -> Callable[[int, bool], bool] | None:
    """What `StageData.refresh` wants; nothing where the sampler heeds no model."""
    if not isinstance(sampler, MinedSampler):
        return None
    return lambda epoch, encodes: sampler.refresh(epoch, encode if encodes else None)


def _attribute_codes(run: RunContext, stage: StageConfig, views: int = 1) -> np.ndarray | None:
    """Codes int32 `[N, A]` of the attributes that the stage's losses grade by; `None` where there are none."""
    names = attribute_columns(stage.objective, run.config.relevance)
    train = run.split(TRAIN)
    codes = [np.tile(run.codes(name, train), views) for name in names]
    return np.stack(codes, axis=1) if codes else None


def _centres(head: keras.Model, known: HeadFeatures, num_classes: int) -> np.ndarray:
    """The mean embedding of each class, float64 `[C, D]`; 0 for a class without items."""
    sums = np.zeros((num_classes, head.output["embedding"].shape[-1]))
    for rows, classes in _embeddings(head, known):
        np.add.at(sums, classes, rows)
    return sums / np.maximum(np.bincount(known.classes, minlength=num_classes), 1)[:, None]


class _FeatureValidation:
    """Validation batches of cached features, read from disk chunk by chunk, again each time."""

    def __init__(self, features: Mapping[str, FeatureRows], labels: np.ndarray, chunk: int = 1024) -> None:
        self._features, self._labels, self._chunk = features, labels, chunk

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self._labels), self._chunk):
            places = slice(start, start + self._chunk)
            features = {part: rows.read(places) for part, rows in self._features.items()}
            yield {"image": tf.nest.map_structure(tf.constant, features), "label": self._labels[places]}


def _train_on_pictures(
    run: RunContext, name: str, parts: Mapping[str, keras.Model], head: _Head, stage: StageConfig, key: str
) -> None:
    """Trains backbones and head together, as far as `stage.layers` lets them, leaving their weights changed."""
    train, validation = run.split(TRAIN), run.split(VALIDATION)
    size = run.config.model.image_size
    model_name, stage_name = name.split("/")
    with run.strategy.scope():
        model = compose(parts, head.model, size, model_name)
    classes = run.classes(train)
    folder = run.checkpoints(model_name) / stage_name
    sampler = build_sampler(stage.sampler, classes, stage.batch_size, run.config.seed, folder)
    attributes = _attribute_codes(run, stage)
    augmentation = Augmentation(stage.augmentation, size, run.config.seed)
    batch_size = run.config.train.extraction_batch_size
    pictures = DecodedPictures(run.workdir / "features", train, size, batch_size)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return training_batches(
            pictures.load, classes, len(run.labels), sampler, augmentation, share, first, attributes
        )

    checked = None
    if len(validation):
        paths = validation[IMAGE_PATH].tolist()
        read = partial(read_pictures, paths, size, batch_size)
        checked = _PictureValidation(read, run.classes(validation))
    data = StageData(
        batches,
        len(train),
        run.class_counts(),
        checked,
        run.config.model.dimensions,
        run.config.relevance,
        partial(_centres, head.model, head.known, len(run.labels)),
        _refresh(sampler, partial(_encode_pictures, model, pictures, batch_size)),
        run.config.seed,
    )
    train_stage(name, model, stage, data, folder, key, run.strategy)


def _encode_pictures(model: keras.Model, pictures: DecodedPictures, batch_size: int) -> np.ndarray:
    """Embeddings float32 `[N, D]` of all pictures, not augmented, by the model as it is now."""
    predict = Predictor(model)
    starts = range(0, len(pictures), batch_size)
    return np.concatenate([predict(pictures.read(slice(at, at + batch_size)))["embedding"] for at in starts])


class _PictureValidation:
    """Validation batches of pictures, read from their files again each time."""

    def __init__(self, read: Callable[[], Iterator[dict[str, tf.Tensor]]], labels: np.ndarray) -> None:
        self._read, self._labels = read, labels

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._read():
            yield {"image": batch["image"], "label": self._labels[batch["row"].numpy()]}


def _finish(run: RunContext, name: str, parts: Mapping[str, keras.Model], head: keras.Model, key: str) -> None:
    """Teaches the model words where that is asked for, and writes it; leaves its backbones as they were."""
    before = {part: backbone.get_weights() for part, backbone in parts.items()}
    _write(run, name, parts, head, train_words(run, name, parts, head, key))
    for part, backbone in parts.items():
        backbone.set_weights(before[part])


def _write(run: RunContext, name: str, parts: Mapping[str, keras.Model], head: keras.Model, key: str) -> None:
    """Writes the finished model and, for evaluating from cached features, its head; unless they are there already."""
    folder = run.checkpoints(name)
    there = [read_progress(folder / file) for file in (HEAD_FILE, MODEL_FILE)]
    if not run.chief or all(progress is not None and progress.key == key for progress in there):
        return
    with run.strategy.scope():
        model = compose(parts, head, run.config.model.image_size, name)
    facts = {
        "model": name,
        "labels": list(run.labels),
        "extraction": extraction_environment(),
        "backbones": {part: backbone_digest(backbone) for part, backbone in parts.items()},
    }
    save_checkpoint(head, folder / HEAD_FILE, Progress(key, finished=True), facts)
    save_checkpoint(model, folder / MODEL_FILE, Progress(key, finished=True), facts)
    _log.info("%s: %s", name, folder / MODEL_FILE)
