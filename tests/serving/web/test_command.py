"""The command: what it refuses before anything is shown."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main


@pytest.fixture
def refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with arguments that it refuses; answers what it says."""

    def call(*arguments: object) -> str:
        code = main(["web", "--pictures", str(shop / "pictures"), *map(str, arguments)])
        printed = capsys.readouterr()
        assert (code, printed.out) == (2, "")
        assert printed.err.startswith("error: expected") and printed.err.count("\n") == 1
        return printed.err

    return call


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example"])  # noqa: S104
def test_a_page_for_others_needs_a_login(refused: Any, host: str) -> None:
    assert "--password-file" in refused("--host", host)


def test_a_login_is_whole(refused: Any, tmp_path: Path) -> None:
    empty, good = tmp_path / "empty", tmp_path / "good"
    empty.write_text("\n")
    good.write_text("sesame\n")
    assert "together" in refused("--user", "shop")
    assert "together" in refused("--password-file", good)
    assert "is empty" in refused("--user", "shop", "--password-file", empty)
    assert "cannot be read" in refused("--user", "shop", "--password-file", tmp_path / "none")
    assert "colon" in refused("--user", "a:b", "--password-file", good)


def test_what_cannot_be_shown(refused: Any, shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "another --host or --port" in refused("--port", taken.getsockname()[1])
    assert "folder of pictures" in refused("--pictures", shop / "none")
    assert "--items" in refused("--items", shop / "none")
    assert "--compare" in refused("--compare", ":3")
    assert "--max-upload-mib" in refused("--max-upload-mib", 0)
    assert "--examples" in refused("--examples", -1)
    assert "--port" in refused("--port", 70_000)
