"""The work directory of a run: what ran, with what, on what; and one process at a time."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.config import Config, as_yaml
from trainer.errors import InputError
from trainer.files import write_json, write_text

__all__ = ["is_first_worker", "open_workdir"]

_PACKAGES = (
    "shoppin",
    "tensorflow",
    "keras",
    "keras-cv",
    "keras-hub",
    "tensorflow-hub",
    "numpy",
    "pandas",
    "scikit-learn",
    "pillow",
    "pyarrow",
)


@contextlib.contextmanager
def open_workdir(workdir: Path, config: Config, command: Sequence[str]) -> Iterator[None]:
    """Makes the work directory, writes `config.yaml` and `run.json` into it, and keeps other runs out meanwhile.

    Workers of one distributed run share the directory; only the first of them writes these files.

    Args:
        workdir: made when missing.
        config: resolved configuration.
        command: for the record.

    Raises:
        InputError: it cannot be made or written, or another run is at work in it.
    """
    from filelock import FileLock, Timeout

    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--workdir: cannot make {workdir} ({error.strerror}); give a folder that can be written"
        ) from error
    if not is_first_worker(config):
        yield
        return
    lock = FileLock(workdir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"--workdir: another run is at work in {workdir}; wait for it or give another folder"
        ) from error
    except OSError as error:
        raise InputError(f"--workdir: {workdir} cannot be written ({error.strerror}); give another folder") from error
    try:
        write_text(workdir / "config.yaml", as_yaml(config))
        write_json(workdir / "run.json", _facts(config, command))
        yield
    finally:
        lock.release()


def is_first_worker(config: Config) -> bool:
    """Whether this process prepares, evaluates and writes: the only one, or worker 0 of a distributed run."""
    return config.train.distribution != "multi_worker" or _worker_index() == 0


def _worker_index() -> int:
    try:
        return int(json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0))
    except (ValueError, AttributeError, TypeError):
        return 0


def _facts(config: Config, command: Sequence[str]) -> dict[str, Any]:
    return {
        "command": list(command),
        "seed": config.seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
