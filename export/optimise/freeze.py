"""From a Keras model to one graph for inference, its weights as constants."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

from export.optimise.branches import remove_dead_branches
from export.optimise.graph import Graph
from export.optimise.precision import FLOAT32_SCOPE
from serving.contract import PIXELS
from trainer.errors import InputError

__all__ = ["freeze"]

_HEAD = "head"
_LOOPING = ("NextIteration", "While", "StatelessWhile")
# None of these makes an operation that is not stock, or depends on the machine that exports.
_REWRITES = ("pruning", "function", "constfold", "shape", "arithmetic", "dependency", "constfold")


def freeze(model: keras.Model) -> Graph:
    """Traces a model for inference: branches of training, functions and variables are gone, constants are folded.

    A loaded SavedModel within the model (a hub module) is inlined like everything else.

    Args:
        model: from uint8 `[B, H, W, 3]` to a mapping from names to tensors.

    Returns:
        The graph, with `model`'s outputs by name. Its head's operations are named with `FLOAT32_SCOPE`.

    Raises:
        InputError: the model's graph has a loop.
    """
    outputs: list[str] = []

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name=PIXELS)])
    def forward(pixels: tf.Tensor) -> list[tf.Tensor]:
        answer = _answer(model, pixels)
        outputs[:] = sorted(answer)
        return [tf.identity(answer[name]) for name in outputs]

    frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
    names = [tensor.op.name for tensor in frozen.outputs]
    graph = Graph(_folded(frozen.graph, [PIXELS, *names]), PIXELS, dict(zip(outputs, names, strict=True)))
    if any(node.op in _LOOPING for node in graph.nodes.values()):
        raise InputError(
            f"expected a model without loops in its graph, {model.name} holds one (perhaps in its hub module); "
            "give another model.hub_vit.handle"
        )
    remove_dead_branches(graph)
    return graph


def _answer(model: keras.Model, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
    if _HEAD not in [layer.name for layer in model.layers]:
        return model(pixels, training=False)
    head = model.get_layer(_HEAD)
    features = {part: model.get_layer(part)(pixels, training=False) for part in head.input}
    with tf.name_scope(FLOAT32_SCOPE):
        return head(features, training=False)


def _folded(graph: tf.Graph, kept: list[str]) -> tf.compat.v1.GraphDef:
    """Grappler's rewriting of the graph, as the runtime would do it at every start."""
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    nodes = meta_graph_pb2.CollectionDef()
    nodes.node_list.value.extend(kept)
    meta_graph.collection_def["train_op"].CopyFrom(nodes)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers.extend(_REWRITES)
    return tf_optimizer.OptimizeGraph(config, meta_graph, verbose=False)
