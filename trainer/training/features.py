"""Features of frozen backbones: computed once a picture, kept on disk, never served stale."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from trainer.data.items import IMAGE_PATH, PICTURE_SHA256
from trainer.data.pipeline import DECODING_VERSION, read_pictures
from trainer.data.row_store import RowStore, row_key

__all__ = ["MIRRORED", "PLAIN", "FeatureRows", "FeatureStores", "backbone_digest", "extraction_environment"]

_log = logging.getLogger(__name__)

PLAIN = "plain"
MIRRORED = "mirrored"


@dataclass(frozen=True)
class FeatureRows:
    """Features of some pictures by one backbone.

    Attributes:
        array: float32 `[M, F]`, all that the backbone has computed so far; mapped from disk.
        rows: int64 `[N]`, where in `array` each asked-for picture is.
    """

    array: np.ndarray
    rows: np.ndarray

    @property
    def width(self) -> int:
        """F."""
        return int(self.array.shape[1])

    def read(self, places: np.ndarray | slice | None = None) -> np.ndarray:
        """Features float32 `[n, F]` of the asked-for pictures at those places; all of them by default."""
        rows = self.rows if places is None else self.rows[places]
        return np.asarray(self.array[rows])


def extraction_environment() -> str:
    """What features depend on beside backbone and picture: how pictures are decoded, and the libraries."""
    return f"{DECODING_VERSION} {tf.__version__} {keras.__version__}"


def backbone_digest(backbone: keras.Model) -> str:
    """Digest of all that a backbone's features depend on: its layers, its weights, its precision, the libraries."""
    digest = hashlib.sha256(extraction_environment().encode())
    layers = [(type(layer).__name__, _settings(layer)) for layer in _flatten(backbone)]
    digest.update(json.dumps(layers, sort_keys=True, default=str).encode())
    for weight in backbone.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def _settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """What a layer computes. Its name counts the layers made before it, and its freezing is training's affair."""
    settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable")}
    return {**settings, "graph": getattr(layer, "graph_digest", None)}


def _flatten(model: keras.Model) -> list[keras.layers.Layer]:
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        found += _flatten(layer) if isinstance(layer, keras.Model) else [layer]
    return found


class FeatureStores:
    """The feature caches of a work directory, one store a backbone.

    Args:
        root: their folder.
        batch_size: pictures in one batch of extraction.
    """

    def __init__(self, root: str | Path, batch_size: int = 32) -> None:
        self.root = Path(root)
        self.batch_size = batch_size
        self._forward: dict[tuple[str, ...], tuple[Mapping[str, keras.Model], Any]] = {}

    def features(
        self, backbones: Mapping[str, keras.Model], items: pd.DataFrame, view: str = PLAIN
    ) -> dict[str, FeatureRows]:
        """Features of the items by each backbone, computing what is not there yet.

        The pictures are decoded once for all backbones. What is computed is on disk after every batch, so that an
        interrupted extraction goes on where it was.

        Args:
            backbones: by name; uint8 pictures in, float32 `[B, F]` out.
            items: needs the columns `image_path` and `picture_sha256`, the latter true to the file
                (see `trainer.data.freshness`).
            view: `plain`, or `mirrored` for the pictures flipped left to right.

        Returns:
            For each backbone, features in the order of the items.

        Raises:
            InputError: a picture can no longer be read, or the folder cannot be written.
        """
        keys = [row_key(sha, view) for sha in items[PICTURE_SHA256]]
        stores = {
            name: self._store(backbone_digest(backbone), int(backbone.output_shape[-1]))
            for name, backbone in backbones.items()
        }
        with contextlib.ExitStack() as locks:
            for store in {id(store): store for store in stores.values()}.values():
                locks.enter_context(store.lock())
            self._fill(backbones, stores, items, keys, view)
        return {name: FeatureRows(store.array, store.rows(keys)) for name, store in stores.items()}

    def cached(
        self, digests: Mapping[str, str], widths: Mapping[str, int], items: pd.DataFrame, view: str = PLAIN
    ) -> dict[str, FeatureRows] | None:
        """Features that are all on disk already, found without the backbones themselves.

        Args:
            digests: `backbone_digest` of each backbone, by name.
            widths: F of each, by name.
            items: as for `features`.
            view: as for `features`.

        Returns:
            As `features`, or `None` where any is missing.
        """
        keys = [row_key(sha, view) for sha in items[PICTURE_SHA256]]
        found = {}
        for name, digest in digests.items():
            store = self._store(digest, widths[name]) if self._folder(digest).is_dir() else None
            if store is None or len(store.missing(keys)):
                return None
            found[name] = FeatureRows(store.array, store.rows(keys))
        return found

    def _folder(self, digest: str) -> Path:
        return self.root / digest[:32]

    def _store(self, digest: str, width: int) -> RowStore:
        return RowStore(self._folder(digest), (width,), np.float32)

    def _fill(
        self,
        backbones: Mapping[str, keras.Model],
        stores: Mapping[str, RowStore],
        items: pd.DataFrame,
        keys: Sequence[bytes],
        view: str,
    ) -> None:
        missing = {name: store.missing(keys) for name, store in stores.items()}
        together: dict[tuple[int, ...], list[str]] = {}
        for name, places in missing.items():
            if len(places):
                together.setdefault(tuple(places), []).append(name)
        for chosen, names in together.items():
            run = self._extraction({name: backbones[name] for name in names}, view)
            paths = items[IMAGE_PATH].iloc[list(chosen)].tolist()
            size = items_size(backbones[names[0]])
            with tqdm(total=len(paths), desc=f"features of {', '.join(names)} ({view})", unit="picture") as bar:
                for batch in read_pictures(paths, size, self.batch_size):
                    rows = batch["row"].numpy()
                    for name, values in run(batch["image"]).items():
                        stores[name].append([keys[chosen[row]] for row in rows], values.numpy())
                    bar.update(len(rows))

    def _extraction(self, backbones: Mapping[str, keras.Model], view: str) -> Any:
        """The backbones' forward passes as one graph; the last one made for these names is kept."""
        key = (view, *backbones)
        known, forward = self._forward.get(key, ({}, None))
        if forward is None or any(known[name] is not backbone for name, backbone in backbones.items()):
            size = items_size(next(iter(backbones.values())))

            def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
                if view == MIRRORED:
                    images = tf.reverse(images, axis=[2])
                return {name: backbone(images, training=False) for name, backbone in backbones.items()}

            forward = tf.function(run, input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)])
            self._forward[key] = (backbones, forward)
        return forward


def items_size(backbone: keras.Model) -> int:
    """Height and width in pixels of the pictures that a backbone takes."""
    return int(backbone.input_shape[1])
