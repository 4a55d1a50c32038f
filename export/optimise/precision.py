"""Which arithmetic an exported encoder computes in, and the rewriting of its graph to bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.optimise.graph import Graph, source_of
from trainer.errors import InputError

__all__ = ["FLOAT32_SCOPE", "Precision", "Target", "choose_precision", "has_fast_bfloat16", "to_bfloat16"]

Precision = Literal["float32", "bfloat16"]
Target = Literal["cpu", "gpu", "tpu"]

FLOAT32_SCOPE = "float32_part"
"""Operations with this in their name stay in float32: the head, which costs nothing and decides the embedding."""

EXACT_DEPTH = 4
"""So many multiplications from the pixels on stay in float32. Rounding there goes through everything behind: in
ResNet50 the stem and the first block, 9 % of the work, move the embedding far more than all the rest together."""

_PROCESSOR_FLAGS = ("avx512_bf16", "amx_bf16")
_MULTIPLYING = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "Einsum")
_JOINING = ("BiasAdd", "AddV2", "Mul", "Erf")
_CARRYING = ("Relu", "Relu6", "Softmax", "MaxPool", "Pad", "Reshape", "Transpose", "Squeeze", "ExpandDims", "Identity")


def has_fast_bfloat16(processor: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor multiplies bfloat16 itself (AVX-512 BF16 or AMX).

    Without it bfloat16 is emulated and slower than float32.
    """
    try:
        lines = processor.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return any(flag in flags for flag in _PROCESSOR_FLAGS)


def choose_precision(wanted: str, target: Target = "cpu") -> Precision:
    """What `auto` means.

    Args:
        wanted: `float32`, `bfloat16` or `auto`. `auto` is bfloat16 for a TPU, and for a CPU where this machine's
            processor multiplies it itself, taken to be the kind that will serve; else float32. A GPU computes float32
            fast enough by TensorFloat-32, and older ones have no bfloat16.
        target: kind of device that will serve.

    Raises:
        InputError: another precision or target.
    """
    if wanted not in ("float32", "bfloat16", "auto"):
        raise InputError(f"precision: expected float32, bfloat16 or auto, received {wanted!r}; give one of these")
    if target not in ("cpu", "gpu", "tpu"):
        raise InputError(f"target: expected cpu, gpu or tpu, received {target!r}; give one of these")
    if wanted == "auto":
        return "bfloat16" if target == "tpu" or (target == "cpu" and has_fast_bfloat16()) else "float32"
    return "bfloat16" if wanted == "bfloat16" else "float32"


def to_bfloat16(graph: Graph, exact_depth: int = EXACT_DEPTH) -> int:
    """Lets multiplications, and what only carries their results on, compute in bfloat16, in place.

    Sums and products are in bfloat16 where all that they combine is there in it anyway: the shortcuts of a residual
    network are, since convolutions read them; the residual stream of a transformer, which only normalisations read,
    stays in float32. So does everything else (normalisations, pooling by means and powers), and so do the first
    multiplications (see `EXACT_DEPTH`) and those within `FLOAT32_SCOPE`. Constants are rounded once, here.

    Args:
        graph: in float32.
        exact_depth: so many multiplications on the longest way from the pixels stay in float32.

    Returns:
        How many multiplications are in bfloat16 now.
    """
    return _Bfloat16(graph, exact_depth).rewrite()


class _Bfloat16:
    """One rewriting: which nodes answer bfloat16, and the conversions made so far."""

    def __init__(self, graph: Graph, exact_depth: int) -> None:
        self.graph, self.exact_depth = graph, exact_depth
        self.low: set[str] = set()
        self.depth: dict[str, int] = {}
        self.converted: dict[tuple[str, bool], str] = {}

    def rewrite(self) -> int:
        multiplications = 0
        for node in self.graph.ordered():
            multiplying = node.op in _MULTIPLYING and _is_float32(node)
            above = [self.depth[source_of(tensor)] for tensor in node.input]
            self.depth[node.name] = max(above, default=0) + multiplying
            if self._is_to_be_low(node, multiplying):
                places = range(1) if node.op in _CARRYING else range(len(_data(node)))
                self._feed(node, places, low=True)
                node.attr["T"].type = tf.bfloat16.as_datatype_enum
                self.low.add(node.name)
                multiplications += multiplying
            else:
                self._feed(node, range(len(_data(node))), low=False)
        self.graph.output_names = {key: self._as(name, False) for key, name in self.graph.output_names.items()}
        return multiplications

    def _is_to_be_low(self, node: tf.compat.v1.NodeDef, multiplying: bool) -> bool:
        if multiplying:
            return self.depth[node.name] > self.exact_depth and FLOAT32_SCOPE not in node.name
        if not _is_float32(node):
            return False
        if node.op in _CARRYING:
            return source_of(node.input[0]) in self.low
        rest = [tensor for tensor in _data(node) if self.graph.constant(tensor) is None]
        there = [source_of(tensor) in self.low or (tensor, True) in self.converted for tensor in rest]
        return node.op in _JOINING and bool(there) and all(there)

    def _feed(self, node: tf.compat.v1.NodeDef, places: range, low: bool) -> None:
        for place in places:
            node.input[place] = self._as(node.input[place], low)

    def _as(self, tensor: str, low: bool) -> str:
        """The tensor in bfloat16 or in float32, converted once for all its readers."""
        name = source_of(tensor)
        if (name in self.low) == low:
            return tensor
        if (tensor, low) not in self.converted:
            value = self.graph.constant(tensor) if low else None
            if value is not None:
                new = self.graph.add_constant(f"{name}/bfloat16", value.astype(tf.bfloat16.as_numpy_dtype))
            else:
                kinds = (tf.float32, tf.bfloat16) if low else (tf.bfloat16, tf.float32)
                new = self.graph.add_cast(tensor, *kinds)
            self.converted[tensor, low] = new
        return self.converted[tensor, low]


def _data(node: tf.compat.v1.NodeDef) -> list[str]:
    return [tensor for tensor in node.input if not tensor.startswith("^")]


def _is_float32(node: tf.compat.v1.NodeDef) -> bool:
    # asking a protobuf map for a missing key would add it
    return "T" in node.attr and node.attr["T"].type == tf.float32.as_datatype_enum
