"""What the server is told: batching parameters and the model config, labels kept."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export.config import BatchingConfig
from export.model_config import MODELS_FILE, labelled_versions, write_batching, write_models_config
from serving.contract import BATCHING_FILE
from trainer.errors import InputError


def exports(root: Path, **models: list[int]) -> Path:
    for name, numbers in models.items():
        for number in numbers:
            (root / name / str(number)).mkdir(parents=True)
    return root


def entries(root: Path) -> dict[str, Any]:
    text = (root / MODELS_FILE).read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return {entry.name: entry for entry in config.model_config_list.config}


def test_batching_is_what_the_server_reads(tmp_path: Path) -> None:
    write_batching(tmp_path, BatchingConfig(allowed_batch_sizes=(1, 4), batch_timeout_micros=500), "fused")
    assert (tmp_path / BATCHING_FILE).read_text(encoding="utf-8").splitlines() == [
        "max_batch_size { value: 4 }",
        "batch_timeout_micros { value: 500 }",
        "max_enqueued_batches { value: 100 }",
        'thread_pool_name { value: "fused" }',
        "allowed_batch_sizes: 1",
        "allowed_batch_sizes: 4",
    ]
    write_batching(tmp_path, BatchingConfig(num_batch_threads=3), "fused")
    assert "num_batch_threads { value: 3 }\n" in (tmp_path / BATCHING_FILE).read_text(encoding="utf-8")


def test_every_model_has_an_entry_and_serves_its_newest(tmp_path: Path) -> None:
    root = exports(tmp_path, fused_lookup=[1, 2], fused_search=[2], empty=[])
    (root / "notes").mkdir()
    write_models_config(root)
    found = entries(root)
    assert list(found) == ["fused_lookup", "fused_search"]
    for name, entry in found.items():
        assert entry.base_path == f"{root}/{name}"
        assert entry.model_platform == "tensorflow"
        assert entry.model_version_policy.latest.num_versions == 1
    assert labelled_versions(root) == {"fused_lookup": {}, "fused_search": {}}


def test_labels_stay_where_they_are_and_are_served_beside_the_newest(tmp_path: Path) -> None:
    root = exports(tmp_path, fused_lookup=[1], fused_search=[1])
    write_models_config(root, labels={"fused_lookup": ["stable", "canary"]})
    exports(tmp_path, fused_lookup=[2, 3])
    write_models_config(root, labels={"fused_lookup": ["canary"]})
    assert labelled_versions(root) == {"fused_lookup": {"stable": 1, "canary": 3}, "fused_search": {}}
    assert list(entries(root)["fused_lookup"].model_version_policy.specific.versions) == [1, 3]
    assert entries(root)["fused_search"].model_version_policy.latest.num_versions == 1


def test_a_label_of_a_version_that_is_gone_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = exports(tmp_path, fused_lookup=[1])
    write_models_config(root, labels={"fused_lookup": ["stable"]})
    (root / "fused_lookup" / "1").rmdir()
    exports(tmp_path, fused_lookup=[2])
    with caplog.at_level(logging.WARNING):
        write_models_config(root)
    assert labelled_versions(root) == {"fused_lookup": {}}
    assert "version 1, labelled stable, is not there" in caplog.text


def test_paths_and_other_models_set_by_hand_stay(tmp_path: Path) -> None:
    root = exports(tmp_path, fused_lookup=[1])
    write_models_config(root, served_from="/models/")
    assert entries(root)["fused_lookup"].base_path == "/models/fused_lookup"
    path = root / MODELS_FILE
    other = 'model_config_list { config { name: "other" base_path: "/elsewhere/other" model_platform: "tensorflow" }'
    path.write_text(path.read_text(encoding="utf-8").replace("model_config_list {", other), encoding="utf-8")
    exports(tmp_path, fused_search=[1])
    write_models_config(root)
    found = {name: entry.base_path for name, entry in entries(root).items()}
    assert found == {
        "fused_lookup": "/models/fused_lookup",
        "fused_search": "/models/fused_search",
        "other": "/elsewhere/other",
    }


def test_a_file_that_cannot_be_read_is_refused_and_left(tmp_path: Path) -> None:
    path = exports(tmp_path, fused_lookup=[1]) / MODELS_FILE
    path.write_text("model_config_list {{", encoding="utf-8")
    with pytest.raises(InputError, match=r"models\.config: expected a model config in protobuf text format[^\n]*$"):
        write_models_config(tmp_path)
    assert path.read_text(encoding="utf-8") == "model_config_list {{"
