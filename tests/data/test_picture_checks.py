"""Pictures are opened once; a killed run goes on; a changed picture is opened again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from PIL import Image

from trainer.data import picture_checks
from trainer.data.journal import Journal
from trainer.data.picture_checks import PictureChecks, find_pictures
from trainer.data.pictures import PictureRecord, check_pictures
from trainer.errors import InputError


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were opened, in order."""
    paths: list[str] = []

    def counting(batch: list[str], folder: Path, max_pixels: int) -> list[PictureRecord]:
        paths.extend(batch)
        return check_pictures(batch, folder, max_pixels)

    monkeypatch.setattr(picture_checks, "check_pictures", counting)
    return paths


def draw(path: Path, seed: int = 0) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def checked(paths: list[str], workdir: Path, **settings: int) -> Any:
    checks = PictureChecks(workdir, **{"max_pixels": 10_000, "workers": 1, **settings})
    return checks.check(find_pictures(paths)).set_index("source_path")


def test_an_unchanged_picture_is_opened_once(tmp_path: Path, opened: list[str]) -> None:
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(5)]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths += [str(tmp_path / "broken.png"), paths[0]]
    first = checked(paths, tmp_path)
    assert sorted(opened) == sorted(set(paths))
    second = checked(paths, tmp_path)
    assert len(opened) == 6
    assert second.sort_index().equals(first.sort_index())
    assert first.loc[str(tmp_path / "broken.png"), "reason"] == "not_a_picture"
    assert len(first) == 6


def test_a_changed_picture_is_opened_again(tmp_path: Path, opened: list[str]) -> None:
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(3)]
    before = checked(paths, tmp_path)
    opened.clear()
    draw(tmp_path / "1.png", 9)
    after = checked(paths, tmp_path)
    assert opened == [paths[1]]
    assert after.loc[paths[1], "sha256"] != before.loc[paths[1], "sha256"]
    opened.clear()
    os.utime(paths[2], ns=(1, 1))
    assert checked(paths, tmp_path).loc[paths[2], "mtime_ns"] == 1
    assert opened == [paths[2]]
    opened.clear()
    checked(paths, tmp_path)
    assert opened == []


def test_a_killed_run_goes_on(tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_checks, "_BATCH", 2)
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(9)]
    counting = picture_checks.check_pictures

    def killed(batch: list[str], folder: Path, max_pixels: int) -> list[PictureRecord]:
        if len(opened) >= 6:
            raise KeyboardInterrupt
        return counting(batch, folder, max_pixels)

    monkeypatch.setattr(picture_checks, "check_pictures", killed)
    with pytest.raises(KeyboardInterrupt):
        checked(paths, tmp_path)
    monkeypatch.setattr(picture_checks, "check_pictures", counting)
    (journal,) = (tmp_path / "prepare").iterdir()
    with open(journal, "a", encoding="utf-8") as file:
        file.write('{"source_path": "torn')  # what a kill in the middle of a line leaves
    records = checked(paths, tmp_path)
    assert sorted(opened) == sorted(paths)
    assert sorted(records.index) == sorted(paths)
    assert len(checked(paths, tmp_path)) == 9


def test_a_lost_copy_is_made_again(tmp_path: Path, opened: list[str]) -> None:
    path = draw(tmp_path / "a.webp")
    first = checked([path], tmp_path).loc[path]
    copy = Path(first["image_path"])
    content = copy.read_bytes()
    for spoil in (copy.unlink, lambda: copy.write_bytes(b"torn")):
        opened.clear()
        spoil()
        assert checked([path], tmp_path).loc[path].equals(first)
        assert copy.read_bytes() == content
        assert opened == [path]


def test_what_could_not_be_read_is_tried_again(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "a.png")
    forbidden = PictureRecord(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns, reason="unreadable")
    Journal(tmp_path / "prepare" / f"pictures-{picture_checks._FORMAT}-10000.jsonl").append([forbidden])
    assert checked([path], tmp_path).loc[path, "reason"] == ""
    assert opened == [path]


def test_another_limit_of_pixels_opens_anew(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    assert checked([path], tmp_path).loc[path, "reason"] == ""
    assert checked([path], tmp_path, max_pixels=63).loc[path, "reason"] == "too_many_pixels"
    assert checked([path], tmp_path).loc[path, "reason"] == ""


def test_folders_are_rejected_without_being_opened(tmp_path: Path, opened: list[str]) -> None:
    records = checked([str(tmp_path)], tmp_path)
    assert records.loc[str(tmp_path), "reason"] == "not_a_file"
    assert opened == []


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_checks, "_ALONE", 2)
    paths = [draw(tmp_path / f"{number}.png", number) for number in range(70)]
    (tmp_path / "69.png").write_bytes(b"")
    alone = checked(paths, tmp_path / "one").sort_index()
    together = checked(paths, tmp_path / "two", workers=2).sort_index()
    assert together.equals(alone)


def test_a_lost_process_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, **_: Any) -> None: ...

        def __call__(self, _: Any) -> Any:
            raise TerminatedWorkerError("killed by SIGKILL(-9)")

    monkeypatch.setattr(picture_checks, "_ALONE", 0)
    monkeypatch.setattr(picture_checks, "Parallel", Pool)
    with pytest.raises(InputError, match=r"lower data\.workers or data\.max_pixels and run again"):
        checked([draw(tmp_path / "a.png")], tmp_path, workers=2)


def test_a_journal_of_something_else(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    assert len(journal.read()) == 0
    (tmp_path / "a.jsonl").write_text('{"path": 1}\n', encoding="utf-8")
    with pytest.raises(InputError, match="delete it"):
        journal.read()
    (tmp_path / "a.jsonl").write_text("no line's end", encoding="utf-8")
    assert len(journal.read()) == 0


def test_the_last_record_of_a_path_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "a.jsonl")
    journal.append([PictureRecord("é", 1, 2**62), PictureRecord("b", 2)])
    journal.append([PictureRecord("é", 3, 2**62)])
    read = journal.read()
    assert read["source_path"].tolist() == ["b", "é"]
    assert read["size"].tolist() == [2, 3]
    assert read["mtime_ns"].tolist() == [0, 2**62]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write"):
        Journal(tmp_path / "file" / "a.jsonl").append([])
