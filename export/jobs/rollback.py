"""The job `rollback`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from export.manifest import read_manifest
from export.publish import link_tree, served_folders, versions
from export.release import publish_release
from serving.contract import Kind
from trainer.errors import InputError

__all__ = ["run", "state_at"]


def state_at(exports: Path, name: str, version: int) -> dict[Kind, int]:
    """Which version of each kind was the newest when `version` was: the greatest that is not above it.

    A new table is published without a new encoder, so kinds need not have the same numbers.

    Raises:
        InputError: some kind has no version so old any more, or none has that very number.
    """
    there = {kind: versions(base) for kind, base in served_folders(exports, name).items()}
    numbers = sorted({number for found in there.values() for number in found})
    if version not in numbers:
        raise InputError(f"--to: expected one of the versions {numbers} of {name}, received {version}")
    state: dict[Kind, int] = {}
    for kind, found in there.items():
        older = [number for number in found if number <= version]
        if found and not older:
            raise InputError(f"--to: version {version} of {name} cannot be put back: its {kind} has been pruned")
        if older:
            state[kind] = older[-1]
    return state


def run(options: argparse.Namespace) -> None:
    """Publishes an older state of a model as its newest version, by links to its files.

    Raises:
        InputError: there is no such version.
        VerificationError: it does not hold what it promises.
    """
    exports, name = options.out, options.model
    folders = served_folders(exports, name)
    numbers = sorted({number for base in folders.values() for number in versions(base)})
    if not numbers:
        raise InputError(f"expected versions of {name} below {exports}, there are none; give --out and --model")
    if options.to is None and len(numbers) < 2:
        raise InputError(f"expected an older version of {name} below {exports}, there is only {numbers[0]}")
    state = state_at(exports, name, numbers[-2] if options.to is None else options.to)
    # What is the newest of its kind anyway stays.
    old = {kind: folders[kind] / str(number) for kind, number in state.items() if number != versions(folders[kind])[-1]}
    if not old:
        raise InputError(f"--to: version {options.to} of {name} is what is served already")
    _check_together({kind: folders[kind] / str(number) for kind, number in state.items()})
    parts: dict[Kind, Callable[[Path], None]] = {kind: partial(link_tree, folder) for kind, folder in old.items()}
    release = publish_release(exports, name, parts, batching=None)
    for kind, folder in release.folders.items():
        print(f"published {folder}, which is {old[kind]}")


def _check_together(state: dict[Kind, Path]) -> None:
    encoders = {kind: read_manifest(folder).fingerprint for kind, folder in state.items()}
    if len(set(encoders.values())) > 1:
        told = ", ".join(f"{kind} {fingerprint[:12]}" for kind, fingerprint in encoders.items())
        raise InputError(f"--to: expected kinds of one encoder at that version, received {told}; give another version")
