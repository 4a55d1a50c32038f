"""Writes small exports of the contract's signatures, run as a process by the tests: `python ... OUT`.

OUT/fused_encoder/1, OUT/fused_lookup/1 and OUT/fused_search/1: 16 numbers an embedding, 60 items, K = 20, the
attributes `gender` (to filter by) and `colour`. A text is embedded as the sum of its words' vectors, found by
hashes. The same arguments write the same answers.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import contract
from serving.contract import Manifest

DIM, ITEMS, TOP_K, SIDE = 16, 60, 20, 8
CLASSES = ("Shirts", "Shoes", "Watches")
FINGERPRINT, TABLE_FINGERPRINT = "encoder-a", "table-a"
BATCH_SIZES = (1, 4, 16)
BUCKETS = 97


def constants() -> dict[str, np.ndarray]:
    """The arrays behind all three models."""
    draw = np.random.default_rng(7)
    vectors = draw.normal(size=(ITEMS, DIM)).astype(np.float32)
    return {
        "projection": draw.normal(size=(SIDE * SIDE * 3, DIM)).astype(np.float32),
        "heads": draw.normal(size=(DIM, len(CLASSES))).astype(np.float32),
        "words": np.random.default_rng(8).normal(size=(BUCKETS, DIM)).astype(np.float32),
        "vectors": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        "ids": np.array([f"item-{row}" for row in range(ITEMS)]),
        "gender": np.array([("Women", "Men", "Unisex")[row % 3] for row in range(ITEMS)]),
        "colour": np.array([("Black", "White")[row % 2] for row in range(ITEMS)]),
    }


def strings(*names: str) -> list[Any]:
    """Inputs `[B]` of these names."""
    return [tf.TensorSpec([None], tf.string, name=name) for name in names]


WEIGHT = tf.TensorSpec([None], tf.float32, name="weight")


class Encoder(tf.Module):
    """Pictures and texts to embeddings, pictures to labels."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.projection = tf.Variable(arrays["projection"])
        self.heads = tf.Variable(arrays["heads"])
        self.words = tf.Variable(arrays["words"])

    def embed(self, pixels: Any) -> Any:
        """Unit embeddings of uint8 pictures."""
        flat = tf.reshape(tf.cast(pixels, tf.float32) / 127.5 - 1.0, [-1, SIDE * SIDE * 3])
        return tf.math.l2_normalize(tf.matmul(flat, self.projection), axis=1)

    def decode(self, image_bytes: Any) -> Any:
        """uint8 pictures of picture files."""

        def one(content: Any) -> Any:
            picture = tf.io.decode_image(content, channels=3, expand_animations=False)
            return tf.cast(tf.round(tf.image.resize(picture, [SIDE, SIDE])), tf.uint8)

        return tf.map_fn(one, image_bytes, fn_output_signature=tf.TensorSpec([SIDE, SIDE, 3], tf.uint8))

    def read(self, text: Any) -> Any:
        """Unit embeddings of texts; a text without a word is the first bucket's vector."""
        words = tf.strings.split(tf.strings.lower(text, "utf-8"))
        known = tf.ragged.map_flat_values(lambda flat: tf.strings.to_hash_bucket_fast(flat, BUCKETS), words)
        summed = tf.reduce_sum(tf.gather(self.words, known), axis=1)
        return tf.math.l2_normalize(tf.where(words.row_lengths()[:, None] > 0, summed, self.words[0]), axis=1)

    @tf.function(input_signature=strings("image_bytes"))
    def embed_images(self, image_bytes: Any) -> dict[str, Any]:
        """The signature."""
        return {"embedding": self.embed(self.decode(image_bytes)), "fingerprint": marks(image_bytes, FINGERPRINT)}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8, name="pixels")])
    def embed_pixels(self, pixels: Any) -> dict[str, Any]:
        """The signature."""
        return {"embedding": self.embed(pixels), "fingerprint": marks(pixels, FINGERPRINT)}

    @tf.function(input_signature=strings("text"))
    def embed_texts(self, text: Any) -> dict[str, Any]:
        """The signature."""
        return {"embedding": self.read(text), "fingerprint": marks(text, FINGERPRINT)}

    @tf.function(input_signature=strings("image_bytes"))
    def classify_images(self, image_bytes: Any) -> dict[str, Any]:
        """The signature."""
        logits = tf.matmul(self.embed(self.decode(image_bytes)), self.heads)
        best = tf.math.top_k(tf.nn.softmax(logits), len(CLASSES))
        return {
            "labels": tf.gather(tf.constant(CLASSES), best.indices),
            "scores": best.values,
            "fingerprint": marks(image_bytes, FINGERPRINT),
        }


