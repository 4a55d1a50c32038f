"""Writes the models that the conformance suite asks: `python contract_exports_program.py OUT [BASE]`.

BASE is where the server will find OUT (`/models` in a container; default OUT itself); it goes into OUT/models.config.

- `pair`: two inputs; versions 1, 2 and 3, of which 1 (label `stable`) and 2 (label `canary`) are wanted; not batched.
- `slow`: one input of any width, batched by 4, one thread; takes about 0.1 ms times the first number.
- `collapsed`: batched; its output has lost the batch's dimension.
- `words`: texts and numbers, batched as `slow` is; takes as long as the greatest number says.
- `examples`: `tf.Example`s; signatures to classify and to regress with.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

BATCHING = """max_batch_size { value: 4 }
batch_timeout_micros { value: 50000 }
max_enqueued_batches { value: 2 }
num_batch_threads { value: 1 }
allowed_batch_sizes: 2
allowed_batch_sizes: 4
"""
CONFIG = """model_config_list {
  config {
    name: "pair"
    base_path: "BASE/pair"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
  config { name: "slow" base_path: "BASE/slow" model_platform: "tensorflow" }
  config { name: "words" base_path: "BASE/words" model_platform: "tensorflow" }
  config { name: "collapsed" base_path: "BASE/collapsed" model_platform: "tensorflow" }
  config { name: "examples" base_path: "BASE/examples" model_platform: "tensorflow" }
}
"""


class Pair(tf.Module):
    """Two inputs, three outputs."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.Variable(version, dtype=tf.int64)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="a"),
            tf.TensorSpec([None, 2], tf.float32, name="b"),
        ]
    )
    def add(self, a: Any, b: Any) -> dict[str, Any]:
        """Sum, difference, and who answered."""
        rows = tf.shape(a)[0]
        return {"sum": a + b, "difference": a - b, "version": tf.fill([rows], self.version)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def length(self, texts: Any) -> dict[str, Any]:
        """Lengths of texts, and the texts."""
        return {"lengths": tf.strings.length(texts), "texts": tf.identity(texts)}


def nothing_slowly(steps: Any) -> Any:
    """0, after work of about 0.1 ms times the greatest of some numbers."""
    most = tf.cast(tf.reduce_max(steps), tf.int32)
    work = tf.while_loop(
        lambda step, square: step < most,
        lambda step, square: (step + 1, tf.math.l2_normalize(tf.matmul(square, square), axis=1)),
        [tf.constant(0), tf.fill([128, 128], steps[0] * 0.001)],
    )[1]
    return 0.0 * tf.reduce_sum(tf.where(tf.math.is_finite(work), work, 0.0))


class Slow(tf.Module):
    """Works as long as it is told to."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def spin(self, x: Any) -> dict[str, Any]:
        """Twice the input, after some work."""
        return {"doubled": 2.0 * x + nothing_slowly(x[:, 0])}


class Words(tf.Module):
    """A text and a number each."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None], tf.float32, name="weight"),
        ]
    )
    def weigh(self, text: Any, weight: Any) -> dict[str, Any]:
        """The text in capitals, its characters times the number, and how many rows ran together."""
        characters = tf.cast(tf.strings.length(text, "UTF8_CHAR"), tf.float32)
        rows = tf.shape(text)
        return {
            "upper": tf.strings.upper(text, "utf-8"),
            "weighed": weight * characters + nothing_slowly(weight),
            "rows": tf.fill(rows, rows[0]),
        }


class Collapsed(tf.Module):
    """Loses the batch's dimension."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def total(self, x: Any) -> dict[str, Any]:
        """One number for the whole batch."""
        return {"total": tf.reduce_sum(x, keepdims=True)[0]}


class Examples(tf.Module):
    """`tf.Example`s with two floats `x`."""

    def parse(self, inputs: Any) -> Any:
        """The floats."""
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: Any) -> dict[str, Any]:
        """Two classes with their scores."""
        x = self.parse(inputs)
        return {"classes": tf.tile([["left", "right"]], [tf.shape(x)[0], 1]), "scores": tf.nn.softmax(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs: Any) -> dict[str, Any]:
        """The sum."""
        return {"outputs": tf.reduce_sum(self.parse(inputs), axis=1)}


def edited(folder: Path) -> Any:
    """The only graph of a SavedModel, and what writes it back."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(path.read_bytes())
    return model.meta_graphs[0], lambda: path.write_bytes(model.SerializeToString())


def write_pair(folder: Path, version: int) -> None:
    """A version of `pair`, whose signature `with_default` can do without `b`."""
    module = Pair(version)
    signatures = {"serving_default": module.add, "with_default": module.add, "length": module.length}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    graph, write = edited(folder)
    graph.signature_def["with_default"].defaults["b"].CopyFrom(tf.make_tensor_proto([[10.0, 10.0]]))
    write()


def write_examples(folder: Path) -> None:
    """`examples`, whose signatures say by which method they are called; TensorFlow 2 writes `predict` for all."""
    module = Examples()
    signatures = {"serving_default": module.classify, "classify": module.classify, "regress": module.regress}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    graph, write = edited(folder)
    for name in signatures:
        method = "regress" if name == "regress" else "classify"
        graph.signature_def[name].method_name = f"tensorflow/serving/{method}"
    write()


def main(out: Path, base: str) -> None:
    """Writes everything."""
    for version in (1, 2, 3):
        write_pair(out / "pair" / str(version), version)
    write_examples(out / "examples" / "1")
    batched = (("slow", Slow(), "spin"), ("words", Words(), "weigh"), ("collapsed", Collapsed(), "total"))
    for name, module, function in batched:
        folder = out / name / "1"
        tf.saved_model.save(module, str(folder), signatures=getattr(module, function))
        (folder / "batching_params.pbtxt").write_text(BATCHING)
    (out / "models.config").write_text(CONFIG.replace("BASE", base))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else sys.argv[1])
