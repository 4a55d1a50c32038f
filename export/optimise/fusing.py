"""Writing dense layers the way TensorFlow's runtime recognises them, so that it computes each in one kernel.

The runtime joins `MatMul`, `BiasAdd` and an exact GELU only where they follow each other in one of the forms it knows.
Layers over sequences (`Tensordot`) put a `Reshape` between them, and Keras 3 writes the GELU with `Erfc`. The values
stay the same: a `Reshape` changes places with operations that work on each value alone.
"""

from __future__ import annotations

import math

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.optimise.graph import Graph, source_of

__all__ = ["arrange_dense_layers"]


def arrange_dense_layers(graph: Graph) -> int:
    """Moves biases and GELUs before the `Reshape` that follows their `MatMul`, in place.

    Args:
        graph: in float32.

    Returns:
        How many GELUs were arranged.
    """
    gelus = 0
    for node in graph.ordered():
        if node.op == "BiasAdd" and _move_bias(graph, node):
            gelus += _move_gelu(graph, node)
    return gelus


def _move_bias(graph: Graph, bias: tf.compat.v1.NodeDef) -> bool:
    """`BiasAdd(Reshape(MatMul))` to `Reshape(BiasAdd(MatMul))`: the channels stay last."""
    reshape = graph.nodes[source_of(bias.input[0])]
    if reshape.op != "Reshape" or graph.nodes[source_of(reshape.input[0])].op != "MatMul":
        return False
    readers = graph.consumers()
    if readers[reshape.name] != [bias.name] or len(readers[source_of(reshape.input[0])]) != 1:
        return False
    graph.redirect(bias.name, reshape.name, readers[bias.name])
    bias.input[0], reshape.input[0] = reshape.input[0], bias.name
    return True


def _move_gelu(graph: Graph, bias: tf.compat.v1.NodeDef) -> bool:
    """`x * 0.5 * erfc(-x * sqrt(0.5))` of a reshaped x to `Reshape(x * (1 + erf(x * sqrt(0.5))) * 0.5)`."""
    readers = graph.consumers()
    (reshape,) = readers[bias.name]
    if len(readers[reshape]) != 2:
        return False
    halves = _scaled(graph, reshape, readers[reshape], 0.5)
    negated = next((name for name in readers[reshape] if graph.nodes[name].op == "Neg"), None)
    turned = negated and _scaled(graph, negated, readers[negated], math.sqrt(0.5))
    if not halves or not turned:
        return False
    (erfc,) = readers[turned]
    if graph.nodes[erfc].op != "Erfc" or readers[erfc] != readers[halves] or len(readers[erfc]) != 1:
        return False
    (product,) = readers[erfc]
    if graph.nodes[product].op != "Mul":
        return False
    after = readers[product]
    inner = _binary(graph, "Mul", bias.name, _number(graph, bias.name, math.sqrt(0.5)))
    erf = _add(graph, "Erf", f"{bias.name}/erf", [inner])
    raised = _binary(graph, "AddV2", erf, _number(graph, bias.name, 1.0))
    halved = _binary(graph, "Mul", raised, _number(graph, bias.name, 0.5))
    gelu = _binary(graph, "Mul", halved, bias.name)
    graph.nodes[reshape].input[0] = gelu
    graph.redirect(product, reshape, after)
    for name in (product, erfc, turned, negated, halves):  # nothing reads them now
        del graph.nodes[str(name)]
    return True


def _scaled(graph: Graph, source: str, readers: list[str], factor: float) -> str | None:
    """The one reader that multiplies a source by a factor."""
    for name in readers:
        node = graph.nodes.get(name)
        if node is None or node.op != "Mul" or len(node.input) != 2:
            continue
        other = node.input[1] if source_of(node.input[0]) == source else node.input[0]
        value = graph.constant(other)
        if value is not None and value.size == 1 and math.isclose(float(value), factor, rel_tol=1e-6):
            return name
    return None


def _number(graph: Graph, name: str, value: float) -> str:
    return graph.add_constant(f"{name}/number", np.asarray(value, np.float32))


def _binary(graph: Graph, op: str, left: str, right: str) -> str:
    return _add(graph, op, f"{left}/{op}", [left, right])


def _add(graph: Graph, op: str, name: str, inputs: list[str]) -> str:
    node = tf.compat.v1.NodeDef(name=graph.free_name(name), op=op, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    graph.nodes[node.name] = node
    return node.name
