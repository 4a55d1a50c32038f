"""`python -m trainer`: quick to answer, one line for every mistake, an exit code for every end."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import trainer.__main__ as command_line
from trainer.config import Config, load_config
from trainer.errors import InputError
from trainer.workdir import open_workdir

HEAVY = ("tensorflow", "keras", "numpy", "pandas", "pydantic", "sklearn", "matplotlib", "PIL", "pyarrow")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text("seed: 7\nmodel: {names: [resnet50]}\n", encoding="utf-8")
    return path


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Config, Path], None]], None]:
    """Puts a function in the place of the job `prepare`."""

    def install(run: Callable[[Config, Path], None]) -> None:
        module = types.ModuleType("a_job")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "a_job", module)
        monkeypatch.setitem(command_line.JOBS, "prepare", command_line.Job("a_job", "for a test"))

    return install


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    return captured.err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["hub-vit", "--help"], ["demo-picture", "--help"]]
)
def test_help_is_instant(arguments: list[str]) -> None:
    program = (
        "import json, runpy, sys\n"
        f"sys.argv = ['trainer', *{arguments!r}]\n"
        "try:\n    runpy.run_module('trainer', run_name='__main__')\n"
        "except SystemExit as stop:\n    print(json.dumps([stop.code, sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert done.stdout.startswith("usage: python -m trainer")
    assert not {name.partition(".")[0] for name in modules} & set(HEAVY)


def test_a_mistake_in_the_configuration_is_one_line_without_a_traceback(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "run", "--config", str(config), "--set", "train.heat.epochs=1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=config.parent,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: 'train.heat': expected a known key")
    assert "train.head" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (config.parent / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "arguments are required: JOB"),
        (["trian"], "invalid choice: 'trian'"),
        (["run"], "arguments are required: --config"),
        (["run", "--config"], "--config: expected one argument"),
        (["run", "--config", "x.yaml", "--fast"], "unrecognized arguments: --fast"),
        (["hub-vit"], "arguments are required: --out"),
        (["hub-vit", "--out", "x", "--layers", "many"], "invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(arguments)
    assert said in error_line(capsys)


def test_a_missing_configuration_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["train", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "expected a readable YAML file" in error_line(capsys)


def test_a_job_before_its_time_says_what_to_run(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["plot", "--config", str(config), "--workdir", str(config.parent / "run")]) == 2
    assert "Run evaluate first" in error_line(capsys)


def test_a_job_is_given_the_configuration_and_the_workdir(
    config: Path, job: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Config, Path]] = []
    job(lambda configuration, workdir: seen.append((configuration, workdir)))
    monkeypatch.chdir(config.parent)
    assert command_line.main(["prepare", "--config", config.name, "--set", "seed=9", "train.start=random"]) == 0
    assert command_line.main(["prepare", "--config", config.name, "--workdir", "elsewhere", "--quiet"]) == 0
    assert [(c.seed, c.train.start, w) for c, w in seen] == [
        (9, "random", Path("runs/small")),
        (7, "discriminant", Path("elsewhere")),
    ]


def test_the_workdir_says_what_ran(config: Path, job: Callable[..., None]) -> None:
    workdir = config.parent / "deep" / "run"
    job(lambda configuration, place: None)
    arguments = ["prepare", "--config", str(config), "--workdir", str(workdir), "--set", "seed=9"]
    assert command_line.main(arguments) == 0
    assert load_config(workdir / "config.yaml") == load_config(config, ["seed=9"])
    facts = json.loads((workdir / "run.json").read_text(encoding="utf-8"))
    assert facts["command"] == ["python", "-m", "trainer", *arguments]
    assert facts["seed"] == 9
    assert abs(datetime.now(UTC) - datetime.fromisoformat(facts["started"])) < timedelta(minutes=5)
    assert facts["python"].startswith("3.")
    assert set(facts["machine"]) == {"system", "cores"}
    assert {"tensorflow", "keras", "keras-cv", "numpy", "tensorflow-hub"} <= set(facts["versions"])
    assert facts["versions"]["tensorflow"].startswith("2.")


def fail(error: BaseException) -> Callable[[Any, Any], None]:
    def run(configuration: Config, workdir: Path) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("expected this, received that"), 2, "error: expected this, received that\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here\n"),
    ],
)
def test_how_a_job_ends_is_the_exit_code(
    error: BaseException,
    code: int,
    said: str,
    config: Path,
    job: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    job(fail(error))
    assert command_line.main(["prepare", "--config", str(config), "--workdir", str(config.parent / "run")]) == code
    assert capsys.readouterr().err == said


def test_our_own_fault_shows_a_traceback_and_says_so(
    config: Path, job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job(fail(ZeroDivisionError("unexpected")))
    assert command_line.main(["prepare", "--config", str(config), "--workdir", str(config.parent / "run")]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "ZeroDivisionError: unexpected" in shown
    assert "a fault of shoppin" in shown.splitlines()[-1]


def test_two_runs_in_one_workdir_are_refused_and_the_first_goes_on(
    config: Path, job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job(lambda configuration, place: None)
    workdir = config.parent / "run"
    arguments = ["prepare", "--config", str(config), "--workdir", str(workdir), "--set", "seed=9"]
    with open_workdir(workdir, load_config(config), ["the first"]):
        assert command_line.main(arguments) == 2
        assert "another run is at work" in error_line(capsys)
        assert json.loads((workdir / "run.json").read_text(encoding="utf-8"))["command"] == ["the first"]
    assert command_line.main(arguments) == 0


def test_the_other_workers_of_a_distributed_run_share_the_workdir(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = load_config(config, ["train.distribution=multi_worker"])
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    workdir = config.parent / "run"
    with open_workdir(workdir, several, ["chief"]):
        monkeypatch.setenv("TF_CONFIG", '{"task": {"type": "worker", "index": 1}}')
        with open_workdir(workdir, several, ["worker"]):
            assert json.loads((workdir / "run.json").read_text(encoding="utf-8"))["command"] == ["chief"]


@pytest.mark.parametrize("place", ["run", "run/below"])
def test_a_file_in_the_workdirs_place_is_refused(
    place: str, config: Path, job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job(lambda configuration, workdir: None)
    (config.parent / "run").write_text("", encoding="utf-8")
    assert command_line.main(["prepare", "--config", str(config), "--workdir", str(config.parent / place)]) == 2
    assert f"--workdir: cannot make {config.parent / place}" in error_line(capsys)


@pytest.mark.parametrize("name", ["config.yaml", "run.json", ".lock"])
def test_a_workdir_that_cannot_be_written_is_refused_and_free_again(
    name: str, config: Path, job: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    job(lambda configuration, workdir: None)
    workdir = config.parent / "run"
    (workdir / name / "in the way").mkdir(parents=True)
    arguments = ["prepare", "--config", str(config), "--workdir", str(workdir)]
    assert command_line.main(arguments) == 2
    assert "cannot" in error_line(capsys)
    (workdir / name / "in the way").rmdir()
    (workdir / name).rmdir()
    assert command_line.main(arguments) == 0


def test_a_picture_to_search_the_demo_with_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    path = tmp_path / "query.jpg"
    assert command_line.main(["demo-picture", "--out", str(path), "--label", "Watches", "--image-size", "48"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (48, 48))
    path.unlink()
    assert command_line.main(["demo-picture", "--out", str(path), "--label", "Sofas"]) == 2
    assert "'Sofas'" in error_line(capsys)
    assert not path.exists()
