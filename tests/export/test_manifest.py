"""The manifest: over all files of a version, readable, refused in one line when it is not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from killed_program import fill

from export.manifest import created_now, hash_files, library_versions, read_manifest, write_manifest
from serving.contract import MANIFEST_FILE, Manifest
from trainer.errors import InputError


def manifest(**changes: object) -> Manifest:
    facts: dict[str, object] = {
        "kind": "search",
        "name": "fused",
        "created": created_now(),
        "libraries": library_versions(),
        "target": "cpu",
        "signatures": ("search_images",),
        "embedding_dim": 4,
        "precision": "float32",
        "fingerprint": "abc",
    }
    return Manifest(**(facts | changes))  # type: ignore[arg-type]


def test_it_names_every_file_but_itself_by_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1234")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    written = write_manifest(tmp_path, manifest(labels=("Überschuhe",)))
    assert dict(written.files) == {
        "saved_model.pb": hashlib.sha256(b"").hexdigest(),
        "variables/data": hashlib.sha256(b"1234").hexdigest(),
    }
    assert read_manifest(tmp_path) == written
    assert written.labels == ("Überschuhe",)
    assert hash_files(tmp_path) == written.files


def test_a_change_of_a_file_shows(tmp_path: Path) -> None:
    fill(tmp_path)
    before = read_manifest(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"other")
    assert write_manifest(tmp_path, before).files != before.files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected an exported version such as EXPORTS/fused_search/1"),
        (b"{", "cannot be read"),
        (b"[]", "received list"),
        (b'{"format_version": 2}', "expected a manifest of format 1 to 1, received 2"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / MANIFEST_FILE).parent.mkdir()
        (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_says_when_and_with_what_it_was_made() -> None:
    assert abs(datetime.now(UTC) - datetime.fromisoformat(created_now())) < timedelta(minutes=1)
    found = library_versions()
    assert found["tensorflow"].startswith("2.")
    assert {"keras", "numpy", "shoppin"} <= set(found)
