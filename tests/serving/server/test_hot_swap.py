"""Versions are swapped while requests come: none fails, and memory stays."""

from __future__ import annotations

import shutil
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from embedded_process import embedded_process
from lookups import Lookups, publish, until

from serving import Client, ModelNotFoundError, contract

AVAILABLE, END = 30, 50


def flip(path: Path) -> None:
    """Turns one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def spoil_warmup(folder: Path) -> None:
    (folder / contract.MANIFEST_FILE).unlink()
    flip(folder / contract.WARMUP_FILE)


def spoil_batching(folder: Path) -> None:
    (folder / contract.MANIFEST_FILE).unlink()
    (folder / contract.BATCHING_FILE).write_text("max_batch_size: 3")


def truncate(folder: Path) -> None:
    (folder / contract.MANIFEST_FILE).unlink()
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])


SPOILS: list[Any] = [
    lambda folder: flip(folder / "saved_model.pb"),
    lambda folder: flip(folder / contract.MANIFEST_FILE),
    lambda folder: (folder / "saved_model.pb").unlink(),
    spoil_warmup,
    spoil_batching,
    truncate,
]


def test_broken_versions_replace_nothing_and_say_why(own_exports: Path, serve: Any) -> None:
    with serve(own_exports) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        asked = Lookups(channel)
        for version, spoil in enumerate(SPOILS, start=2):
            publish(own_exports, version, spoil)
            until(lambda version=version: asked.states().get(version, (0, ""))[0] == END)  # type: ignore[misc]
            assert asked.lookup().model_spec.version.value == 1
        states = asked.states()
        assert states.pop(1) == (AVAILABLE, "")
        assert {state for state, _ in states.values()} == {END}
        assert all(error for _, error in states.values())
        assert "its manifest says" in states[2][1]
        assert "batching_params.pbtxt" in states[6][1]
        good = len(SPOILS) + 2
        publish(own_exports, good)
        until(lambda: asked.lookup().model_spec.version.value == good)


def labelled_config(exports: Path, versions: dict[str, int]) -> str:
    """A models.config that serves some versions of the lookup under labels."""
    wanted = " ".join(f"versions: {number}" for number in versions.values())
    labels = " ".join(f"version_labels {{ key: '{label}' value: {number} }}" for label, number in versions.items())
    return (
        f"model_config_list {{ config {{ name: 'fused_lookup' base_path: '{exports / 'fused_lookup'}' "
        f"model_platform: 'tensorflow' model_version_policy {{ specific {{ {wanted} }} }} {labels} }} }}"
    )


def test_labels_of_a_models_config_are_followed(own_exports: Path, serve: Any) -> None:
    config = own_exports / "models.config"
    config.write_text(labelled_config(own_exports, {"stable": 1}))
    with serve(config) as server, Client(f"127.0.0.1:{server.port}") as client:

        def answering(label: str) -> int | None:
            try:
                return client.lookup(np.ones(16, np.float32), 3, label=label).version
            except ModelNotFoundError:  # not known yet
                return None

        assert answering("stable") == 1
        publish(own_exports, 2)
        config.write_text(labelled_config(own_exports, {"stable": 1, "canary": 2}))
        until(lambda: answering("canary") == 2)
        assert answering("stable") == 1
        config.write_text(labelled_config(own_exports, {"stable": 2}))
        until(lambda: answering("stable") == 2)


def test_answers_of_a_fresh_server_are_those_of_the_saved_model(small_exports: Path, serve: Any) -> None:
    model = tf.saved_model.load(str(small_exports / "fused_lookup" / "1"))
    queries = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    expected = model.signatures["lookup"](embedding=tf.constant(queries))
    with serve(small_exports) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = "fused_lookup"
        request.inputs["embedding"].CopyFrom(tf.make_tensor_proto(queries))
        answer = Lookups(channel).prediction.Predict(request, timeout=30)
    assert set(answer.outputs) == set(expected)
    for name, value in expected.items():
        found = tf.make_ndarray(answer.outputs[name])
        if value.dtype == tf.string:
            assert found.tolist() == value.numpy().tolist()
        else:
            np.testing.assert_allclose(found, value.numpy(), rtol=1e-6)


@pytest.mark.timeout(120)
def test_swaps_under_load_fail_nobody_and_keep_the_memory(own_exports: Path) -> None:
    swaps, settled = 16, 6
    answered: Counter[int] = Counter()
    failures: list[str] = []
    over = threading.Event()
    with embedded_process(own_exports, "--poll-seconds", "0.02") as server:

        def resident() -> int:
            pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
            return int(pages) * 4096

        def ask() -> None:
            with grpc.insecure_channel(server.address) as channel:
                asked = Lookups(channel)
                while not over.is_set():
                    try:
                        answer = asked.lookup()
                    except grpc.RpcError as error:
                        failures.append(str(error))
                        continue
                    answered[answer.model_spec.version.value] += 1

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        try:
            with grpc.insecure_channel(server.address) as channel:
                asked = Lookups(channel)
                memory = []
                for version in range(2, swaps + 2):
                    publish(own_exports, version)
                    until(lambda version=version: asked.states().get(version, (0, ""))[0] == AVAILABLE)  # type: ignore[misc]
                    until(lambda version=version: asked.states().get(version - 1, (END, ""))[0] == END)  # type: ignore[misc]
                    shutil.rmtree(own_exports / "fused_lookup" / str(version - 1))
                    memory.append(resident())
        finally:
            over.set()
            for asker in askers:
                asker.join()
        # An interruption ends it as well as SIGTERM does, which has a test of its own, but says so.
        assert server.stop(signal.SIGINT) == 130
    assert failures == []
    assert len(answered) > swaps // 2
    assert sum(answered.values()) > 100
    assert max(memory[settled:]) < 1.05 * max(memory[:settled])
