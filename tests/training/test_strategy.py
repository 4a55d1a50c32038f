"""Which devices a run uses, and what is said where they cannot be had."""

from __future__ import annotations

import json
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import pytest
import tensorflow as tf

from trainer.data.pipeline import Share
from trainer.errors import InputError
from trainer.training.strategy import build_strategy, is_chief, local_share


class Replicas(tf.distribute.MultiWorkerMirroredStrategy):
    """A strategy of so many replicas, without the processes."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas

    @property
    def num_replicas_in_sync(self) -> int:
        return self.replicas


def cluster(index: int, workers: int = 2) -> str:
    addresses = [f"localhost:{port}" for port in range(1000, 1000 + workers)]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def test_one_device_needs_no_strategy() -> None:
    strategy = build_strategy("none")
    assert strategy.num_replicas_in_sync == 1
    assert is_chief(strategy)
    assert local_share(strategy, 8) == Share.whole(8)


def test_all_devices_of_a_machine_are_one_strategy() -> None:
    strategy = build_strategy("mirrored")
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == (len(tf.config.list_logical_devices("GPU")) or 1)
    assert build_strategy("mirrored") is strategy


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "3", "{}", '{"cluster": {"worker": []}, "task": {"index": 0}}', cluster(2), cluster(-1)],
)
def test_a_malformed_cluster_is_refused_with_an_example(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"^train\.distribution: multi_worker expects .*TF_CONFIG such as") as caught:
        build_strategy("multi_worker")
    assert "\n" not in str(caught.value)
    assert "received" in str(caught.value)


def test_a_tpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*arguments: Any) -> None:
        raise ValueError("Please provide a TPU Name\nto connect to.")

    monkeypatch.setattr(tf.distribute.cluster_resolver.TPUClusterResolver, "connect", connect)
    with pytest.raises(InputError, match=r"^train\.distribution: tpu expects a TPU .*a TPU Name to connect to\.\)$"):
        build_strategy("tpu")


def test_workers_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for index in (0, 1):
        monkeypatch.setenv("TF_CONFIG", cluster(index))
        shares.append(local_share(Replicas(4), 16))
        assert is_chief(Replicas(4)) == (index == 0)
    assert shares == [Share(16, 0, 8, 4), Share(16, 8, 8, 4)]


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^train\.head: batch_size: expected a multiple of the 3 devices in use, received 8$"
    ):
        local_share(Replicas(3), 8, "train.head: batch_size")
