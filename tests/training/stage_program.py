"""One small training stage, run as a process by the tests: `python stage_program.py JSON`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main(options: dict[str, Any]) -> None:
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import numpy as np
    import tensorflow as tf

    from trainer.config import AugmentationConfig, StageConfig
    from trainer.data.augmentation import Augmentation
    from trainer.data.pipeline import training_batches
    from trainer.data.sampler import ShuffledEpochs
    from trainer.training.loop import StageData, train_stage
    from trainer.training.strategy import build_strategy

    if options.get("logical_cpus"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * options["logical_cpus"]
        )
    strategy = build_strategy(options.get("distribution", "none"))
    keras.config.set_dtype_policy(options.get("precision", "float32"))
    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()

    random = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int32) % 3
    pictures = random.integers(0, 120, (48, 16, 16, 3), dtype=np.uint8)
    for row, label in enumerate(labels):
        pictures[row, :, :, label] += 100
    known = tf.constant(pictures)

    with strategy.scope():
        images = keras.Input((16, 16, 3), dtype="uint8")
        features = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(
            keras.layers.Rescaling(1 / 255)(images)
        )
        features = keras.layers.GlobalAveragePooling2D()(features)
        features = keras.layers.Dropout(options.get("dropout", 0.0), name="dropout")(features)
        embedding = keras.layers.UnitNormalization(dtype="float32", name="embedding")(
            keras.layers.Dense(8, name="projection")(features)
        )
        logits = keras.layers.Dense(3, dtype="float32", name="classifier")(embedding)
        model = keras.Model(images, {"embedding": embedding, "logits": logits}, name="small")
        # The replicas of a mirrored variable may draw different starts.
        starts = np.random.default_rng(1)
        model.set_weights([starts.normal(0, 0.2, w.shape) if w.dtype != "uint32" else w.numpy() for w in model.weights])

    stage = StageConfig(
        **{"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "clip_norm": 0.5, **options.get("stage", {})}
    )
    augmentation = Augmentation(AugmentationConfig(**options.get("augmentation", {"crop": 0.6})), 16, seed=5)
    kill_at = options.get("kill_at")
    reads = 0

    def load(row: tf.Tensor) -> tf.Tensor:
        def read(place: np.ndarray) -> np.ndarray:
            nonlocal reads
            reads += 1
            if kill_at is not None and reads == kill_at:
                os.kill(os.getpid(), getattr(signal, options.get("signal", "SIGKILL")))
            return pictures[place]

        return tf.ensure_shape(tf.numpy_function(read, [row], tf.uint8), (16, 16, 3)) if kill_at else known[row]

    validation = [{"image": tf.constant(pictures[:11]), "label": labels[:11]}]
    data = StageData(
        lambda share, first: training_batches(load, labels, 3, ShuffledEpochs(48, 5), augmentation, share, first),
        48,
        np.bincount(labels),
        validation,
    )
    history = train_stage(
        "small/finetune", model, stage, data, Path(options["folder"]), options.get("key", "k"), strategy
    )
    answer = {
        "history": [{k: v for k, v in row.items() if k != "seconds"} for row in history],
        "weights": [float(np.abs(w.numpy()).sum()) for w in model.trainable_weights],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
