"""What the commands refuse: exit code 2, one line, and what to do."""

from __future__ import annotations

import builtins
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import __main__ as program
from serving.commands import connection
from serving.server import command as serve

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def refused(ran: Any, *parts: str) -> None:
    assert ran.code == 2, ran.err
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "COMMAND"),
        (("find",), "invalid choice: 'find'"),
        (("search",), "at least one PHOTO or --text, received neither"),
        (("search", "PHOTO", "--text", "red", "--text", "blue"), "one --text with photos, received 2"),
        (("search", "--text", " "), "text 0: expected a text, received an empty one"),
        (("search", "--text", "\udcff"), "lone surrogate"),
        (("search", "--text", "red", "--weight", "0.5"), "a weight only with a picture and a text"),
        (("search", "PHOTO", "--weight", "0.5"), "a weight only with a picture and a text"),
        (("search", "PHOTO", "--text", "red", "--weight", "nan"), "a weight from 0 (the picture alone) to 1"),
        (("search", "PHOTO", "--text", "red", "--weight", "much"), "--weight"),
        (("search", "--text", "x" * 10001), "at most 10,000 characters"),
        (("search", "PHOTO", "--k", "many"), "--k"),
        (("search", "PHOTO", "--k", "0"), "at least 1"),
        (("search", "nowhere.png"), "nowhere.png: No such file"),
        (("search", "PHOTO", "--filter", "gender"), "--filter NAME=VALUE, such as gender=Women; received 'gender'"),
        (("search", "PHOTO", "--filter", "=x"), "NAME=VALUE"),
        (("search", "PHOTO", "--server", "here:and:there:x"), "expected host:port"),
        (("search", "PHOTO", "--timeout", "-1"), "expected timeout in seconds"),
        (("search", "PHOTO", "--version", "1", "--label", "stable"), "not allowed with"),
        (("search", "PHOTO", "--show", "out.png"), "--pictures DIR or --items FILE"),
        (("search", "PHOTO", "--pictures", "."), "--show OUT.png"),
        (("search", "PHOTO", "--show", "out.txt", "--pictures", "."), "such as out.png; received out.txt"),
        (("search", "PHOTO", "--show", "no/out.png", "--pictures", "."), "folder that exists"),
        (("search", "PHOTO", "--k", "2000", "--show", "out.png", "--pictures", "."), "at most 1000 pictures"),
        (("search", "PHOTO", "--show", "out.png", "--pictures", "nowhere"), "a folder of pictures"),
        (("search", "PHOTO", "--show", "out.png", "--items", "nowhere"), "items.parquet"),
        (("search", "PHOTO", "--token-file", "nowhere"), "bearer token in nowhere"),
        (("search", "PHOTO", "--tls-key", "key.pem"), "certificate and key together"),
        (("embed",), "at least one PHOTO or --text, received neither"),
        (("embed", "PHOTO", "--out", "vectors.txt"), "ends in .npy"),
        (("lookup", "nowhere.npy"), "expected embeddings in nowhere.npy"),
        (("lookup", "PHOTO"), "expected embeddings in"),
        (("load", "PHOTO", "--ask", "lookup"), "no PHOTO with --ask lookup"),
        (("load", "--text", "red", "--ask", "lookup"), "no --text"),
        (("load", "--text", "red", "--ask", "classify"), "photos only with --ask classify"),
        (("load", "PHOTO", "--text", "red", "--ask", "embed"), "photos or --text with --ask embed, received both"),
        (("load", "--ask", "search"), "at least one PHOTO"),
        (("load", "--concurrency", "0"), "--concurrency over 0"),
        (("load", "--duration", "1e9"), "--duration over 0"),
        (("load", "--requests", "-1"), "--requests over 0"),
        (("load", "PHOTO", "--ask", "embed", "--filter", "a=b"), "search or lookup only"),
        (("load", "PHOTO", "--weight", "0.3"), "--weight with photos and --text together"),
        (("load", "PHOTO", "--ask", "embed", "--k", "3"), "no --k with --ask embed"),
        (("load", "--seed", "-1"), "--seed of 0 or more"),
        (("serve", ".", "--max-message-mib", "nan"), "expected a number, received nan"),
        (("serve", ".", "--max-message-mib", "2048"), "max_message_bytes below 2 GiB"),
        (("serve", ".", "--max-megapixels", "inf"), "expected a number, received inf"),
    ],
    ids=lambda value: ascii(" ".join(value)[:60]) if isinstance(value, tuple) else "",
)
def test_input(run: Any, photos: list[Path], arguments: tuple[str, ...], told: str) -> None:
    refused(run(*(str(photos[0]) if each == "PHOTO" else each for each in arguments)), told)


def test_files_that_are_not_what_they_should_be(run: Any, tmp_path: Path, nobody: str) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    refused(run("search", tmp_path / "text.jpg"), "text.jpg begins with")
    np.save(tmp_path / "objects.npy", np.array([{}]))
    refused(run("lookup", tmp_path / "objects.npy"), "expected an array in")
    np.save(tmp_path / "number.npy", np.float32(3))
    refused(run("lookup", tmp_path / "number.npy"), "[D] or [N, D]", "received the shape []")
    lines = ['{"photo": "x"}', "[1, 2]", '{"embedding": "x"}', '{"embedding": {}}', '{"embedding": [[1, 2], [3, 4]]}']
    lines.append(f'{{"embedding": [{"9" * 400}]}}')
    for number, text in enumerate(["", *lines]):
        (tmp_path / "lines").write_text(text)
        refused(run("lookup", tmp_path / "lines"), "line 1" if number else "is empty")
    (tmp_path / "lines").write_text('{"embedding": [NaN, 1]}')
    refused(run("lookup", tmp_path / "lines", "--server", nobody))
    (tmp_path / "token").write_text(" \n")
    refused(run("status", "--token-file", tmp_path / "token"), "it is empty")


