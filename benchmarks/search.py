"""Where the time of a search goes: picture bytes to items through one exported graph, and through its parts.

    python -m benchmarks.search --model RUN/checkpoints/fused/best.keras --pictures data/fashion-products/images

Decoding, encoding and the lookup are graphs of their own here, and `search_images` is all of them as it is served, from
a SavedModel that was loaded again. All run in turns in one process; medians in milliseconds. The table of items is
random, as large as `--items` says. Without `--model` a ResNet50 of random weights is asked, without `--pictures` the
project's demo catalogue is drawn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from export.config import IndexConfig
from export.encoder import Encoder
from export.index import build_index
from export.lookup import Lookup
from export.search import Search
from export.table_rows import TableRows
from serving.contract import EMBEDDING, IMAGE_BYTES, LOOKUP, SEARCH_IMAGES
from trainer.data.demo import draw_catalogue
from trainer.models.head import build_head, compose
from trainer.models.resnet50 import build_resnet50
from trainer.training.checkpoint import load_model, read_record

TOP_K = 50


def load(path: Path | None) -> keras.Model:
    """The model to ask."""
    if path is not None:
        return load_model(path)
    backbone = build_resnet50("none", 224, "train")
    return compose({"resnet50": backbone}, build_head({"resnet50": 5632}, 10), 224, "resnet50")


def random_lookup(encoder: Encoder, items: int) -> Lookup:
    """Over random unit vectors."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((items, encoder.embedding_dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    colours = np.array(["red", "green", "blue"])[random.integers(0, 3, items)]
    rows = TableRows.from_arrays(np.arange(items).astype(str), vectors, {"colour": colours})
    index = build_index(IndexConfig())
    index.index(rows)
    top_k = min(TOP_K, items)
    return Lookup(
        rows, index, top_k=top_k, filterable=("colour",), fingerprint=encoder.fingerprint, table_fingerprint="random"
    )


def parts(encoder: Encoder, lookup: Lookup, folder: Path, contents: tf.Tensor) -> dict[str, Callable[[], Any]]:
    """What is timed, each with its inputs ready."""
    search = Search(encoder, lookup)
    tf.saved_model.save(search, str(folder), signatures=search.signatures())
    loaded = tf.saved_model.load(str(folder))
    served = loaded.signatures[SEARCH_IMAGES]
    decode = tf.function(encoder.decode, input_signature=[tf.TensorSpec((None,), tf.string)])
    size = encoder.image_size
    encode = tf.function(
        lambda pixels: encoder.encode(pixels)[EMBEDDING],
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)],
    )
    find = lookup.signatures()[LOOKUP]
    pixels = decode(contents)
    embedding = encode(pixels)

    def whole(kept: Any = loaded) -> Any:  # the signature holds the variables only weakly
        return served(**{IMAGE_BYTES: contents})

    return {
        "decode": lambda: decode(contents).numpy(),
        "encode": lambda: encode(pixels).numpy(),
        "lookup": lambda: find(**{EMBEDDING: embedding}),
        "search_images": whole,
    }


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Prints the table: a row a batch size."""
    encoder = Encoder.from_model(load(options.model), labels_of(options.model), precision=options.precision)
    lookup = random_lookup(encoder, options.items)
    pictures = options.pictures or draw_catalogue(folder / "catalogue", image_size=224).parent / "images"
    paths = sorted(pictures.glob("*.jpg"))
    names = ["decode", "encode", "lookup", "search_images"]
    print(f"{encoder.precision}, {options.items:,} items of {encoder.embedding_dim} dimensions, milliseconds")
    print(f"{'batch':>6}" + "".join(f"{name:>16}" for name in names) + f"{'pictures/s':>14}")
    for size in options.batch_sizes:
        contents = tf.constant([path.read_bytes() for path in paths[:size]])
        runners = parts(encoder, lookup, folder / f"search-{size}", contents)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for repeat in range(options.repeats + 2):
            for name in names:
                begun = time.perf_counter()
                runners[name]()
                if repeat >= 2:  # the first two turns build graphs
                    seconds[name].append(time.perf_counter() - begun)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        row = "".join(f"{medians[name] * 1000:>16.1f}" for name in names)
        print(f"{size:>6}{row}{len(contents) / medians['search_images']:>14.1f}", flush=True)


def labels_of(path: Path | None) -> list[str]:
    """Names of a finished model's classes."""
    return list(read_record(path)["labels"]) if path is not None else [str(label) for label in range(10)]


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a finished model's best.keras")
    parser.add_argument("--pictures", type=Path, help="folder of .jpg files")
    parser.add_argument("--precision", default="auto", choices=["float32", "bfloat16", "auto"])
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=11, help="turns of each part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


if __name__ == "__main__":
    main()
