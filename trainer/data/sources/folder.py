"""Pictures in one folder per class, with or without folders for the splits above."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trainer.config import DataConfig
from trainer.data.candidates import CANDIDATE_COLUMNS, Candidates
from trainer.data.items import TEST, TRAIN, VALIDATION
from trainer.errors import InputError

__all__ = ["read"]

_log = logging.getLogger(__name__)

_SPLIT_FOLDERS = {"train": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION, "test": TEST}
_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".mpo", ".jp2")
)


def read(data: DataConfig, workdir: Path) -> Candidates:
    """Lists pictures, sorted by path; all below a class's folder belong to it, however deep.

    Args:
        data: `root` holds one folder per class, or folders named train, validation (or val, valid) and test that do.
        workdir: not used.

    Returns:
        The rows, their ids the paths below `root`. Files without a picture's suffix are counted and left out.

    Raises:
        InputError: no folder, no pictures in folders, or folders of splits beside others.
    """
    root = Path(str(data.root)).absolute()
    folders = _folders(root)
    splits = [name for name in folders if name.casefold() in _SPLIT_FOLDERS]
    if splits and len(splits) < len(folders):
        other = next(name for name in folders if name not in splits)
        raise InputError(
            f"expected either folders of classes or folders of splits in {root}, received both ({splits[0]} and "
            f"{other}); move one kind elsewhere"
        )
    classes = (
        [(split, name) for split in splits for name in _folders(root / split)]
        if splits
        else [("", name) for name in folders]
    )
    rows: list[tuple[str, str, str, str]] = []
    ignored = 0
    for split, label in classes:
        for path in _files(root / split / label):
            if path.suffix.lower() not in _SUFFIXES or not _is_text(str(path)):
                ignored += 1
                continue
            identifier = path.relative_to(root).as_posix()
            rows.append((identifier, str(path), label, _SPLIT_FOLDERS.get(split.casefold(), "")))
    if not rows:
        raise InputError(
            f"expected one folder of pictures per class in {root}, found no pictures in folders there; check data.root"
        )
    if ignored:
        _log.info("%d files in the folders have no picture's suffix and are left out", ignored)
    return Candidates(pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS), dtype=str), ignored_files=ignored)


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_dir() and not entry.name.startswith(".") and _is_text(entry.name)
            )
    except OSError as error:
        raise InputError(f"expected a folder at {folder}: {error.strerror or error}; check data.root") from error


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place, name)


def _is_text(name: str) -> bool:
    """Whether the name can be written as UTF-8; file names on Linux may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
