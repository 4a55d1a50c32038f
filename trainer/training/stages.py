"""The stages of a run: heads on frozen backbones, backbones with their heads, the fused model as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.config import StageConfig
from trainer.data.augmentation import Augmentation
from trainer.data.items import IMAGE_PATH, LABEL, PICTURE_SHA256, TRAIN, VALIDATION
from trainer.data.pipeline import (
    DECODING_VERSION,
    Share,
    feature_batches,
    read_pictures,
    training_batches,
)
from trainer.data.row_store import RowStore, row_key
from trainer.data.sampler import ShuffledEpochs
from trainer.models.head import compose
from trainer.models.posterior_head import GradedAttribute
from trainer.models.registry import build_model_head, parts_of
from trainer.training.checkpoint import HEAD_FILE, MODEL_FILE, Progress, read_progress, save_checkpoint
from trainer.training.features import MIRRORED, PLAIN, FeatureRows, backbone_digest, extraction_environment
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import randomise_head, start_head
from trainer.training.loop import StageData, train_stage
from trainer.training.optimizer import check_rules, multipliers
from trainer.training.run_context import RunContext, digest

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
            _joined_model(run, name, {part: backbones[part] for part in parts_of(name, run.config.model)})


def _check_rules(run: RunContext, backbones: Mapping[str, keras.Model]) -> None:
    paths = [f"{name}/{weight.path}" for name, backbone in backbones.items() for weight in backbone.trainable_variables]
    for name in run.config.model.names:
        widths = {part: int(backbones[part].output_shape[-1]) for part in parts_of(name, run.config.model)}
        head = build_model_head(name, run.config.model, widths, len(run.labels), graded_attributes(run))
        paths += [f"head/{weight.path}" for weight in head.trainable_variables]
    for stage in ("finetune", "joint"):
        check_rules(f"train.{stage}.layers", paths, getattr(run.config.train, stage).layers)


def _backbone_model(run: RunContext, name: str, backbone: keras.Model) -> keras.Model:
    head, key = _train_head(run, name, {name: backbone}, "head")
    stage = run.config.train.finetune
    if not stage.epochs or not _moves(name, backbone, stage):
        _finish(run, name, {name: backbone}, head, key)
        return backbone
    with run.strategy.scope():
        model = compose({name: backbone}, head, run.config.model.image_size, name)
    if run.config.train.finetune_head == "random":
        randomise_head(head, run.config.seed)
    key = digest("finetune", key, stage.model_dump(), run.config.model.image_size, run.config.train.finetune_head)
    _train_on_pictures(run, f"{name}/finetune", model, stage, key)
    if run.config.train.refit:
        head, key = _train_head(run, name, {name: backbone}, "refit")
    _finish(run, name, {name: backbone}, head, key)
    return backbone


def _moves(name: str, backbone: keras.Model, stage: StageConfig) -> bool:
    """Whether a stage trains any weight of the backbone; if it freezes them all, its head is made already."""
    paths = [f"{name}/{weight.path}" for weight in backbone.trainable_variables]
    return any(factor > 0.0 for factor in multipliers(paths, stage.layers))


def _joined_model(run: RunContext, name: str, parts: Mapping[str, keras.Model]) -> None:
    head, key = _train_head(run, name, parts, "head")
    stage = run.config.train.joint
    if name != "fused" or not stage.epochs:
        _finish(run, name, parts, head, key)
        return
    before = {part: backbone.get_weights() for part, backbone in parts.items()}
    with run.strategy.scope():
        model = compose(parts, head, run.config.model.image_size, name)
    key = digest("joint", key, stage.model_dump(), run.config.model.image_size)
    _train_on_pictures(run, f"{name}/joint", model, stage, key)
    _finish(run, name, parts, head, key)
    for part, backbone in parts.items():
        backbone.set_weights(before[part])


def _train_head(
    run: RunContext, name: str, parts: Mapping[str, keras.Model], stage_name: str
) -> tuple[keras.Model, str]:
    """The head of a model on frozen backbones, from cached features; and the digest of what it depends on."""
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
        [(attribute, known.item_codes[attribute.name].tobytes().hex()) for attribute in graded],
        run.items_digest,
        {part: backbone_digest(backbone) for part, backbone in parts.items()},
    )
    start_head(head, known, len(run.labels), discriminant=config.train.start == "discriminant")
    stage = config.train.head
    if stage.epochs:
        checked = run.features.features(parts, validation) if len(validation) else None
        data = _feature_data(run, known, checked, run.classes(validation))
        folder = run.checkpoints(name) / stage_name
        train_stage(f"{name}/{stage_name}", head, stage, data, folder, key, run.strategy)
    return head, key


def graded_attributes(run: RunContext) -> tuple[GradedAttribute, ...]:
    """What the configuration's `relevance` names beside the label, but for attributes of fewer than two values."""
    weights = run.config.relevance
    found = ((name, len(run.values(name)), weight / weights[LABEL]) for name, weight in weights.items())
    return tuple(GradedAttribute(*attribute) for attribute in found if attribute[0] != LABEL and attribute[1] > 1)


