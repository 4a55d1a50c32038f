"""Verification: a fresh process that knows nothing of this project loads a version and asks it."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.errors import VerificationError
from export.manifest import read_manifest
from trainer.errors import InputError

__all__ = ["Verification", "run_pictures", "verify_versions"]

_SCRIPT = Path(__file__).with_name("standalone_verify.py")
_log = logging.getLogger(__name__)
_STARTUP = re.compile(r"^([IWE]\d{4} |WARNING: All log messages)")
"""What TensorFlow says when it starts."""


@dataclass(frozen=True)
class Verification:
    """What was found out about a version that holds what it promises.

    Attributes:
        folder: of the version.
        name: the served name.
        checks: what was looked at, with its result.
    """

    folder: Path
    name: str
    checks: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self.checks)
        return "\n".join([self.name, *(f"  {what:<{width}}  {result}" for what, result in self.checks)])


def verify_versions(folders: Sequence[Path], pictures: Mapping[str, str] | None = None) -> list[Verification]:
    """Verifies exported versions, one after the other.

    One child process, started with `python -I` on a file that imports only TensorFlow, NumPy and the standard library,
    holds every file against the manifest, loads the SavedModel, replays golden and warm-up requests, compares the
    top-K with what the trainer found, and recomputes the run's metrics from the answers.

    Args:
        folders: of the versions.
        pictures: id to path of the evaluation's pictures, for the checks of encoders and searches that need them.

    Returns:
        What was found out, a value a folder.

    Raises:
        InputError: a folder is no exported version.
        VerificationError: the first difference.
    """
    names = [read_manifest(folder).served_name for folder in folders]
    with tempfile.TemporaryDirectory(prefix="shoppin-verify-") as place:
        command = [sys.executable, "-I", str(_SCRIPT)]
        if pictures:
            listed = Path(place) / "pictures.json"
            listed.write_text(json.dumps(dict(pictures)), encoding="utf-8")
            command += ["--pictures", str(listed)]
        command += [str(folder.resolve()) for folder in folders]
        with (
            open(Path(place) / "stderr", "w+b") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=place) as child,  # noqa: S603
        ):
            try:
                return _read_reports(child, folders, names, errors.name)
            finally:
                child.kill()


def _read_reports(
    child: subprocess.Popen[bytes], folders: Sequence[Path], names: Sequence[str], errors: str
) -> list[Verification]:
    reports: list[Verification] = []
    assert child.stdout is not None  # noqa: S101 (it is a pipe)
    for folder, name in zip(folders, names, strict=True):
        _log.info("verifying %s in a fresh process", name)
        line = child.stdout.readline()
        if not line:
            code = child.wait()
            lines = Path(errors).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = [line for line in lines if not _STARTUP.match(line)]
            reason = said[-1] if said else "silent"
            if code == -signal.SIGKILL:
                reason = "ended from outside, most often for lack of memory; a smaller top_k needs less"
            raise VerificationError(f"{folder}: the verifying process ended with {code}: {reason}")
        report = json.loads(line)
        if report["difference"] is not None:
            raise VerificationError(f"{folder}: {report['difference']}")
        reports.append(Verification(folder, name, tuple((what, result) for what, result in report["checks"])))
    return reports


def run_pictures(workdir: Path) -> dict[str, str]:
    """Id to path of the pictures of a run that are there.

    Raises:
        InputError: the run has no items, or none of their pictures is there.
    """
    from trainer.data.items import ID, IMAGE_PATH, read_items

    items = read_items(workdir)
    paths = dict(zip(items[ID].astype(str), items[IMAGE_PATH].astype(str), strict=True))
    there = {name: path for name, path in paths.items() if Path(path).is_file()}
    if paths and not there:
        raise InputError(f"expected the pictures of {workdir}, such as {next(iter(paths.values()))}; none is there")
    if len(there) < len(paths):
        _log.warning("%d of %d pictures of %s are not there", len(paths) - len(there), len(paths), workdir)
    return there
