"""`python -m export table`, killed while it embeds: nothing half is published, and no picture is embedded twice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in_encoder import catalogue_csv, write_encoder

import export.release
from export.__main__ import main

COUNT = 200


def test_what_was_embedded_before_a_kill_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, shop = tmp_path / "exports", tmp_path / "shop"
    shop.mkdir()
    write_encoder(exports / "fused_encoder" / "1")
    file = catalogue_csv(shop, COUNT)
    arguments = ["table", "--out", str(exports), "--catalogue", str(file), "--batch-size", "1"]
    with subprocess.Popen([sys.executable, "-m", "export", *arguments], stderr=subprocess.PIPE) as process:
        before = time.monotonic() + 120
        while kept(exports) < 5:
            assert process.poll() is None and time.monotonic() < before
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    there = kept(exports)
    assert 5 <= there < COUNT
    assert [path.name for path in exports.glob("fused_*")] == ["fused_encoder"]
    monkeypatch.setattr(export.release, "verify_versions", lambda folders, pictures=None: [])
    assert main(arguments) == 0
    embedded = re.search(r"(\d+) pictures embedded; 200 items", capsys.readouterr().out)
    assert embedded is not None and int(embedded[1]) == COUNT - there
    assert sorted(path.name for path in (exports / ".table-fused").iterdir()) == [".lock", "rejected.csv"]


def kept(exports: Path) -> int:
    """How many vectors are on disk."""
    return sum(path.stat().st_size // 32 for path in exports.glob(".table-fused/vectors/*/keys.bin"))
