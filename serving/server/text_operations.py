"""The operations of tensorflow-text: built into the stock server, and loaded into this one where a model needs them."""

from __future__ import annotations

import tensorflow as tf

from serving.contract import Manifest
from serving.server.errors import RequestError

__all__ = ["TENSORFLOW_TEXT", "load_text_operations", "with_hint"]

TENSORFLOW_TEXT = "tensorflow-text"
"""In a manifest's `words.ops`: whose operations read texts."""

_UNKNOWN_OPERATION = "Op type not registered"


def load_text_operations(manifest: Manifest) -> None:
    """Registers tensorflow-text's operations in this process, where the model's manifest says that it needs them.

    Raises:
        RequestError: FAILED_PRECONDITION: the package is missing, or is of another TensorFlow.
    """
    if manifest.words.get("ops") != TENSORFLOW_TEXT:
        return
    try:
        import tensorflow_text  # noqa: F401
    except (ImportError, tf.errors.NotFoundError) as error:  # the latter: a library of another TensorFlow
        release = ".".join(tf.__version__.split(".")[:2])
        raise RequestError.failed_precondition(
            f"expected {TENSORFLOW_TEXT}, with whose operations {manifest.served_name} reads texts; it cannot be "
            f"imported ({error}); pip install '{TENSORFLOW_TEXT}=={release}.*'"
        ) from error


def with_hint(error: RequestError) -> RequestError:
    """The error of a load; where it is of an operation that TensorFlow lacks, with where it may come from."""
    if _UNKNOWN_OPERATION not in error.message:
        return error
    hint = (
        f"it may be one of {TENSORFLOW_TEXT}'s, which are loaded for models whose assets.extra/manifest.json says "
        f'"words": {{"ops": "{TENSORFLOW_TEXT}"}}'
    )
    return RequestError(error.code, f"{error.message} [{hint}]")
