"""Warm-up requests: what TensorFlow Serving sends to a version before it counts as loaded.

A graph is slow when it first sees a batch size, so there is one request for every signature and allowed batch size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export.arguments import signature_arguments
from serving.contract import EMBEDDING, IMAGE_BYTES, PIXELS, TEXT, WARMUP_FILE, WEIGHT
from trainer.errors import InputError

__all__ = ["MOST_RECORDS", "write_warmup"]

MOST_RECORDS = 1000
"""A server refuses a version with more."""


def write_warmup(
    folder: Path,
    name: str,
    signatures: Mapping[str, Any],
    batch_sizes: Sequence[int],
    *,
    picture: bytes = b"",
) -> int:
    """Writes `assets.extra/tf_serving_warmup_requests`.

    Args:
        folder: of the version.
        name: the served name, such as `fused_search`.
        signatures: name to concrete function, as they are saved.
        batch_sizes: the allowed ones.
        picture: bytes of a picture, for signatures that take them.

    Returns:
        The number of requests.

    Raises:
        InputError: there would be more than a server takes.
    """
    count = len(signatures) * len(batch_sizes)
    if count > MOST_RECORDS:
        raise InputError(
            f"batching.allowed_batch_sizes: expected at most {MOST_RECORDS // len(signatures)} sizes, "
            f"since a server takes {MOST_RECORDS} warm-up requests; received {len(batch_sizes)}"
        )
    path = folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in signatures.items():
            for size in batch_sizes:
                request = _request(name, signature, function, size, picture)
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString(deterministic=True))
    return count


def _request(name: str, signature: str, function: Any, size: int, picture: bytes) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for argument, spec in signature_arguments(function).items():
        shape = [size, *spec.shape.as_list()[1:]]
        request.inputs[argument].CopyFrom(_example(argument, spec.dtype, shape, picture))
    return request


def _example(argument: str, dtype: tf.DType, shape: list[int], picture: bytes) -> Any:
    if argument == IMAGE_BYTES:
        return tf.make_tensor_proto([picture] * shape[0], tf.string, shape)
    if argument == EMBEDDING:
        return tf.make_tensor_proto(np.full(shape, shape[1] ** -0.5, np.float32))
    if argument == TEXT:
        return tf.make_tensor_proto(([b"shirt", b""] * shape[0])[: shape[0]], tf.string, shape)
    if argument == WEIGHT:
        return tf.make_tensor_proto(np.full(shape, 0.5, np.float32))
    if argument == PIXELS:  # one value stands for all, so that the file stays small
        return tf.make_tensor_proto(0, dtype, shape)
    return tf.make_tensor_proto([b""] * shape[0], tf.string, shape)
