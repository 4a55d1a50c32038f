"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import InputError

__all__ = ["atomic_path", "write_json", "write_text"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path beside `path`; when the block ends well, what was written there replaces `path` in one step.

    Until then, and if the block raises or the process dies, `path` keeps its former content. The file is flushed to
    disk before the rename, so a crash of the machine leaves the old file or the new one, never a torn one.

    Args:
        path: the file to write. Its folder is made when missing.

    Yields:
        A path on the same file system, with the same suffix, to write the new content to.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    aside = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, target)
    except OSError as error:
        raise InputError(
            f"cannot write {target}: {error.strerror or error}; the former file is kept. "
            "Free some space or give a --workdir that can be written"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 in one step (see `atomic_path`)."""
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON in one step (see `atomic_path`)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
