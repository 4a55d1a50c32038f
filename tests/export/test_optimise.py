"""Rewriting the frozen graph: every step answers the same, and does what it is for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_model import SIZE, some_pixels, tiny_cnn, tiny_model

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf

from export.optimise.folding import fold_batch_normalisation
from export.optimise.freeze import freeze
from export.optimise.fusing import arrange_dense_layers
from export.optimise.graph import Graph
from export.optimise.network import Network, optimise
from export.optimise.precision import FLOAT32_SCOPE, choose_precision, has_fast_bfloat16, to_bfloat16
from trainer.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    return tiny_model(tmp_path_factory.mktemp("optimise"))


@pytest.fixture(scope="module")
def definition(model: keras.Model) -> tuple[tf.compat.v1.GraphDef, str, dict[str, str]]:
    graph = freeze(model)
    return graph.definition(), graph.input_name, graph.output_names


@pytest.fixture
def graph(definition: tuple[tf.compat.v1.GraphDef, str, dict[str, str]]) -> Graph:
    return Graph(*definition)


def answer(graph: Graph) -> dict[str, np.ndarray]:
    values = tf.function(Network(graph))(tf.constant(some_pixels()))
    return {name: value.numpy() for name, value in values.items()}


def expected(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model(some_pixels(), training=False).items()}


def operations(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.definition().node)


def test_freezing_keeps_nothing_of_training(graph: Graph, model: keras.Model) -> None:
    found = operations(graph)
    assert not {
        "RandomUniform",
        "If",
        "StatelessIf",
        "PartitionedCall",
        "StatefulPartitionedCall",
        "ReadVariableOp",
    } & set(found)
    for name, values in answer(graph).items():
        np.testing.assert_allclose(values, expected(model)[name], rtol=0, atol=1e-5)


def test_every_batch_normalisation_is_folded(graph: Graph, model: keras.Model) -> None:
    before = operations(graph)
    assert fold_batch_normalisation(graph) == 5
    after = operations(graph)
    assert before["AddV2"] - after["AddV2"] == 5
    for name, values in answer(graph).items():
        np.testing.assert_allclose(values, expected(model)[name], rtol=0, atol=1e-5)
    assert fold_batch_normalisation(graph) == 0


def _frozen(layers: list[keras.layers.Layer]) -> tuple[Graph, keras.Model]:
    images = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(images)
    for layer in layers:
        x = layer(x)
    model = keras.Model(images, {"embedding": x})
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(draw.uniform(0.5, 1.5, weight.shape))
    return freeze(model), model


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(4, 3, use_bias=False),
        keras.layers.Conv2D(4, 3, strides=2, padding="same"),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        keras.layers.Conv2D(1, 1),
    ],
    ids=["without bias", "with bias", "depthwise", "one channel"],
)
def test_folding_into_every_kind_of_layer(layer: keras.layers.Layer) -> None:
    graph, model = _frozen([layer, keras.layers.BatchNormalization(), keras.layers.ReLU()])
    assert fold_batch_normalisation(graph) == 1
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = tf.function(Network(graph))(tf.constant(pixels))["embedding"].numpy()
    np.testing.assert_allclose(found, model(pixels, training=False)["embedding"].numpy(), rtol=1e-5, atol=1e-5)


def test_fused_batch_normalisation_of_a_hub_module_is_folded() -> None:
    def forward(pixels: tf.Tensor) -> tf.Tensor:
        images = tf.cast(pixels, tf.float32)
        maps = tf.nn.conv2d(images, tf.reshape(tf.range(24.0) / 24, (1, 1, 3, 8)), 1, "SAME")
        ones = tf.constant(np.linspace(0.5, 2, 8), tf.float32)
        return tf.compat.v1.nn.fused_batch_norm(maps, ones, ones - 1, ones, ones + 1, is_training=False)[0]

    function = tf.function(forward, input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="pixels")])
    concrete = function.get_concrete_function()
    graph = Graph(concrete.graph.as_graph_def(), "pixels", {"embedding": concrete.outputs[0].op.name})
    pixels = tf.constant(np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    before = tf.function(Network(graph))(pixels)["embedding"].numpy()
    folded = tf.compat.v1.GraphDef()
    folded.CopyFrom(graph.definition())
    weights = next(node for node in graph.nodes.values() if node.op == "Conv2D")
    weights.input[1] = graph.add_constant("weights", (np.arange(24, dtype=np.float32) / 24).reshape(1, 1, 3, 8))
    for node in graph.nodes.values():
        if node.op == "FusedBatchNormV3":
            ones = np.linspace(0.5, 2, 8).astype(np.float32)
            names = [graph.add_constant("statistic", value) for value in (ones, ones - 1, ones, ones + 1)]
            node.input[1:5] = names
            break
    assert fold_batch_normalisation(graph) == 1
    np.testing.assert_allclose(tf.function(Network(graph))(pixels)["embedding"].numpy(), before, rtol=1e-4, atol=1e-4)


def test_a_convolution_read_twice_is_not_folded() -> None:
    images = keras.Input((8, 8, 3), dtype="uint8")
    maps = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(images))
    both = keras.layers.Concatenate()([maps, keras.layers.BatchNormalization()(maps)])
    graph = freeze(keras.Model(images, {"embedding": both}))
    assert fold_batch_normalisation(graph) == 0


def test_dense_layers_over_sequences_are_arranged(graph: Graph, model: keras.Model) -> None:
    assert arrange_dense_layers(graph) == 1
    found = operations(graph)
    assert found["Erfc"] == 0 and found["Erf"] == 1
    by_name = {node.name: node for node in graph.definition().node}
    biases = [node for node in by_name.values() if node.op == "BiasAdd"]
    assert any(by_name[node.input[0]].op == "MatMul" for node in biases)
    for name, values in answer(graph).items():
        np.testing.assert_allclose(values, expected(model)[name], rtol=0, atol=1e-5)


def test_bfloat16_spares_the_beginning_and_the_head(graph: Graph, model: keras.Model) -> None:
    fold_batch_normalisation(graph)
    arrange_dense_layers(graph)
    assert to_bfloat16(graph, exact_depth=1) > 0
    kinds = {node.name: node.attr["T"].type for node in graph.ordered() if node.op in ("Conv2D", "MatMul")}
    low = tf.bfloat16.as_datatype_enum
    head = [kind for name, kind in kinds.items() if FLOAT32_SCOPE in name]
    convolutions = [node for node in graph.ordered() if node.op == "Conv2D" and "cnn" in node.name]
    assert head and low not in head
    assert [node.attr["T"].type == low for node in convolutions] == [False, True, True, True, True]
    found = answer(graph)
    assert found["embedding"].dtype == np.float32
    assert (found["embedding"] * expected(model)["embedding"]).sum(axis=1).min() > 0.999


def test_large_weights_are_variables(model: keras.Model) -> None:
    network = optimise(model, "bfloat16")
    sizes = [int(np.prod(weight.shape)) for weight in network.weights]
    assert sizes and min(sizes) > 1024
    assert {weight.dtype for weight in network.weights} == {tf.float32, tf.bfloat16}


def test_another_input_size_is_kept() -> None:
    assert (
        next(node for node in freeze_tiny().definition().node if node.op == "Placeholder")
        .attr["shape"]
        .shape.dim[1]
        .size
        == SIZE
    )


def freeze_tiny() -> Graph:
    model = tiny_cnn()
    return freeze(keras.Model(model.input, {"embedding": model.output}))


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("fpu avx512f avx2", False), ("", False)],
)
def test_auto_takes_bfloat16_where_the_processor_has_it(flags: str, fast: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\n")
    assert has_fast_bfloat16(tmp_path / "cpuinfo") is fast
    assert not has_fast_bfloat16(tmp_path / "none")


def test_precisions_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (True, False):
        monkeypatch.setattr("export.optimise.precision.has_fast_bfloat16", lambda fast=fast: fast)
        assert choose_precision("auto", "cpu") == ("bfloat16" if fast else "float32")
        assert choose_precision("auto", "gpu") == "float32"
        assert choose_precision("auto", "tpu") == "bfloat16"
        assert choose_precision("float32", "tpu") == "float32"
        assert choose_precision("bfloat16", "gpu") == "bfloat16"
    with pytest.raises(InputError, match="target: expected cpu, gpu or tpu, received 'npu'"):
        choose_precision("auto", "npu")  # type: ignore[arg-type]
