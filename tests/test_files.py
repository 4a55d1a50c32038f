"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import InputError
from trainer.files import atomic_path, write_json, write_text


@pytest.fixture
def former(tmp_path: Path) -> Path:
    path = tmp_path / "table.txt"
    path.write_text("former", encoding="utf-8")
    return path


def assert_kept(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == "former"
    assert os.listdir(path.parent) == [path.name]


def test_the_new_content_appears_when_the_block_ends(former: Path) -> None:
    with atomic_path(former) as aside:
        assert aside.parent == former.parent
        assert aside.suffix == ".txt"
        aside.write_text("new", encoding="utf-8")
        assert former.read_text(encoding="utf-8") == "former"
    assert former.read_text(encoding="utf-8") == "new"
    assert os.listdir(former.parent) == ["table.txt"]


def test_the_folder_is_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é".encode()


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"Größe": [1, None]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"Größe": [1, None]}
    assert "Größe" in text
    assert text.endswith("\n")


@pytest.mark.parametrize("error", [RuntimeError("halfway"), KeyboardInterrupt(), InputError("expected more")])
def test_a_failure_keeps_the_former_file_and_leaves_nothing_beside(error: BaseException, former: Path) -> None:
    with pytest.raises(type(error)), atomic_path(former) as aside:
        aside.write_text("half of", encoding="utf-8")
        raise error
    assert_kept(former)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_the_users_to_mend(call: str, former: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(
        InputError, match=r"^cannot write .*table.txt: No space left on device; the former file is kept"
    ):
        write_text(former, "new")
    monkeypatch.undo()
    assert_kept(former)


# In a process of its own: the limit holds for every file that a process writes, a redirected output too.
SMALL_DISK = """
import resource, sys
from trainer.errors import InputError
from trainer.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(sys.argv[1], "x" * 5000)
    sys.exit(4)
except InputError as error:
    sys.exit(0 if "File too large" in str(error) else 3)
"""


def test_a_write_that_fails_halfway_keeps_the_former_file(former: Path) -> None:
    program = [sys.executable, "-c", SMALL_DISK, str(former)]
    assert subprocess.run(program, check=False, capture_output=True).returncode == 0
    assert_kept(former)


def test_a_file_in_the_folders_place_is_refused(former: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_text(former / "below.txt", "new")
    assert_kept(former)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.txt").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "table.txt", "new")
    assert os.listdir(tmp_path) == ["table.txt"]


def test_two_processes_write_beside_each_other(former: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_path(former) as one:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with atomic_path(former) as other:
            assert one != other
            one.write_text("one", encoding="utf-8")
            other.write_text("other", encoding="utf-8")
        assert former.read_text(encoding="utf-8") == "other"
    assert former.read_text(encoding="utf-8") == "one"