def _feature_data(
    run: RunContext, known: HeadFeatures, checked: Mapping[str, FeatureRows] | None, labels: np.ndarray
) -> StageData:
    sampler = ShuffledEpochs(known.count, run.config.seed)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return feature_batches(known.read, known.widths, known.classes, len(run.labels), sampler, share, first)

    validation = None if checked is None else _FeatureValidation(checked, labels)
    return StageData(batches, known.count, run.class_counts(), validation)


class _FeatureValidation:
    """Validation batches of cached features, read from disk chunk by chunk, again each time."""

    def __init__(self, features: Mapping[str, FeatureRows], labels: np.ndarray, chunk: int = 1024) -> None:
        self._features, self._labels, self._chunk = features, labels, chunk

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self._labels), self._chunk):
            places = slice(start, start + self._chunk)
            features = {part: rows.read(places) for part, rows in self._features.items()}
            yield {"image": tf.nest.map_structure(tf.constant, features), "label": self._labels[places]}


def _train_on_pictures(run: RunContext, name: str, model: keras.Model, stage: StageConfig, key: str) -> None:
    train, validation = run.split(TRAIN), run.split(VALIDATION)
    size = run.config.model.image_size
    classes = run.classes(train)
    sampler = ShuffledEpochs(len(train), run.config.seed)
    augmentation = Augmentation(stage.augmentation, size, run.config.seed)
    load = _decoded_pictures(run, train)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return training_batches(load, classes, len(run.labels), sampler, augmentation, share, first)

    checked = None
    if len(validation):
        paths = validation[IMAGE_PATH].tolist()
        read = partial(read_pictures, paths, size, run.config.train.extraction_batch_size)
        checked = _PictureValidation(read, run.classes(validation))
    data = StageData(batches, len(train), run.class_counts(), checked)
    train_stage(name, model, stage, data, run.checkpoints(name.split("/")[0]) / name.split("/")[1], key, run.strategy)


class _PictureValidation:
    """Validation batches of pictures, read from their files again each time."""

    def __init__(self, read: Callable[[], Iterator[dict[str, tf.Tensor]]], labels: np.ndarray) -> None:
        self._read, self._labels = read, labels

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._read():
            yield {"image": batch["image"], "label": self._labels[batch["row"].numpy()]}


def _decoded_pictures(run: RunContext, items: pd.DataFrame) -> Callable[[tf.Tensor], tf.Tensor]:
    """Decodes every picture once into a store on disk; answers a function from a row to its pixels."""
    size = run.config.model.image_size
    store = RowStore(run.workdir / "features" / f"decoded-{size}", (size, size, 3), np.uint8)
    keys = [row_key(sha, str(size), DECODING_VERSION) for sha in items[PICTURE_SHA256]]
    with store.lock():
        missing = store.missing(keys)
        paths = items[IMAGE_PATH].iloc[missing].tolist()
        for batch in read_pictures(paths, size, run.config.train.extraction_batch_size):
            store.append([keys[missing[row]] for row in batch["row"].numpy()], batch["image"].numpy())
    pictures, rows = store.array, store.rows(keys)

    def load(row: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(lambda place: pictures[rows[place]], [row], tf.uint8, stateful=False)
        return tf.ensure_shape(image, (size, size, 3))

    return load


def _finish(run: RunContext, name: str, parts: Mapping[str, keras.Model], head: keras.Model, key: str) -> None:
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
