"""Small models that learn words, one run after the other, run as a process by the tests: `words_program.py FOLDER`.

It prints JSON: for each run by name, what it left.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from trainer.config import load_config
from trainer.data.freshness import with_true_hashes
from trainer.data.texts import ItemTexts
from trainer.models.text_encoder import load_text_encoder
from trainer.training.checkpoint import MODEL_FILE, WORDS_FILE, load_model, read_progress, read_record
from trainer.training.run_context import RunContext
from trainer.training.stages import train_models
from trainer.training.strategy import build_strategy

LABELS, COLOURS, SIZE = ("boots", "hats", "shirts"), ("red", "green", "blue"), 32
ASKED = ["red hats", "green boots", "shirts"]
WORDS: dict[str, Any] = {
    "texts": {"title": "title", "templates": ["{colour} {label}", "{label}"]},
    "tokenizer": {"vocabulary_size": 600},
    "encoder": {"length": 12, "width": 16, "layers": 1, "heads": 2, "dropout": 0.0},
    "locked": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01},
}
FULL = {**WORDS, "full": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "interpolation": [1.0, 0.5]}}


def draw_items(folder: Path) -> pd.DataFrame:
    """36 pictures: the colour of the upper half is the item's, the lower half's brightness tells the label."""
    random = np.random.default_rng(0)
    folder.mkdir()
    rows = []
    for number in range(36):
        label, colour = number % 3, number // 3 % 3
        picture = random.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        picture[: SIZE // 2, :, colour] += 150
        picture[SIZE // 2 :] += np.uint8(90 * label)
        Image.fromarray(picture).save(folder / f"{number}.png")
        rows.append(
            {
                "id": str(number),
                "image_path": str(folder / f"{number}.png"),
                "label": LABELS[label],
                "split": ("train", "train", "train", "validation")[number // 9],
                "colour": COLOURS[colour],
                "title": f"Brand {number} {COLOURS[colour]} {LABELS[label]}" if number % 5 else "",
            }
        )
    unknown = {"picture_sha256": "", "picture_size": 0, "picture_mtime_ns": 0}
    return with_true_hashes(pd.DataFrame(rows).assign(**unknown))


def build_backbone() -> keras.Model:
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    pooled = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 255)(images))
    features = keras.layers.Dense(12, activation="tanh", name="mix")(keras.layers.Flatten()(pooled))
    backbone = keras.Model(images, keras.layers.BatchNormalization(dtype="float32")(features), name="hub_vit")
    random = np.random.default_rng(0)
    backbone.get_layer("mix").set_weights([random.normal(0, 0.7, (12, 12)), np.zeros(12)])
    return backbone


def open_run(items: pd.DataFrame, workdir: Path, words: Any, options: dict[str, Any]) -> RunContext:
    precision, distribution = options.get("precision", "float32"), options.get("distribution", "none")
    keras.config.set_dtype_policy(precision)
    settings = {
        "model.names": ["hub_vit"],
        "model.hub_vit.handle": "unused",
        "model.image_size": SIZE,
        "model.head": "linear",
        "model.embedding_dim": 8,
        "train.precision": precision,
        "train.distribution": distribution,
        "words": words,
    }
    config = load_config(None, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    run = RunContext(config, workdir, build_strategy(distribution))
    with run.strategy.scope():
        vars(run).update(items=items, pretrained={"hub_vit": build_backbone()})
    return run


def interrupting(epoch: int) -> Any:
    """Sends Ctrl-C when the texts of an epoch are drawn for the first time."""
    sample, drawn = ItemTexts.sample, []

    def draw(texts: ItemTexts, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
        if len(rows) > 9:  # not those of the validation
            drawn.append(rows)
            if len(drawn) == epoch:
                signal.raise_signal(signal.SIGINT)
        return sample(texts, rows, rng)

    return mock.patch.object(ItemTexts, "sample", draw)


def train(items: pd.DataFrame, workdir: Path, words: Any, **options: Any) -> dict[str, Any]:
    """Trains and tells what is there then."""
    run = open_run(items, workdir, words, options)
    before = [weight.numpy() for weight in run.pretrained["hub_vit"].weights]
    train_models(run)
    folder = run.checkpoints("hub_vit")
    after = [weight.numpy() for weight in run.pretrained["hub_vit"].weights]
    progress = read_progress(folder / MODEL_FILE)
    told: dict[str, Any] = {
        "image_key": progress and progress.key,
        "restored": all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)),
        "written": {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.keras")},
        "stages": sorted(path.parent.name for path in folder.glob("*/last.keras")),
    }
    stages = (read_progress(path) for path in sorted(folder.glob("words-*/last.keras")))
    told["history"] = [[{k: v for k, v in row.items() if k != "seconds"} for row in s.history] for s in stages if s]
    if (folder / WORDS_FILE).exists():
        encoder = load_text_encoder(folder / WORDS_FILE)
        told["facts"] = {
            key: value for key, value in read_record(folder / WORDS_FILE).items() if key != "random_states"
        }
        told["asked"] = encoder.encode(ASKED).tolist()
        told["optimiser"] = hasattr(encoder, "optimizer") and encoder.optimizer is not None
        model = load_model(folder / MODEL_FILE)
        pictures = np.stack([np.asarray(Image.open(path)) for path in items["image_path"]])
        told["pictures"] = np.asarray(model(pictures)["embedding"]).tolist()
    return told


def write_preset(folder: Path, tokenizer: Any) -> Any:
    """A CLIP model of one layer, as wide as the embeddings."""
    import keras_hub

    sizes = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "intermediate_dim": 32}
    pictures = keras_hub.models.CLIPVisionEncoder(patch_size=16, image_shape=(SIZE, SIZE, 3), **sizes)
    texts = keras_hub.models.CLIPTextEncoder(
        tokenizer.vocabulary_size(), embedding_dim=16, max_sequence_length=12, **sizes
    )
    clip = keras_hub.models.CLIPBackbone(pictures, texts, 8)
    clip.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return clip


def from_preset(items: pd.DataFrame, root: Path, tokenizer: Any) -> dict[str, Any]:
    """A preset's text tower as it is, and what the preset itself makes of the same texts."""
    clip = write_preset(root / "preset", tokenizer)
    encoder = {"length": 12, "preset": str(root / "preset")}
    words = {**WORDS, "encoder": encoder, "locked": {"epochs": 0}}
    told = train(items, root / "from preset", words)
    tokens = load_text_encoder(root / "from preset" / "checkpoints" / "hub_vit" / WORDS_FILE).tokenize(ASKED)
    own = np.asarray(clip.get_text_embeddings(tokens))
    return {**told, "own": (own / np.linalg.norm(own, axis=1, keepdims=True)).tolist()}


