"""Queries as they would be asked with spoilt pictures: embedded once, and kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from trainer.config.robustness import CorruptionName
from trainer.data.corruptions import CORRUPTIONS_VERSION, corrupt_picture
from trainer.data.items import ID, IMAGE_PATH, LABEL, PICTURE_SHA256
from trainer.data.pipeline import resize_picture
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable
from trainer.training.encoding import PREDICTED_LABEL
from trainer.training.picture_encoder import PictureEncoder
from trainer.training.run_context import RunContext, digest

__all__ = ["APPLIED", "corrupted_queries", "read_reduced"]

APPLIED = "applied"
_FOLDER = "robustness"


def corrupted_queries(
    run: RunContext, name: str, encoder: PictureEncoder, items: pd.DataFrame, corruption: CorruptionName, strength: int
) -> EmbeddingTable:
    """Embeddings of items whose pictures have been through a corruption.

    They are kept as `robustness/<model>/<corruption>-<strength>-<key>.parquet`, where the key covers the model, the
    pictures and the corruption: a second call, or one after an interruption, reads what was finished.

    Args:
        run: see `RunContext`.
        name: of the model.
        encoder: of the model.
        items: N of the run's items.
        corruption, strength: see `corrupt_picture`.

    Returns:
        Embeddings `[N, D]` in the order of the items, with the attributes `label`, `predicted_label`, and `applied`:
        false where the corruption does not apply to the picture, which then is as it was.

    Raises:
        InputError: a picture can no longer be read, or the folder cannot be written.
    """
    pictures = [items[column].tolist() for column in (ID, PICTURE_SHA256)]
    settings = (corruption, strength, CORRUPTIONS_VERSION, run.config.seed, run.config.model.image_size)
    folder, stem = run.workdir / _FOLDER / name, f"{corruption}-{strength}-"
    path = folder / f"{stem}{digest(encoder.digest, pictures, settings)}.parquet"
    if not path.is_file():
        applied: list[bool] = []
        batches = _batches(run, items, corruption, strength, applied)
        encoded = encoder.encode(batches, len(items), f"{name}: {corruption} {strength}")
        attributes = {LABEL: items[LABEL].to_numpy(), PREDICTED_LABEL: encoded.predicted_labels}
        table = EmbeddingTable(items[ID].to_numpy(), encoded.embeddings, {**attributes, APPLIED: np.array(applied)})
        table.write_parquet(path)
    for other in folder.glob(f"{stem}*.parquet"):
        if other != path:
            other.unlink()
    kept = EmbeddingTable.read_parquet(path)
    return EmbeddingTable(kept.ids, kept.vectors, {**kept.attributes, LABEL: items[LABEL].to_numpy()})


def read_reduced(path: str | Path, image_size: int) -> np.ndarray:
    """A picture, decoded as everywhere, its shorter side reduced to `image_size` where it is longer.

    Returns:
        uint8 `[H, W, 3]`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        image = tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        reason = " ".join(str(error.message).split())[:200]
        raise InputError(f"prepare could read {path}, it cannot be read now ({reason}); run prepare again") from error
    scale = image_size / min(image.shape[:2])
    if scale >= 1.0:
        return image
    width, height = (max(image_size, round(scale * side)) for side in (image.shape[1], image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _batches(
    run: RunContext, items: pd.DataFrame, corruption: CorruptionName, strength: int, applied: list[bool]
) -> Iterator[np.ndarray]:
    """Pictures uint8 `[b, S, S, 3]`; whether each could be corrupted is appended to `applied`."""
    size, batch_size = run.config.model.image_size, run.config.train.extraction_batch_size
    paths, ids = items[IMAGE_PATH].tolist(), items[ID].tolist()

    def read(row: int) -> tuple[np.ndarray, bool]:
        picture = read_reduced(paths[row], size)
        spoilt = corrupt_picture(picture, corruption, strength, seed=run.config.seed, identity=ids[row])
        return resize_picture(tf.constant(picture if spoilt is None else spoilt), size).numpy(), spoilt is not None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), batch_size):
            pictures, done = zip(*pool.map(read, range(start, min(start + batch_size, len(paths)))), strict=True)
            applied += done
            yield np.stack(pictures)
