"""The arguments of a signature, however its function was traced."""

from __future__ import annotations

from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

__all__ = ["signature_arguments"]


def signature_arguments(function: Any) -> dict[str, tf.TensorSpec]:
    """Names and specifications of what a signature takes.

    Args:
        function: a concrete function of named tensors. TensorFlow tells those that were traced by position apart from
            those by name; a caller of the saved signature sees no difference.
    """
    by_position, by_name = function.structured_input_signature
    return {spec.name: spec for spec in tf.nest.flatten(by_position)} | dict(by_name)