@pytest.mark.parametrize("name", ["search", "embed", "classify", "lookup", "status", "load"])
def test_a_server_that_is_not_there(run: Any, photos: list[Path], tmp_path: Path, nobody: str, name: str) -> None:
    np.save(tmp_path / "one.npy", np.ones(16))
    given = {"lookup": [tmp_path / "one.npy"], "status": [], "load": []}.get(name, [photos[0]])
    refused(run(name, *given, "--server", nobody), nobody, "python -m serving serve EXPORTS", "--server HOST:PORT")


def test_what_the_server_refuses(run: Any, photos: list[Path], small_server: Any) -> None:
    server = ["--server", small_server.address]
    refused(run("search", photos[0], "--name", "other", *server), "other_search", "python -m serving status")
    refused(run("search", photos[0], "--version", "7", *server), "python -m serving status")
    refused(run("search", photos[0], "--label", "stable", *server), "python -m serving status")
    refused(run("search", photos[0], "--k", "21", *server), "k from 1 to 20")
    refused(run("search", photos[0], "--filter", "gendre=Men", *server), "did you mean gender?")
    refused(run("search", photos[0], "--tls", *server), small_server.address)
    refused(run("status", "--name", "other", *server), "a model of the name other")
    refused(run("load", "--k", "21", *server), "k from 1 to 20")


def test_a_token_does_not_travel_in_the_clear(run: Any, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    ran = run("search", photos[0], "--server", "shop.example:8500", "--token-file", tmp_path / "token")
    refused(ran, "tls")
    assert "hush" not in ran.err


def test_the_token_has_one_name() -> None:
    assert connection.TOKEN_VARIABLE == serve.TOKEN_VARIABLE


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Makes a package look as if it was not installed."""
    real = builtins.__import__

    def fake(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fake)


def test_what_an_extra_would_bring(
    run: Any, photos: list[Path], tmp_path: Path, small_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "items.parquet").write_text("")
    show = ["--show", tmp_path / "out.png", "--items", tmp_path / "items.parquet", "--server", small_server.address]
    with monkeypatch.context() as patch:
        without(patch, "PIL")
        refused(run("search", photos[0], *show), "expected Pillow", "pip install 'shoppin[show]'")
    with monkeypatch.context() as patch:
        without(patch, "pyarrow")
        ran = run("search", photos[0], *show)
        assert (ran.code, ran.err.splitlines()) == (
            2,
            ["error: expected pyarrow to read --items, it is missing; pip install pyarrow, or give --pictures DIR"],
        )
    with monkeypatch.context() as patch:
        without(patch, "tensorflow")
        ran = run("serve", tmp_path)
        assert ran.code == 2
        assert "tensorflow is missing; install them: pip install 'shoppin[server]'" in ran.err.splitlines()[-1]
    ran = run("search", photos[0], *show)
    assert ran.code == 2
    assert "with columns id and image_path" in ran.err


def test_our_own_faults_say_so(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: Any) -> int:
        raise RuntimeError("a fault")

    monkeypatch.setattr("serving.commands.status.run", broken)
    ran = run("status")
    assert ran.code == 1
    assert "RuntimeError: a fault" in ran.err
    assert ran.err.splitlines()[-1].startswith("error: this is a fault of shoppin")


def test_help_loads_nothing_heavy() -> None:
    commands = [name for name in program.COMMANDS if name != "serve"]
    code = (
        "import sys, time\n"
        "started = time.process_time()\n"
        "from serving.__main__ import main\n"
        f"for name in {['', *commands]!r}:\n"
        "    try:\n        main([*([name] if name else []), '--help'])\n"
        "    except SystemExit as end:\n        assert end.code == 0\n"
        "heavy = {'tensorflow', 'grpc', 'numpy', 'google', 'PIL', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert time.process_time() - started < 0.5\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for name in commands:
        assert f"usage: python -m serving {name} " in done.stdout


def test_asking_loads_no_tensorflow(small_server: Any, photos: list[Path]) -> None:
    code = (
        "import sys\nfrom serving.__main__ import main\n"
        f"assert main(['search', {str(photos[0])!r}, '--server', {small_server.address!r}]) == 0\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def start(*arguments: str, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serving", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_an_interruption_is_130_and_load_tells_what_it_has(small_server: Any) -> None:
    def asked() -> int:
        with urllib.request.urlopen(f"http://{small_server.rest_address}/monitoring/prometheus/metrics") as page:
            text = page.read().decode()
        return sum(int(float(found)) for found in re.findall(r"(?m)^:tensorflow:serving:request_count.* (\S+)$", text))

    before, end = asked(), time.monotonic() + 30
    with start("load", "--duration", "600", "--concurrency", "2", "--server", small_server.address) as running:
        while asked() < before + 50:
            assert time.monotonic() < end
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert out.startswith(f"lookup at {small_server.address}, 2 at once")
    assert err.splitlines() == ["interrupted"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_answer_that_cannot_be_written(small_server: Any, photos: list[Path]) -> None:
    with (
        Path("/dev/full").open("w") as full,
        start("search", str(photos[0]), "--server", small_server.address, stdout=full) as running,
    ):
        _, err = running.communicate(timeout=20)
    assert running.returncode == 2
    assert err.splitlines() == ["error: expected room to write the answer: [Errno 28] No space left on device"]


def test_whoever_reads_may_stop_reading(small_server: Any, photos: list[Path]) -> None:
    end, write = os.pipe()
    os.close(end)
    with start("search", str(photos[0]), "--server", small_server.address, stdout=write) as running:
        os.close(write)
        _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (0, "")
