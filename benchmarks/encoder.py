"""How fast an exported encoder is, beside the model it was made of and beside other engines, and how far it moved.

    python -m benchmarks.encoder --model RUN/checkpoints/fused/best.keras --pictures data/fashion-products/images

All sides take one batch of pixels and answer embeddings. They run in turns in one process, since a machine's speed
drifts; medians of pictures a second. The exported encoder runs as loaded by `tf.saved_model.load`. ONNX Runtime and
OpenVINO are measured where they (and tf2onnx, for the former) can be imported: both get the model as TensorFlow froze
it, its batch normalisation not folded, and optimise it themselves. Exit code 1 where a bar is missed: with bfloat16,
2 times `predict`, 0.75 times OpenVINO in bfloat16, mean cosine 0.9999. Without `--model` a ResNet50 of random weights
is asked, whose cosines say nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from export.encoder import Encoder
from export.optimise.freeze import freeze
from export.optimise.fusing import arrange_dense_layers
from export.optimise.precision import has_fast_bfloat16
from serving.contract import EMBED_PIXELS, EMBEDDING, PIXELS
from trainer.data.pipeline import picture_batches
from trainer.models.head import build_head, compose
from trainer.models.resnet50 import build_resnet50
from trainer.training.checkpoint import load_model

Runner = Callable[[np.ndarray], np.ndarray]


def exported(model: keras.Model, precision: str, folder: Path) -> Runner:
    """The encoder, saved and loaded again."""
    classes = model.compute_output_spec(keras.KerasTensor(model.input_shape, dtype="uint8"))["logits"].shape[-1]
    labels = [str(label) for label in range(classes)]
    encoder = Encoder.from_model(model, labels, precision=precision)
    path = str(folder / precision)
    tf.saved_model.save(encoder, path, signatures=encoder.signatures())
    loaded = tf.saved_model.load(path)
    function = loaded.signatures[EMBED_PIXELS]

    def run(pixels: np.ndarray) -> np.ndarray:
        return function(**{PIXELS: tf.constant(pixels)})[EMBEDDING].numpy()

    run.loaded = loaded  # type: ignore[attr-defined]  # the function holds its variables only weakly
    return run


def onnx_runtime(definition: tf.compat.v1.GraphDef, outputs: list[str]) -> Runner:
    """The frozen model in ONNX Runtime."""
    import onnxruntime
    import tf2onnx

    tf.get_logger().setLevel("ERROR")  # tf2onnx still calls what TensorFlow has deprecated

    proto, _ = tf2onnx.convert.from_graph_def(definition, input_names=[f"{PIXELS}:0"], output_names=outputs, opset=18)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(outputs, {f"{PIXELS}:0": pixels})[0]


def openvino(saved: Path, precision: str) -> Runner:
    """The model, as a SavedModel, in OpenVINO."""
    import openvino

    converted = openvino.convert_model(saved)
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": "1"}
    compiled = openvino.Core().compile_model(converted, "CPU", hints)
    return lambda pixels: np.asarray(compiled(pixels)[0])


def peers(model: keras.Model, folder: Path) -> dict[str, Runner]:
    """Other engines, those that are installed."""
    found: dict[str, Runner] = {}

    def plain(name: str, make: Callable[[], Runner], *needs: str) -> None:
        missing = [need for need in needs if importlib.util.find_spec(need) is None]
        if missing:
            print(f"{name}: not measured, since {', '.join(missing)} is not installed")
            return
        try:
            found[name] = make()
        except Exception as error:  # a peer that cannot take the model is said, not hidden
            print(f"{name}: not measured: {type(error).__name__}: {str(error).splitlines()[0][:150]}")

    graph = freeze(model)
    arrange_dense_layers(graph)  # the same values; ONNX knows no Erfc
    definition, output = graph.definition(), f"{graph.output_names[EMBEDDING]}:0"
    module = tf.Module()
    module.embed = tf.function(
        lambda pixels: tf.graph_util.import_graph_def(definition, {f"{PIXELS}:0": pixels}, [output], name="")[0],
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name=PIXELS)],
    )
    tf.saved_model.save(module, str(folder / "plain"), signatures=module.embed)
    plain("ONNX Runtime", lambda: onnx_runtime(definition, [output]), "onnxruntime", "tf2onnx")
    plain("OpenVINO float32", lambda: openvino(folder / "plain", "f32"), "openvino")
    plain("OpenVINO bfloat16", lambda: openvino(folder / "plain", "bf16"), "openvino")
    return found


def turns(runners: dict[str, Runner], pixels: np.ndarray, repeats: int) -> dict[str, float]:
    """Median pictures a second of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner(pixels)
        runner(pixels)
    for _ in range(repeats):
        for name, runner in runners.items():
            begun = time.perf_counter()
            runner(pixels)
            seconds[name].append(time.perf_counter() - begun)
    return {name: len(pixels) / statistics.median(values) for name, values in seconds.items()}


