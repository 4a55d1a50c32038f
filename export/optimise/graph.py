"""A frozen graph that can be rewritten: nodes by name, in the order they compute."""

from __future__ import annotations

import graphlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

__all__ = ["Graph"]


class Graph:
    """A `GraphDef` without functions, with its weights as constants.

    Args:
        definition: of the graph; it is not changed.
        input_name: of the one placeholder.
        output_names: what each answer is called, to the node (its first output) that gives it.
    """

    def __init__(self, definition: tf.compat.v1.GraphDef, input_name: str, output_names: dict[str, str]) -> None:
        self.input_name = input_name
        self.output_names = dict(output_names)
        self.nodes = {node.name: _copied(node) for node in definition.node}
        self.versions = definition.versions

    def definition(self) -> tf.compat.v1.GraphDef:
        """The graph as it is now, in the order of computation, without nodes that no answer needs."""
        self.prune()
        definition = tf.compat.v1.GraphDef(versions=self.versions)
        definition.node.extend(self.ordered())
        return definition

    def prune(self) -> None:
        """Forgets the nodes that no answer needs, so that they do not count as readers."""
        needed = self._needed()
        self.nodes = {name: node for name, node in self.nodes.items() if name in needed}

    def ordered(self) -> list[tf.compat.v1.NodeDef]:
        """All nodes, each behind those it reads."""
        order = graphlib.TopologicalSorter({name: sources(node) for name, node in self.nodes.items()})
        return [self.nodes[name] for name in order.static_order()]

    def consumers(self) -> dict[str, list[str]]:
        """Of each node, the names of those that read it; an answer of the graph counts as one named `""`."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, node in self.nodes.items():
            for source in sources(node):
                found[source].append(name)
        for name in self.output_names.values():
            found[name].append("")
        return found

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a tensor that is a constant, else `None`."""
        node = self.nodes.get(source_of(tensor))
        return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Adds a constant under a name not taken yet, which is returned."""
        name = self.free_name(name)
        node = tf.compat.v1.NodeDef(name=name, op="Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        self.nodes[name] = node
        return name

    def add_cast(self, tensor: str, source: tf.DType, target: tf.DType) -> str:
        """Adds a conversion of a tensor and returns its name."""
        name = self.free_name(f"{source_of(tensor)}/{target.name}")
        node = tf.compat.v1.NodeDef(name=name, op="Cast", input=[tensor])
        node.attr["SrcT"].type = source.as_datatype_enum
        node.attr["DstT"].type = target.as_datatype_enum
        self.nodes[name] = node
        return name

    def free_name(self, wanted: str) -> str:
        """The name, or the first variation of it, that no node has."""
        name, number = wanted, 0
        while name in self.nodes:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def redirect(self, old: str, new: str, readers: Sequence[str]) -> None:
        """Makes readers of the one node read the first output of another; `""` among them stands for an answer."""
        for reader in readers:
            if not reader:
                self.output_names = {key: new if name == old else name for key, name in self.output_names.items()}
                continue
            node = self.nodes[reader]
            for place, tensor in enumerate(node.input):
                if source_of(tensor) == old:
                    node.input[place] = f"^{new}" if tensor.startswith("^") else new

    def _needed(self) -> set[str]:
        waiting = [self.input_name, *self.output_names.values()]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(sources(self.nodes[name]))
        return seen


def sources(node: tf.compat.v1.NodeDef) -> Iterator[str]:
    """Names of the nodes that a node reads or waits for."""
    return (source_of(tensor) for tensor in node.input)


def source_of(tensor: str) -> str:
    """The node of a tensor: `a` for `a`, `a:1` and `^a`."""
    return tensor.lstrip("^").split(":")[0]


def _copied(node: tf.compat.v1.NodeDef) -> tf.compat.v1.NodeDef:
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(node)
    for attribute in ("_output_shapes", "_grappler_ArithmeticOptimizer_stage", "_XlaMustCompile"):
        copy.attr.pop(attribute, None)
    return copy
