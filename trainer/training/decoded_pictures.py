"""Training pictures decoded once and kept on disk, since fine-tuning looks at each of them in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.data.items import IMAGE_PATH, PICTURE_SHA256
from trainer.data.pipeline import DECODING_VERSION, read_pictures
from trainer.data.row_store import RowStore, row_key

__all__ = ["DecodedPictures"]


class DecodedPictures:
    """The pictures of some items as the models take them; decodes those that are not on disk yet.

    Args:
        folder: of features and pictures; every size has a store of its own in it.
        items: needs the columns `image_path` and `picture_sha256`.
        image_size: height and width in pixels.
        batch_size: pictures decoded at a time.

    Raises:
        InputError: a picture can no longer be read, or the folder cannot be written.
    """

    def __init__(self, folder: Path, items: pd.DataFrame, image_size: int, batch_size: int) -> None:
        self._shape = (image_size, image_size, 3)
        store = RowStore(folder / f"decoded-{image_size}", self._shape, np.uint8)
        keys = [row_key(sha, str(image_size), DECODING_VERSION) for sha in items[PICTURE_SHA256]]
        with store.lock():
            missing = store.missing(keys)
            paths = items[IMAGE_PATH].iloc[missing].tolist()
            for batch in read_pictures(paths, image_size, batch_size):
                store.append([keys[missing[row]] for row in batch["row"].numpy()], batch["image"].numpy())
        self._pictures, self._rows = store.array, store.rows(keys)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """The pictures of some items by their places: uint8 `[n, image_size, image_size, 3]`."""
        return np.asarray(self._pictures[self._rows[rows]])

    def load(self, row: tf.Tensor) -> tf.Tensor:
        """The picture of one item, in a graph: uint8 `[image_size, image_size, 3]`."""
        image = tf.numpy_function(lambda place: self._pictures[self._rows[place]], [row], tf.uint8, stateful=False)
        return tf.ensure_shape(image, self._shape)
