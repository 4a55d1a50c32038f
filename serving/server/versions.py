"""Which versions of a model are on disk, and which of them a policy wants."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["aspired", "state_of_files", "versions_in"]


def versions_in(base: str | os.PathLike[str]) -> dict[int, Path]:
    """Version number to folder of a model's base path; leading zeros parse, other names are ignored.

    Raises:
        OSError: the base path cannot be read.
    """
    found: dict[int, Path] = {}
    for entry in sorted(os.scandir(base), key=lambda entry: entry.name):
        if entry.name.isascii() and entry.name.isdigit() and entry.is_dir():
            number = int(entry.name)
            if number < 1 << 63:
                found[number] = Path(entry.path)
    return found


def aspired(policy: Any, on_disk: Mapping[int, Path], broken: Collection[int] = ()) -> list[int]:
    """Which versions should be loaded, the newest first.

    Args:
        policy: a `ServableVersionPolicy`; unset means the latest one.
        on_disk: what is there.
        broken: versions that `latest` steps over: those that failed, while nothing else of the model is loaded. The
            real server would serve nothing then.
    """
    choice = policy.WhichOneof("policy_choice")
    newest = sorted(on_disk, reverse=True)
    if choice == "all":
        return newest
    if choice == "specific":
        return [version for version in newest if version in set(policy.specific.versions)]
    count = int(policy.latest.num_versions) or 1
    return [version for version in newest if version not in broken][:count]


def state_of_files(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Path, size and time of change of every file: differs when a copy has gone on."""
    found = []
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            try:
                facts = os.stat(path)
            except OSError:
                continue
            found.append((path, facts.st_size, facts.st_mtime_ns))
    return frozenset(found)
