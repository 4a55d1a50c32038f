"""Small training stages, one after the other, run as a process by the tests: `python stage_program.py JSON`.

The JSON holds `runs`, a list of options for `run`, and perhaps `logical_cpus` and `module`. It prints the answers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from trainer.config import AugmentationConfig, StageConfig
from trainer.data.augmentation import Augmentation
from trainer.data.pipeline import Share, training_batches
from trainer.data.sampler import ShuffledEpochs
from trainer.models.hub_layer import HubLayer
from trainer.training.labelled_stage import StageData, train_stage
from trainer.training.strategy import build_strategy

ROWS, SIZE, CLASSES = 48, 16, 3
LABELS = np.arange(ROWS, dtype=np.int32) % CLASSES


def draw_pictures() -> np.ndarray:
    pictures = np.random.default_rng(0).integers(0, 120, (ROWS, SIZE, SIZE, 3), dtype=np.uint8)
    for row, label in enumerate(LABELS):
        pictures[row, :, :, label] += 100
    return pictures


def write_module(folder: str) -> None:
    """A hub module with what is hard to train: rows gathered from a variable, and a variable that nothing uses."""
    random = np.random.default_rng(2)
    module = tf.train.Checkpoint()
    kernel = tf.Variable(random.normal(size=(3, 6)), dtype=tf.float32, name="kernel")
    table = tf.Variable(random.normal(size=(4, 6)), dtype=tf.float32, name="table")
    unused = tf.Variable(random.normal(size=(2, 2)), dtype=tf.float32, name="unused")

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)])
    def call(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(images, (1, 2)) @ kernel + tf.gather(table, [1])

    module.__call__ = call
    module.variables = module.trainable_variables = [kernel, table, unused]
    module.regularization_losses = [tf.function(lambda: 1e-3 * tf.reduce_sum(tf.square(kernel)), input_signature=[])]
    tf.saved_model.save(module, folder)


def build_model(options: dict[str, Any]) -> keras.Model:
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1 / 255)(images)
    if "hub" in options:
        features = HubLayer(options["hub"], name="module")(pixels)
    else:
        features = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(pixels)
        features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(options.get("dropout", 0.0), name="dropout")(features)
    projected = keras.layers.Dense(8, name="projection")(features)
    embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(projected)
    logits = keras.layers.Dense(CLASSES, dtype="float32", name="classifier")(embedding)
    model = keras.Model(images, {"embedding": embedding, "logits": logits}, name="small")
    # The replicas of a mirrored variable may draw different starts.
    starts = np.random.default_rng(1)
    model.set_weights([starts.normal(0, 0.2, w.shape) if w.dtype != "uint32" else w.numpy() for w in model.weights])
    return model


def loader(pictures: np.ndarray, options: dict[str, Any]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Reads a row's picture; sends a signal at a certain reading where that is asked for."""
    kill_at, reads, known = options.get("kill_at"), 0, tf.constant(pictures)

    def read(place: np.ndarray) -> np.ndarray:
        nonlocal reads
        reads += 1
        if reads == kill_at:
            os.kill(os.getpid(), getattr(signal, options["signal"]))
        return pictures[place]

    if kill_at is None:
        return lambda row: known[row]
    return lambda row: tf.ensure_shape(tf.numpy_function(read, [row], tf.uint8), (SIZE, SIZE, 3))


def run(options: dict[str, Any]) -> dict[str, Any]:
    keras.backend.clear_session()
    keras.config.set_dtype_policy(options.get("precision", "float32"))
    keras.utils.set_random_seed(3)
    strategy = build_strategy(options.get("distribution", "none"))
    pictures = draw_pictures()
    with strategy.scope():
        model = build_model(options)
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "clip_norm": 0.5, **options.get("stage", {})}
    augmentation = Augmentation(AugmentationConfig(**options.get("augmentation", {"crop": 0.6})), SIZE, seed=5)
    load = loader(pictures, options)

    def batches(share: Share, first: int) -> tf.data.Dataset:
        return training_batches(load, LABELS, CLASSES, ShuffledEpochs(ROWS, 5), augmentation, share, first)

    validation = [{"image": tf.constant(pictures[:11]), "label": LABELS[:11]}]
    data = StageData(batches, ROWS, np.bincount(LABELS), validation)
    folder = Path(options["folder"])
    try:
        stage, key = StageConfig(**settings), options.get("key", "k")
        history = train_stage("small/finetune", model, stage, data, folder, key, strategy)
    except KeyboardInterrupt:
        return {"interrupted": True, "files": sorted(path.name for path in folder.glob("*.keras"))}
    return {
        "history": [{k: v for k, v in row.items() if k != "seconds"} for row in history],
        "weights": {w.path: float(np.abs(w.numpy()).sum()) for w in model.trainable_weights},
        "written": (folder / "last.keras").stat().st_mtime_ns,
    }


def main(options: dict[str, Any]) -> None:
    if "logical_cpus" in options:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * options["logical_cpus"]
        )
    if options["runs"][0].get("distribution") == "multi_worker":
        build_strategy("multi_worker")  # before anything else touches TensorFlow's devices
    tf.config.experimental.enable_op_determinism()
    if "module" in options:
        write_module(options["module"])
    print(json.dumps([run(one) for one in options["runs"]]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
