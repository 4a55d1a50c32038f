"""Distribution by one key: the `tf.distribute` strategy, and which part of the global batch is whose."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from trainer.data.pipeline import Share
from trainer.errors import InputError

__all__ = ["build_strategy", "is_chief", "local_share"]


def build_strategy(kind: str) -> tf.distribute.Strategy:
    """The strategy for `train.distribution`. To be made before anything else touches TensorFlow's devices.

    Args:
        kind: `none`; `mirrored`: every GPU of this machine, or every logical CPU device where there is no GPU;
            `multi_worker`: the processes that the environment variable `TF_CONFIG` names; `tpu`: the TPU that
            TensorFlow finds (`TPU_NAME`).

    Raises:
        InputError: `TF_CONFIG` is missing or malformed, or no TPU is found.
    """
    if kind == "mirrored":
        return _mirrored()
    if kind == "multi_worker":
        _check_tf_config()
        return _multi_worker()
    if kind == "tpu":
        return _tpu()
    return tf.distribute.get_strategy()


# Each is made once a process: the collective operations of a second one would be taken for those of the first.
@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])


def _check_tf_config() -> None:
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        value = json.loads(text)
        workers, index = value["cluster"]["worker"], value["task"]["index"]
        if not 0 <= index < len(workers):
            raise ValueError(f"task.index {index} is outside of the {len(workers)} workers")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"train.distribution: multi_worker expects the environment variable TF_CONFIG such as {example}; "
            f"received {text!r} ({error})"
        ) from error


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except Exception as error:  # the resolver raises whatever its discovery met
        raise InputError(
            f"train.distribution: tpu expects a TPU that TensorFlow can reach (TPU_NAME); none was found "
            f"({' '.join(str(error).split())[:160]})"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _task() -> Mapping[str, int]:
    value = json.loads(os.environ.get("TF_CONFIG") or "{}")
    workers = len(value.get("cluster", {}).get("worker", ())) or 1
    return {"index": int(value.get("task", {}).get("index", 0)), "workers": workers}


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the checkpoints and logs: the only one, or worker 0 of several."""
    return not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or _task()["index"] == 0


def local_share(strategy: tf.distribute.Strategy, batch_size: int, key: str = "batch_size") -> Share:
    """Which places of each global batch this process works on.

    Args:
        strategy: see `build_strategy`.
        batch_size: of the global batch.
        key: of the configuration, for the message.

    Raises:
        InputError: the batch cannot be divided evenly among the replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(f"{key}: expected a multiple of the {replicas} devices in use, received {batch_size}")
    task = _task() if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else {"index": 0, "workers": 1}
    count = batch_size // task["workers"]
    return Share(batch_size, first=task["index"] * count, count=count, per_replica=batch_size // replicas)
