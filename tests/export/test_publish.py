"""Versions appear whole or not at all, also when the process is killed; old ones go, the right ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from killed_program import fill

from export.manifest import hash_files, read_manifest
from export.model_config import labelled_versions
from export.publish import link_tree, next_version, prune, staged_version, versions
from trainer.errors import InputError

PROGRAM = Path(__file__).with_name("killed_program.py")


def publish(base: Path, *numbers: int) -> None:
    for number in numbers:
        with staged_version(base, number) as folder:
            fill(folder)


def is_whole(folder: Path) -> bool:
    return dict(read_manifest(folder).files) == hash_files(folder)


def hidden(base: Path) -> set[str]:
    return {path.name for path in base.iterdir() if path.name.startswith(".") and path.is_dir()}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "fused_lookup"


def test_a_version_appears_when_the_block_ends(base: Path) -> None:
    with staged_version(base, 1) as folder:
        fill(folder)
        assert folder.parent == base
        assert not folder.name.isdigit()
        assert versions(base) == []
    assert versions(base) == [1]
    assert is_whole(base / "1")
    assert not hidden(base)


def test_a_block_that_fails_leaves_nothing(base: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged_version(base, 1) as folder:
        fill(folder)
        raise ZeroDivisionError
    assert versions(base) == []
    assert not hidden(base)


def test_everything_is_flushed_before_the_rename(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        flushed.append("rename")
        rename(source, target)

    with staged_version(base, 1) as folder:
        fill(folder)
        there = {str(path) for path in [folder, *folder.rglob("*")]}
        monkeypatch.setattr(os, "fsync", record)
        monkeypatch.setattr(os, "rename", renamed)
    assert set(flushed[: flushed.index("rename")]) == there
    assert flushed[flushed.index("rename") :] == ["rename", str(base)]


@pytest.mark.parametrize("number", [1, 3])
def test_a_number_that_is_not_new_is_refused(number: int, base: Path) -> None:
    publish(base, 3)
    with pytest.raises(InputError, match="expected a version above 3"), staged_version(base, number):
        pass
    assert versions(base) == [3]


def test_two_at_once_are_refused(base: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        try:
            with staged_version(base, 1):
                pass
        except InputError as error:
            refused.append(str(error))

    with staged_version(base, 1) as folder:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        fill(folder)
    assert len(refused) == 1
    assert "another process publishes in" in refused[0]
    assert versions(base) == [1]


def test_only_numbers_are_versions(base: Path) -> None:
    publish(base, 2, 10)
    for name in ("0012", "1.5", "latest", "-3", ".4", "٣"):
        (base / name).mkdir()
    (base / "77").write_text("a file", encoding="utf-8")
    assert versions(base) == [2, 10, 12]
    assert versions(base / "none") == []


def test_kinds_of_one_model_count_together(tmp_path: Path) -> None:
    assert next_version(tmp_path, "fused") == 1
    publish(tmp_path / "fused_encoder", 1)
    publish(tmp_path / "fused_search", 4)
    publish(tmp_path / "resnet50_encoder", 8)
    assert next_version(tmp_path, "fused") == 5


def test_pruning_keeps_the_newest_and_the_labelled(base: Path) -> None:
    publish(base, 1, 2, 3, 4, 5)
    assert prune(base, 2, labelled=[1, 99]) == [2, 3]
    assert versions(base) == [1, 4, 5]
    assert prune(base, 7) == []
    assert prune(base, 1) == [1, 4]
    assert versions(base) == [5]
    assert is_whole(base / "5")
    with pytest.raises(InputError, match="at least 1"):
        prune(base, 0)


def test_a_copy_by_links_takes_no_room_and_outlives_the_original(base: Path) -> None:
    publish(base, 1)
    with staged_version(base, 2) as folder:
        link_tree(base / "1", folder)
    data = "variables/variables.data-00000-of-00001"
    assert os.path.samefile(base / "1" / data, base / "2" / data)
    prune(base, 1)
    assert is_whole(base / "2")


def test_where_links_are_impossible_files_are_copied(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(base, 1)

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    link_tree(base / "1", base.parent / "copy")
    assert is_whole(base.parent / "copy")


def test_a_full_disk_is_said_in_one_line(base: Path) -> None:
    with pytest.raises(InputError, match=r"^cannot write below .*No space left[^\n]*$"), staged_version(base, 1):
        raise OSError(28, "No space left on device", "variables")
    assert versions(base) == []


def test_a_disk_that_is_full_for_tensorflow_is_said_in_one_line_too(base: Path) -> None:
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(None, None, "variables/x.tempstate; No space left on device")
    with pytest.raises(InputError, match=r"^cannot write below .*No space left[^\n]*$"), staged_version(base, 1):
        raise full
    memory = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"), staged_version(base, 1):
        raise memory
    assert versions(base) == []


def test_a_place_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="give an --out"), staged_version(tmp_path / "file" / "fused_lookup", 1):
        pass


SEEN = {
    "publish": {(1, 2, 3), (1, 2, 3, 9)},
    "rollback": {(1, 2, 3), (1, 2, 3, 9)},
    "prune": {(1, 2, 3), (2, 3)},
    "models.config": {(1, 2, 3)},
}


@pytest.mark.parametrize("change", SEEN)
def test_killed_at_any_step_nothing_half_is_seen(change: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), change], timeout=200, check=True, capture_output=True, text=True
    )
    codes = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(codes) >= 8
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    seen, labels = [], set()
    for step in range(1, len(codes) + 1):
        base = tmp_path / str(step) / "fused_lookup"
        there = versions(base)
        seen.append(tuple(there))
        assert all(is_whole(base / str(number)) for number in there), step
        labels |= {tuple(sorted(labelled_versions(base.parent)["fused_lookup"].items()))}
        # Whatever was left is cleared up by the next one, which succeeds.
        publish(base, 10)
        assert versions(base)[-1] == 10
        assert not hidden(base)
    assert set(seen) == SEEN[change]
    assert seen[0] == (1, 2, 3)
    before = (("stable", 3),)
    assert labels == ({before, (("canary", 3), *before)} if change == "models.config" else {before})