def run_all(root: Path) -> dict[str, Any]:
    items = draw_items(root / "pictures")
    answers: dict[str, Any] = {}
    answers["locked"] = train(items, root / "locked", WORDS)
    answers["again"] = train(items, root / "locked", WORDS)
    with interrupting(epoch=2):
        try:
            train(items, root / "stopped", WORDS)
        except KeyboardInterrupt:
            answers["stopped"] = sorted(path.name for path in (root / "stopped" / "checkpoints").rglob("*.keras"))
    answers["resumed on two devices"] = train(items, root / "stopped", WORDS, distribution="mirrored")
    shutil.copytree(root / "locked", root / "full")  # with the files' times
    answers["full"] = train(items, root / "full", FULL)
    answers["full again"] = train(items, root / "full", FULL)
    answers["nothing gained"] = train(items, root / "full", {**FULL, "full": {**FULL["full"], "interpolation": [0.0]}})
    answers["no words"] = train(items, root / "locked", None)
    tokenizer = load_text_encoder(root / "full" / "checkpoints" / "hub_vit" / WORDS_FILE).tokenizer
    answers["preset"] = from_preset(items, root, tokenizer)
    sigmoid = {**WORDS, "loss": "sigmoid", "locked": {**WORDS["locked"], "batch_size": 256}}
    answers["sigmoid in bfloat16"] = train(items, root / "sigmoid", sigmoid, precision="mixed_bfloat16")
    return answers


def main(folder: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    print(json.dumps(run_all(Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1])
