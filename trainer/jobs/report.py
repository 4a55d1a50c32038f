"""The job `report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.config import Config, load_config
from trainer.errors import InputError

__all__ = ["run", "write"]


def run(options: argparse.Namespace) -> None:
    """Writes a run as one HTML file, `report.html` in its folder if nothing else is said, and prints where.

    The run is only read, so this may be done while another job is at work on it.

    Args:
        options: `config` (a file, or None for the run's own `config.yaml`), `changes` of its keys, `workdir` (or None
            for the folder that belongs to the configuration's name), `out` (or None).

    Raises:
        InputError: neither a configuration nor a folder is given, or the folder holds no run.
    """
    workdir: Path = options.workdir or _folder_of(options.config)
    if not workdir.is_dir():
        raise InputError(f"--workdir: expected the folder of a run, {workdir} is none; run prepare, train and evaluate")
    config = options.config or workdir / "config.yaml"
    if not config.is_file():
        raise InputError(f"expected a configuration at {config}, there is none; give another --workdir or --config")
    write(load_config(config, options.changes), workdir, options.out)


def write(config: Config, workdir: Path, path: Path | None = None) -> None:
    """Writes the report of a run, `report.html` in its folder by default, and prints where it is."""
    from trainer.report import write_report

    path = write_report(config, workdir, path or workdir / "report.html")
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _folder_of(config: Path | None) -> Path:
    if config is None:
        raise InputError("expected --workdir or --config, received neither; name the run to report on")
    return Path("runs") / config.stem
