"""`python -m export`: quick to answer, one line for every mistake, an exit code for every end."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import export.__main__ as command_line
from export.errors import VerificationError
from trainer.errors import InputError

HEAVY = {"tensorflow", "keras", "numpy", "pandas", "pydantic", "sklearn", "pyarrow", "google", "tensorflow_serving"}


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Any], None]], None]:
    """Puts a function in the place of a job."""

    def install(name: str, run: Callable[[Any], None]) -> None:
        module = types.ModuleType(name)
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"export.jobs.{name}", module)

    return install


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    return captured.err


@pytest.mark.parametrize("arguments", [["--help"], *[[job, "--help"] for job in command_line.JOBS]])
def test_help_is_instant(arguments: list[str]) -> None:
    program = (
        "import json, runpy, sys\n"
        f"sys.argv = ['export', *{arguments!r}]\n"
        "try:\n    runpy.run_module('export', run_name='__main__')\n"
        "except SystemExit as stop:\n    print(json.dumps([stop.code, sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert done.stdout.startswith("usage: python -m export")
    assert not {name.partition(".")[0] for name in modules} & HEAVY


def test_help_names_all_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["--help"])
    shown = capsys.readouterr().out
    assert all(summary in shown for summary in command_line.JOBS.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "arguments are required: --workdir, --out"),
        (["verfy"], "expected options or one of the jobs verify, rollback, prune, table, received 'verfy'"),
        (["--workdir", "x"], "arguments are required: --out"),
        (["--workdir", "x", "--out", "y", "--fast"], "unrecognized arguments: --fast"),
        (["verify"], "arguments are required: FOLDER"),
        (["rollback"], "arguments are required: --out"),
        (["rollback", "--out", "x", "--to", "last"], "invalid int value: 'last'"),
        (["prune", "--out", "x"], "arguments are required: --keep"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(arguments)
    assert said in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "none"], "expected an exported version"),
        (["rollback", "--out", "none"], "expected versions of fused below none, there are none"),
        (["prune", "--out", "none", "--keep", "1"], "--out: expected the folder of exported models, none is none"),
    ],
)
def test_a_wrong_folder_is_one_line_and_exit_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line.main(arguments) == 2
    assert said in error_line(capsys)
    assert not list(tmp_path.iterdir())


def fail(error: BaseException) -> Callable[[Any], None]:
    def run(options: Any) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("expected this, received that"), 2, "error: expected this, received that\n"),
        (VerificationError("files: x is not there"), 2, "error: files: x is not there\n"),
        (KeyboardInterrupt(), 130, "interrupted; nothing half is left\n"),
    ],
)
def test_how_a_job_ends_is_the_exit_code(
    error: BaseException, code: int, said: str, job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job("verify", fail(error))
    assert command_line.main(["verify", "somewhere"]) == code
    assert capsys.readouterr().err == said


def test_an_export_that_does_not_hold_is_our_fault(
    job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job("export", fail(VerificationError("golden request 0: …")))
    assert command_line.main(["--workdir", "x", "--out", "y"]) == 1
    assert "nothing was published, since it does not hold what it promises: golden request 0" in error_line(capsys)


def test_our_own_fault_shows_a_traceback_and_says_so(
    job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job("rollback", fail(ZeroDivisionError("unexpected")))
    assert command_line.main(["rollback", "--out", "x"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: unexpected" in shown
    assert "a fault of shoppin" in shown.splitlines()[-1]


def test_a_job_is_given_its_options(job: Callable[..., None]) -> None:
    seen: list[Any] = []
    for name in ("export", "rollback", "verify"):
        job(name, seen.append)
    line = "--workdir RUN --out EXPORTS --model resnet50 --precision auto --keep 3 --set top_k=5 index.dtype=int8"
    assert command_line.main(line.split()) == 0
    assert command_line.main(["rollback", "--out", "EXPORTS", "--to", "3", "--quiet"]) == 0
    assert command_line.main(["verify", "a", "b", "--workdir", "RUN"]) == 0
    assert (seen[0].workdir, seen[0].out, seen[0].config) == (Path("RUN"), Path("EXPORTS"), None)
    assert (seen[0].model, seen[0].precision, seen[0].keep) == ("resnet50", "auto", 3)
    assert seen[0].changes == ["top_k=5", "index.dtype=int8"]
    assert (seen[1].out, seen[1].to, seen[1].model) == (Path("EXPORTS"), 3, "fused")
    assert (seen[2].folder, seen[2].workdir) == ([Path("a"), Path("b")], Path("RUN"))
