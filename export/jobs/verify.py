"""The job `verify`."""

from __future__ import annotations

import argparse

from export.verify import run_pictures, verify_versions

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Verifies the versions that the options name and prints what was found.

    Raises:
        InputError: a folder is no exported version, or the run has no items.
        VerificationError: the first difference.
    """
    pictures = run_pictures(options.workdir) if options.workdir is not None else None
    for verification in verify_versions(options.folder, pictures):
        print(verification)
