"""Warm-up requests that a version brings, run before it takes over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.contract import WARMUP_FILE
from serving.server.errors import RequestError

__all__ = ["MAX_RECORDS", "warm_up"]

MAX_RECORDS = 1000
"""More make the load fail, as in the real server."""


def warm_up(folder: Path, execute: Callable[[Any], None]) -> int:
    """Runs every record of a version's warm-up file; a version without one passes.

    Args:
        folder: of the version.
        execute: runs one `PredictionLog`.

    Returns:
        How many records there were.

    Raises:
        RequestError: a record does not parse or fails, there are too many, or the file is no TFRecord.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return 0
    count = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            log = prediction_log_pb2.PredictionLog()
            try:
                log.ParseFromString(record)
            except DecodeError as error:
                raise RequestError.invalid(f"Failed to parse warmup record {count} from {path}") from error
            execute(log)
            count += 1
            if count > MAX_RECORDS:
                raise RequestError.invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
    except tf.errors.DataLossError as error:
        raise RequestError(
            RequestError.of(error).code, f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error
    return count
