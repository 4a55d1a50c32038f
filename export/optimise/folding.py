"""Folding what is multiplied and added after a convolution into the convolution's own weights."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.optimise.graph import Graph, source_of

__all__ = ["fold_batch_normalisation"]

_LINEAR = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_SUMS = ("AddV2", "Add", "BiasAdd")


def fold_batch_normalisation(graph: Graph) -> int:
    """Turns `scale * (convolution(x) + bias) + shift` into one convolution and one bias, in place.

    At inference batch normalisation is such a scale and shift of every channel. Keras 3 writes it as a product and a
    sum, Keras 2 as one `FusedBatchNormV3`; both are found, after convolutions, depthwise ones, and dense layers. The
    products are computed in float64, so that the new weights are the exact ones rounded once.

    Args:
        graph: with its constants folded.

    Returns:
        How many were folded.
    """
    folded = 0
    for node in graph.ordered():
        if node.op in _LINEAR and _fold_after(graph, node):
            folded += 1
    return folded


def _fold_after(graph: Graph, linear: tf.compat.v1.NodeDef) -> bool:
    """Follows the chain of scales and shifts of single readers behind a convolution and replaces it."""
    weights = graph.constant(linear.input[1])
    if weights is None or weights.dtype != np.float32 or not _is_plain(linear):
        return False
    channels = _channels(linear, weights)
    scale, shift = np.ones(channels), np.zeros(channels)
    last, passed = linear.name, list[str]()
    readers = graph.consumers()
    while len(readers[last]) == 1 and readers[last][0]:
        step = _affine(graph, graph.nodes[readers[last][0]], last, channels, 2 if linear.op == "MatMul" else 4)
        if step is None:
            break
        scale, shift = scale * step[0], shift * step[0] + step[1]
        last = readers[last][0]
        passed.append(graph.nodes[last].op)
    if passed in ([], ["BiasAdd"]):
        return False
    linear.input[1] = graph.add_constant(f"{linear.name}/folded_weights", _scaled(linear, weights, scale))
    bias = graph.add_constant(f"{linear.name}/folded_bias", shift.astype(np.float32))
    summed = tf.compat.v1.NodeDef(name=graph.free_name(f"{linear.name}/folded"), op="BiasAdd")
    summed.input.extend([linear.name, bias])
    summed.attr["T"].type = linear.attr["T"].type
    summed.attr["data_format"].s = b"NHWC"
    graph.redirect(last, summed.name, readers[last])
    graph.nodes[summed.name] = summed
    return True


def _is_plain(linear: tf.compat.v1.NodeDef) -> bool:
    if linear.op == "MatMul":
        return not linear.attr["transpose_b"].b
    return linear.attr["data_format"].s in (b"", b"NHWC")


def _channels(linear: tf.compat.v1.NodeDef, weights: np.ndarray) -> int:
    return int(np.prod(weights.shape[2:])) if linear.op == "DepthwiseConv2dNative" else int(weights.shape[-1])


def _scaled(linear: tf.compat.v1.NodeDef, weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if linear.op == "DepthwiseConv2dNative":
        scale = scale.reshape(weights.shape[2:])
    return (weights.astype(np.float64) * scale).astype(np.float32)


def _affine(
    graph: Graph, node: tf.compat.v1.NodeDef, source: str, channels: int, rank: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift of each channel that a node applies to a source, each `[C]`; `None` if it does other things."""
    if node.op == "FusedBatchNormV3" and source_of(node.input[0]) == source and not node.attr["is_training"].b:
        gamma, beta, mean, variance = (graph.constant(tensor) for tensor in node.input[1:5])
        if gamma is None or beta is None or mean is None or variance is None:
            return None
        scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attr["epsilon"].f)
        return scale, beta - mean * scale
    if node.op not in ("Mul", "Sub", *_SUMS) or len(node.input) != 2:
        return None
    place = 1 if source_of(node.input[0]) == source else 0
    value = graph.constant(node.input[place])
    if value is None or (node.op == "Sub" and place == 0) or not _is_per_channel(value, channels, rank):
        return None
    value = np.broadcast_to(value.astype(np.float64).reshape(-1), (channels,))
    if node.op == "Mul":
        return value, np.zeros(channels)
    return np.ones(channels), -value if node.op == "Sub" else value


def _is_per_channel(value: np.ndarray, channels: int, rank: int) -> bool:
    """Whether it is one number, or one for each channel, and leaves the shape as it is."""
    return value.ndim == 0 or (value.size == channels and value.shape[-1] == channels and value.ndim <= rank)
