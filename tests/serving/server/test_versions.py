"""Which versions are found, and which are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.server.versions import aspired, state_of_files, versions_in


def test_folders_that_are_versions(tmp_path: Path) -> None:
    for name in ("1", "007", "12", "v3", "-4", "1.5", "tmp", str(1 << 63), "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("a file")
    assert versions_in(tmp_path) == {1: tmp_path / "1", 7: tmp_path / "007", 12: tmp_path / "12"}
    with pytest.raises(FileNotFoundError):
        versions_in(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "broken", "expected"),
    [
        ("", (), [9]),
        ("latest { }", (), [9]),
        ("latest { num_versions: 2 }", (), [9, 4]),
        ("latest { num_versions: 2 }", (9,), [4, 1]),
        ("all { }", (), [9, 4, 1]),
        ("specific { versions: 1 versions: 4 versions: 5 }", (), [4, 1]),
    ],
)
def test_policies(text: str, broken: tuple[int, ...], expected: list[int]) -> None:
    assert aspired(policy_of(text), {number: Path() for number in (1, 9, 4)}, broken) == expected


def policy_of(text: str) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelConfig()
    text_format.Parse(f"model_version_policy {{ {text} }}", config)
    return config.model_version_policy


def test_a_copy_that_goes_on_is_seen(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    before = state_of_files(tmp_path)
    assert state_of_files(tmp_path) == before
    (tmp_path / "variables" / "data").write_bytes(b"12")
    assert state_of_files(tmp_path) != before