def cosines(runner: Runner, pixels: np.ndarray, batch_size: int, reference: np.ndarray) -> np.ndarray:
    """Of each picture's embedding to the reference."""
    batches = range(0, len(pixels), batch_size)
    answer = np.concatenate([runner(pixels[start : start + batch_size]) for start in batches])
    lengths = np.linalg.norm(answer, axis=1) * np.linalg.norm(reference, axis=1)
    return (answer * reference).sum(axis=1) / lengths


def load(options: argparse.Namespace) -> tuple[keras.Model, np.ndarray]:
    """The model and the pixels to ask it with."""
    if options.model:
        model = load_model(options.model)
    else:
        backbone = build_resnet50("none", 224, "train")
        head = build_head({"resnet50": int(backbone.output_shape[-1])}, 10)
        model = compose({"resnet50": backbone}, head, 224, "resnet50")
    size, count = int(model.input_shape[1]), options.batch_size * options.batches
    if options.pictures is None:
        return model, np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    paths = [str(path) for path in sorted(options.pictures.glob("*.jpg"))[:count]]
    return model, np.concatenate([batch["image"].numpy() for batch in picture_batches(paths, size, options.batch_size)])


def measure(options: argparse.Namespace, folder: Path) -> list[str]:
    """Prints the table and returns the bars that were missed."""
    model, pixels = load(options)
    runners: dict[str, Runner] = {
        "keras predict": lambda batch: model.predict(batch, batch_size=len(batch), verbose=0)[EMBEDDING],
        "exported float32": exported(model, "float32", folder),
        "exported auto": exported(model, "auto", folder),
        **({} if options.without_peers else peers(model, folder)),
    }
    rates = turns(runners, pixels[: options.batch_size], options.repeats)
    reference = model.predict(pixels, batch_size=options.batch_size, verbose=0)[EMBEDDING]
    print(
        f"{'batch ' + str(options.batch_size):<22}{'pictures/s':>12}{'to predict':>12}{'cosine mean':>14}{'least':>12}"
    )
    means: dict[str, float] = {}
    for name, rate in rates.items():
        found = cosines(runners[name], pixels, options.batch_size, reference)
        means[name] = float(found.mean())
        ratio = rate / rates["keras predict"]
        print(f"{name:<22}{rate:>12.1f}{ratio:>12.2f}{means[name]:>14.7f}{found.min():>12.7f}", flush=True)
    if not has_fast_bfloat16():
        print("this processor has no bfloat16: auto is float32, and its bars do not apply")
        return []
    return missed(rates, means["exported auto"])


def missed(rates: dict[str, float], cosine: float) -> list[str]:
    """The bars that the exported encoder misses in bfloat16."""
    ratio = rates["exported auto"] / rates["keras predict"]
    found = [] if ratio >= 2 else [f"expected 2 times predict, measured {ratio:.2f}"]
    if "OpenVINO bfloat16" in rates and rates["exported auto"] < 0.75 * rates["OpenVINO bfloat16"]:
        share = rates["exported auto"] / rates["OpenVINO bfloat16"]
        found.append(f"expected 0.75 times OpenVINO in bfloat16, measured {share:.2f}")
    return found if cosine >= 0.9999 else [*found, f"expected a mean cosine of 0.9999, measured {cosine:.6f}"]


def main() -> int:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a finished model's best.keras")
    parser.add_argument("--pictures", type=Path, help="folder of .jpg files; noise where it is not given")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4, help="of different pictures, for the cosines")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each side")
    parser.add_argument("--without-peers", action="store_true", help="neither ONNX Runtime nor OpenVINO")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failures = measure(options, Path(folder))
    for failure in failures:
        print(failure, file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