class Lookup(tf.Module):
    """Embeddings to items."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.vectors = tf.Variable(arrays["vectors"])
        self.columns = {name: tf.Variable(arrays[name], trainable=False) for name in ("ids", "gender", "colour")}

    def answer(self, embedding: Any, gender: Any = None) -> dict[str, Any]:
        """The K nearest items."""
        scores = tf.matmul(tf.math.l2_normalize(embedding, axis=1), self.vectors, transpose_b=True)
        if gender is not None:
            wanted = tf.strings.split(gender, contract.FILTER_SEPARATOR).to_tensor("\0")
            rows = tf.reduce_any(wanted[:, :, None] == self.columns["gender"][None, None, :], axis=1)
            scores = tf.where(rows | (gender == "")[:, None], scores, -np.inf)
        best = tf.math.top_k(scores, TOP_K)
        found = tf.math.is_finite(best.values)
        columns = {name: tf.where(found, tf.gather(column, best.indices), "") for name, column in self.columns.items()}
        fingerprints = {
            "fingerprint": marks(embedding, FINGERPRINT),
            "table_fingerprint": marks(embedding, TABLE_FINGERPRINT),
        }
        return {"scores": best.values, **columns, **fingerprints}

    @tf.function(input_signature=[tf.TensorSpec([None, DIM], tf.float32, name="embedding")])
    def lookup(self, embedding: Any) -> dict[str, Any]:
        """The signature."""
        return self.answer(embedding)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, DIM], tf.float32, name="embedding"),
            tf.TensorSpec([None], tf.string, name="gender"),
        ]
    )
    def lookup_filtered(self, embedding: Any, gender: Any) -> dict[str, Any]:
        """The signature."""
        return self.answer(embedding, gender)


class Search(tf.Module):
    """Pictures, texts, or both, to items."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.encoder, self.table = Encoder(arrays), Lookup(arrays)

    def pictures(self, image_bytes: Any, gender: Any = None) -> dict[str, Any]:
        """Items for pictures."""
        return self.table.answer(self.encoder.embed(self.encoder.decode(image_bytes)), gender)

    def both(self, image_bytes: Any, text: Any, weight: Any, gender: Any = None) -> dict[str, Any]:
        """Items for pictures changed by texts."""
        pictures, texts = self.encoder.embed(self.encoder.decode(image_bytes)), self.encoder.read(text)
        return self.table.answer((1.0 - weight[:, None]) * pictures + weight[:, None] * texts, gender)

    @tf.function(input_signature=strings("image_bytes"))
    def search_images(self, image_bytes: Any) -> dict[str, Any]:
        """The signature."""
        return self.pictures(image_bytes)

    @tf.function(input_signature=strings("image_bytes", "gender"))
    def search_images_filtered(self, image_bytes: Any, gender: Any) -> dict[str, Any]:
        """The signature."""
        return self.pictures(image_bytes, gender)

    @tf.function(input_signature=strings("text"))
    def search_texts(self, text: Any) -> dict[str, Any]:
        """The signature."""
        return self.table.answer(self.encoder.read(text))

    @tf.function(input_signature=strings("text", "gender"))
    def search_texts_filtered(self, text: Any, gender: Any) -> dict[str, Any]:
        """The signature."""
        return self.table.answer(self.encoder.read(text), gender)

    @tf.function(input_signature=[*strings("image_bytes", "text"), WEIGHT])
    def search_images_and_texts(self, image_bytes: Any, text: Any, weight: Any) -> dict[str, Any]:
        """The signature."""
        return self.both(image_bytes, text, weight)

    @tf.function(input_signature=[*strings("image_bytes", "text"), WEIGHT, *strings("gender")])
    def search_images_and_texts_filtered(self, image_bytes: Any, text: Any, weight: Any, gender: Any) -> dict[str, Any]:
        """The signature."""
        return self.both(image_bytes, text, weight, gender)


