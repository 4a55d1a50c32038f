"""An optimised graph as a module: its large constants are variables again."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf

from export.optimise.folding import fold_batch_normalisation
from export.optimise.freeze import freeze
from export.optimise.fusing import arrange_dense_layers
from export.optimise.graph import Graph
from export.optimise.precision import Precision, to_bfloat16

__all__ = ["Network", "optimise"]

_LARGE = 1024  # elements; smaller constants cost nothing in the graph, and grappler can fold them there


class Network(tf.Module):
    """What a graph computes, with its weights in variables, so that the graph stays small however large they are.

    Args:
        graph: with one input of uint8 pictures.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(name="network")
        definition = graph.definition()
        self.weights: list[tf.Variable] = []
        self._names: list[str] = []
        for node in definition.node:
            if node.op == "Const" and _elements(node) > _LARGE and _is_weight(node):
                value = tf.make_ndarray(node.attr["value"].tensor)
                self.weights.append(tf.Variable(value, trainable=False, name=f"weight_{len(self.weights)}"))
                self._names.append(node.name)
                _become_placeholder(node)
        self._definition = definition
        self._input, self._outputs = graph.input_name, dict(graph.output_names)

    def __call__(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the graph within the caller's; to be called while a `tf.function` is traced.

        Args:
            pixels: uint8 `[B, H, W, 3]`.

        Returns:
            The graph's outputs by name.
        """
        given = {f"{name}:0": variable.read_value() for name, variable in zip(self._names, self.weights, strict=True)}
        found = tf.graph_util.import_graph_def(
            self._definition,
            {f"{self._input}:0": pixels, **given},
            [f"{name}:0" for name in self._outputs.values()],
            name="",
        )
        return dict(zip(self._outputs, found, strict=True))


def optimise(model: keras.Model, precision: Precision = "float32") -> Network:
    """Makes of a trained model what is served.

    Args:
        model: from uint8 `[B, H, W, 3]` to outputs by name.
        precision: of the arithmetic; see `to_bfloat16`.

    Returns:
        A module that answers the same, up to rounding.
    """
    graph = freeze(model)
    fold_batch_normalisation(graph)
    arrange_dense_layers(graph)
    if precision == "bfloat16":
        to_bfloat16(graph)
    return Network(graph)


def _elements(node: tf.compat.v1.NodeDef) -> int:
    return int(np.prod([dimension.size for dimension in node.attr["value"].tensor.tensor_shape.dim]))


def _is_weight(node: tf.compat.v1.NodeDef) -> bool:
    return tf.as_dtype(node.attr["dtype"].type).is_floating


def _become_placeholder(node: tf.compat.v1.NodeDef) -> None:
    """In place; the placeholder is replaced when the graph is imported."""
    kind, shape = node.attr["dtype"].type, node.attr["value"].tensor.tensor_shape
    attributes = tf.compat.v1.NodeDef(name=node.name, op="Placeholder")
    attributes.attr["dtype"].type = kind
    attributes.attr["shape"].shape.CopyFrom(shape)
    node.CopyFrom(attributes)
