"""Versions of served models on disk: published whole or not at all, pruned, put back.

`EXPORTS/<served name>/<version>` is what TensorFlow Serving polls, so a version appears there by one rename of a folder
that is complete, checked and flushed to disk. Folders whose name starts with a full stop are ours: the server ignores
every name that is no number.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import get_args

from serving.contract import Kind, served_name
from trainer.errors import InputError

__all__ = ["flush", "link_tree", "next_version", "prune", "served_folders", "staged_version", "versions"]

_STAGED = ".staged-"
_PRUNED = ".pruned-"
_LOCK = ".lock"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def served_folders(exports: Path, name: str) -> dict[Kind, Path]:
    """Where the versions of each kind of a model lie, whether there are any or not: `EXPORTS/fused_lookup`, …"""
    return {kind: exports / served_name(name, kind) for kind in get_args(Kind)}


def versions(base: Path) -> list[int]:
    """Numbers of the versions in a served model's folder, rising; none where there is no such folder."""
    if not base.is_dir():
        return []
    return sorted(int(path.name) for path in base.iterdir() if _is_number(path.name) and path.is_dir())


def next_version(exports: Path, name: str) -> int:
    """The number for whatever is published next of a model.

    All kinds of one model count together, so that a greater number is always newer, and equal numbers belong together.

    Args:
        exports: folder of all served models.
        name: of the trained model, such as `fused`.
    """
    found = [number for base in served_folders(exports, name).values() for number in versions(base)]
    return max(found, default=0) + 1


@contextlib.contextmanager
def staged_version(base: Path, version: int) -> Iterator[Path]:
    """A folder to fill, which becomes `base/<version>` in one step when the block ends well.

    It lies in `base`, hence on the same file system, under a name that the server ignores. When the block raises it is
    removed; what a killed process left is removed by the next one. Files and folders are flushed before the rename, so
    a crash of the machine leaves nothing or the whole version too.

    Args:
        base: folder of a served model; made when missing.
        version: a number greater than all that are there.

    Yields:
        An empty folder.

    Raises:
        InputError: another process publishes there, the number is taken, or the folder cannot be written.
    """
    with _writing(base), _locked(base):
        newest = max(versions(base), default=0)
        if version <= newest:
            raise InputError(
                f"expected a version above {newest}, which is in {base} by now, received {version}; "
                "another export was quicker: run the same command again"
            )
        staged = base / f"{_STAGED}{version}"
        staged.mkdir()
        try:
            yield staged
            flush(staged)
            os.rename(staged, base / str(version))
            _sync(base)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def prune(base: Path, keep: int, labelled: Collection[int] = ()) -> list[int]:
    """Removes old versions of one served model.

    Args:
        base: its folder.
        keep: how many of the newest stay; at least 1, so the newest is never removed.
        labelled: versions that stay whatever their age, since a version label names them.

    Returns:
        The versions that were removed. Each disappears in one step, before its files are deleted.

    Raises:
        InputError: `keep` is less than 1, or another process publishes there.
    """
    if keep < 1:
        raise InputError(f"--keep: expected at least 1, received {keep}")
    old = [number for number in versions(base)[:-keep] if number not in labelled]
    if old:
        with _writing(base), _locked(base):
            for number in old:
                for folder in [path for path in base.iterdir() if _is_number(path.name) and int(path.name) == number]:
                    hidden = base / f"{_PRUNED}{folder.name}"
                    os.rename(folder, hidden)
                    shutil.rmtree(hidden)
            _sync(base)
    return old


def link_tree(source: Path, target: Path) -> None:
    """Makes `target` hold the files of the folder `source` without copying where the file system can link.

    Args:
        source: a folder of files that nobody changes any more.
        target: may exist.
    """
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links, or too many of them
        shutil.copy2(source, target)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


@contextlib.contextmanager
def _writing(base: Path) -> Iterator[None]:
    """Says what is the user's to mend, such as a full disk, as such."""
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {base} ({error.strerror}); give an --out that can be written") from error
    try:
        yield
    except Exception as error:
        reason = _cannot_write(error)
        if reason is None:
            raise
        raise InputError(
            f"cannot write below {base} ({reason}); no version was published. "
            "Free some space or give an --out that can be written"
        ) from error


def _cannot_write(error: Exception) -> str | None:
    """Why the file system refused; None for any other error. TensorFlow's errors have no errno, only its text."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.errno in _NO_ROOM else None
    if not type(error).__module__.startswith("tensorflow."):
        return None
    return next((os.strerror(number) for number in sorted(_NO_ROOM) if os.strerror(number) in str(error)), None)


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Keeps other processes out of `base`; so whatever is staged there now was left by one that died."""
    from filelock import FileLock, Timeout

    lock = FileLock(base / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"another process publishes in {base}; wait for it") from error
    try:
        for path in base.iterdir():
            if path.name.startswith((_STAGED, _PRUNED)):
                shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        lock.release()


def flush(folder: Path) -> None:
    """Flushes every file below `folder`, then the folders themselves, to disk."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(place) / name)
        _sync(Path(place))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
