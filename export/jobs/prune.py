"""The job `prune`."""

from __future__ import annotations

import argparse

from export.publish import served_folders, versions
from export.release import prune_models
from trainer.errors import InputError

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Removes old versions and prints which.

    Raises:
        InputError: there is no such folder or model, or `--keep` is less than 1.
    """
    if not options.out.is_dir():
        raise InputError(f"--out: expected the folder of exported models, {options.out} is none")
    if options.keep < 1:
        raise InputError(f"--keep: expected at least 1, received {options.keep}")
    if not any(versions(base) for base in served_folders(options.out, options.model).values()):
        raise InputError(f"expected versions of {options.model} below {options.out}, there are none; give --model")
    removed = prune_models(options.out, options.model, options.keep)
    for folder in removed:
        print(f"removed {folder}")
    if not removed:
        print("nothing to remove")
