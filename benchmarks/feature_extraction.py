"""Whether reading pictures keeps up with the models: extraction from files to disk against the bare model.

    python -m benchmarks.feature_extraction --pictures data/fashion-products/images \
        --weights imagenet --handle models/vit_base16

Both sides run in short turns in one process, since a machine's speed drifts: the bare models called on a batch that
lies ready in memory, and `FeatureStores.features`, which opens, decodes, batches, computes and writes. Medians over the
turns of pictures a second and of the ratio. Without `--pictures` the project's demo catalogue is drawn; without
`--handle` only ResNet50 is asked.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.data.demo import draw_catalogue
from trainer.data.items import IMAGE_PATH, PICTURE_SHA256
from trainer.data.pipeline import picture_batches
from trainer.models.hub_vit import build_hub_vit
from trainer.models.resnet50 import build_resnet50
from trainer.training.features import FeatureStores


def compiled(backbones: dict[str, keras.Model]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The bare models as one graph, as extraction runs them."""
    size = int(next(iter(backbones.values())).input_shape[1])
    return tf.function(
        lambda batch: {name: model(batch, training=False) for name, model in backbones.items()},
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)],
    )


def ready_tensors(models: Callable[[tf.Tensor], dict[str, tf.Tensor]], images: tf.Tensor, batches: int) -> float:
    """Pictures a second of the bare models, called on one batch again and again."""
    begun = time.perf_counter()
    for _ in range(batches):
        for value in models(images).values():
            value.numpy()
    return batches * int(images.shape[0]) / (time.perf_counter() - begun)


class TimedStores(FeatureStores):
    """Times the filling of the stores: the graph and the digest of the weights are made once a call, not a picture."""

    seconds = 0.0

    def _fill(self, *arguments: Any) -> None:
        begun = time.perf_counter()
        super()._fill(*arguments)
        self.seconds = time.perf_counter() - begun

    def rate(self, backbones: dict[str, keras.Model], items: pd.DataFrame) -> float:
        """Pictures a second from files to disk."""
        self.features(backbones, items)
        return len(items) / self.seconds


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="folder of .jpg files")
    parser.add_argument("--weights", default="none", help="of ResNet50: imagenet, none or a path")
    parser.add_argument("--handle", help="of the ViT: see model.hub_vit.handle")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4, help="of one turn")
    parser.add_argument("--repeats", type=int, default=11, help="turns of either side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Runs both sides in turns for each set of backbones and prints the table."""
    pictures = options.pictures or draw_catalogue(folder / "catalogue", image_size=options.image_size).parent / "images"
    wanted = options.batches * options.batch_size
    paths = [str(path) for path in sorted(pictures.glob("*.jpg"))[:wanted]]
    items = pd.DataFrame({IMAGE_PATH: paths, PICTURE_SHA256: paths})
    batch_norm: Literal["train", "frozen"] = "train" if options.weights == "none" else "frozen"
    every = {"resnet50": build_resnet50(options.weights, options.image_size, batch_norm)}
    if options.handle:
        every["hub_vit"] = build_hub_vit(options.handle, options.image_size)
    images = next(iter(picture_batches(paths, options.image_size, options.batch_size)))["image"]
    print(f"{'backbones':<20}{'bare, pictures/s':>18}{'from files':>14}{'ratio':>8}")
    for names in [[name] for name in every] + ([list(every)] if len(every) > 1 else []):
        backbones = {name: every[name] for name in names}
        stores = TimedStores(folder / "traced", options.batch_size)
        stores.rate(backbones, items.iloc[: options.batch_size])
        bare_models = compiled(backbones)
        ready_tensors(bare_models, images, 1)
        bare, extracted = [], []
        for repeat in range(options.repeats):
            bare.append(ready_tensors(bare_models, images, options.batches))
            stores.root = folder / f"{'-'.join(names)}-{repeat}"
            extracted.append(stores.rate(backbones, items))
        ratio = statistics.median(np.divide(extracted, bare))
        print(
            f"{' + '.join(names):<20}{statistics.median(bare):>18.1f}"
            f"{statistics.median(extracted):>14.1f}{ratio:>8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