def marks(rows: Any, text: str) -> Any:
    """One text for every row."""
    return tf.fill([tf.shape(rows)[0]], text)


def inputs_of(signature: str, size: int) -> dict[str, Any]:
    """A batch that a signature takes."""
    picture = tf.io.encode_png(tf.fill([SIDE, SIDE, 3], tf.constant(90, tf.uint8))).numpy()
    values: dict[str, Any] = {}
    if signature.startswith("lookup"):
        values["embedding"] = np.eye(1, DIM, dtype=np.float32).repeat(size, axis=0)
    elif signature == "embed_pixels":
        values["pixels"] = np.full((size, SIDE, SIDE, 3), 90, np.uint8)
    if "images" in signature:
        values["image_bytes"] = np.array([picture] * size, object)
    if "texts" in signature:
        values["text"] = np.array([b"navy shirt"] * size, object)
    if "images_and_texts" in signature:
        values["weight"] = np.full(size, 0.5, np.float32)
    if signature.endswith("filtered"):
        values["gender"] = np.array([b"Women"] * size, object)
    return values


def write_extras(folder: Path, kind: contract.Kind) -> None:
    """Warm-up records, batching parameters and, last, the manifest with the digests of all files."""
    extra = folder / contract.ASSETS_EXTRA
    extra.mkdir()
    with tf.io.TFRecordWriter(str(folder / contract.WARMUP_FILE)) as writer:
        for signature in contract.SIGNATURES[kind]:
            for size in BATCH_SIZES:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = contract.served_name("fused", kind)
                request.model_spec.signature_name = signature
                for name, value in inputs_of(signature, size).items():
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                writer.write(log.SerializeToString())
    sizes = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    (folder / contract.BATCHING_FILE).write_text(
        f"max_batch_size {{ value: {BATCH_SIZES[-1]} }}\nbatch_timeout_micros {{ value: 1000 }}\n"
        f"max_enqueued_batches {{ value: 64 }}\nnum_batch_threads {{ value: 2 }}\n{sizes}\n"
    )
    table, pictures = kind != "encoder", kind != "lookup"
    manifest = Manifest(
        kind=kind,
        name="fused",
        created="2026-01-01T00:00:00Z",
        libraries={"tensorflow": tf.__version__},
        target="cpu",
        signatures=contract.SIGNATURES[kind],
        embedding_dim=DIM,
        precision="float32",
        fingerprint=FINGERPRINT,
        preprocessing={"image_size": [SIDE, SIDE]} if pictures else {},
        labels=CLASSES if pictures else (),
        table_fingerprint=TABLE_FINGERPRINT if table else "",
        item_count=ITEMS if table else 0,
        top_k=TOP_K if table else len(CLASSES),
        attributes=("gender", "colour") if table else (),
        filterable=("gender",) if table else (),
        words={"tokenizer": "white space", "ops": "stock", "vocabulary_size": BUCKETS} if pictures else {},
        files={
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
    (folder / contract.MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")


def main(out: Path) -> None:
    """Writes all three models."""
    arrays = constants()
    modules: dict[contract.Kind, tf.Module] = {
        "encoder": Encoder(arrays),
        "lookup": Lookup(arrays),
        "search": Search(arrays),
    }
    for kind, module in modules.items():
        names = contract.SIGNATURES[kind]
        signatures = {name: getattr(module, name) for name in names}
        folder = out / contract.served_name("fused", kind) / "1"
        tf.saved_model.save(
            module, str(folder), signatures={contract.SERVING_DEFAULT: signatures[names[0]], **signatures}
        )
        write_extras(folder, kind)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
