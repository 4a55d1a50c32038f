"""Whether reading pictures keeps up with the models: extraction from files to disk against the bare model.

    python -m benchmarks.feature_extraction --pictures data/fashion-products/images \
        --weights imagenet --handle models/vit_base16

Both sides run in turns in one process: the bare models called on a batch that lies ready in memory, and
`FeatureStores.features`, which opens, decodes, batches, computes and writes. Medians of pictures a second. Without
`--pictures` the project's demo catalogue is drawn; without `--handle` a small ViT is made.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

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


def ready_tensors(backbones: dict[str, keras.Model], images: tf.Tensor, batches: int) -> float:
    """Pictures a second of the bare models, called together on one batch again and again."""
    size = int(images.shape[1])
    specification = tf.TensorSpec((None, size, size, 3), tf.uint8)
    run = tf.function(
        lambda batch: {name: model(batch, training=False) for name, model in backbones.items()},
        input_signature=[specification],
    )
    run(images)
    begun = time.perf_counter()
    for _ in range(batches):
        for value in run(images).values():
            value.numpy()
    return batches * int(images.shape[0]) / (time.perf_counter() - begun)


class TimedStores(FeatureStores):
    """Counts from the first batch on, as the bare side does: building the graph is not what is asked about."""

    def rate(self, backbones: dict[str, keras.Model], items: pd.DataFrame) -> float:
        """Pictures a second from files to disk."""
        self.features(backbones, items.iloc[: self.batch_size])
        begun = time.perf_counter()
        self.features(backbones, items.iloc[self.batch_size :])
        return (len(items) - self.batch_size) / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="folder of .jpg files")
    parser.add_argument("--weights", default="none", help="of ResNet50: imagenet, none or a path")
    parser.add_argument("--handle", help="of the ViT: see model.hub_vit.handle")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=12, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Runs both sides in turns for each set of backbones and prints the table."""
    pictures = options.pictures or draw_catalogue(folder / "catalogue", image_size=options.image_size).parent / "images"
    wanted = (options.batches + 1) * options.batch_size
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
        bare, extracted = [], []
        for repeat in range(options.repeats):
            bare.append(ready_tensors(backbones, images, options.batches))
            stores = TimedStores(folder / f"{'-'.join(names)}-{repeat}", options.batch_size)
            extracted.append(stores.rate(backbones, items))
        ratio = statistics.median(np.divide(extracted, bare))
        print(
            f"{' + '.join(names):<20}{statistics.median(bare):>18.1f}"
            f"{statistics.median(extracted):>14.1f}{ratio:>8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
