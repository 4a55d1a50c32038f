"""A small encoder as it was exported before, and catalogues to embed with it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf
from PIL import Image

from export.config import BatchingConfig
from export.manifest import write_manifest
from export.model_config import write_batching
from export.pictures import decode_pictures
from export.text.text_side import TextSide
from serving.contract import EMBED_IMAGES, EMBED_TEXTS, Manifest
from trainer.models.text_encoder import TextEncoder

SIDE, DIMENSION = 4, 6
HEAD = ["id", "image_path", "label", "colour"]


class StandInEncoder(tf.Module):
    """Projects pixels; enough for a signature that reads picture bytes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        draw = np.random.default_rng(seed).normal(size=(SIDE * SIDE * 3, DIMENSION))
        self.projection = tf.Variable(draw.astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def embed_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.reshape(decode_pictures(image_bytes, SIDE), (-1, SIDE * SIDE * 3))
        vectors = tf.matmul(tf.cast(pixels, tf.float32) - 127.5, self.projection)
        return {
            "embedding": tf.math.l2_normalize(vectors, axis=1),
            "fingerprint": tf.fill(tf.shape(vectors)[:1], "abc"),
        }


def write_encoder(folder: Path, words: TextEncoder | None = None, **changes: Any) -> None:
    module = StandInEncoder()
    function = module.embed_images.get_concrete_function()
    signatures = {"serving_default": function, EMBED_IMAGES: function}
    if words is not None:
        module.side = side = TextSide(words)
        text = tf.TensorSpec((None,), tf.string, name="text")
        embed_texts = tf.function(lambda text: {"embedding": side.embed(text)}, input_signature=[text])
        signatures[EMBED_TEXTS] = embed_texts.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures=signatures)
    write_batching(folder, BatchingConfig(allowed_batch_sizes=(1, 3), batch_timeout_micros=7), "fused")
    facts = {
        "kind": "encoder",
        "name": "fused",
        "created": "2026-01-01T00:00:00+00:00",
        "libraries": {},
        "target": "cpu",
        "signatures": tuple(name for name in signatures if name != "serving_default"),
        "embedding_dim": DIMENSION,
        "precision": "float32",
        "fingerprint": "abc",
        "preprocessing": {"image_size": SIDE, "max_pixels": 10_000},
    }
    write_manifest(folder, Manifest(**(facts | changes)))


def picture(folder: Path, name: str, seed: int) -> str:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((12, 12)).save(folder / name)
    return name


def write_csv(path: Path, head: Sequence[str], *rows: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
    return path


def catalogue_csv(folder: Path, count: int = 5) -> Path:
    rows = [
        (f"p{n}", picture(folder, f"{n}.png", n), ("shirt", "shoe")[n % 2], ("red", "green", "blue")[n % 3])
        for n in range(count)
    ]
    return write_csv(folder / "catalogue.csv", HEAD, *rows)
