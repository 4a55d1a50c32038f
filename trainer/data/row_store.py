"""An append-only array on disk whose rows are found by key: for what is computed once a picture."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from trainer.errors import InputError
from trainer.files import write_json

__all__ = ["RowStore", "row_key"]

_KEY_BYTES = 32


def row_key(*parts: str) -> bytes:
    """A 32-byte key of several strings (SHA-256)."""
    return hashlib.sha256("\x00".join(parts).encode()).digest()


class RowStore:
    """Rows of one shape and dtype, appended as they are computed, found again by a 32-byte key.

    Rows are written before their keys, and a key counts only when it is whole: a process killed at any moment leaves
    rows without keys, which the next append overwrites. Nothing is held in memory but the keys.

    Args:
        folder: made when missing; holds `rows.bin`, `keys.bin` and `store.json`.
        shape: of one row.
        dtype: of the rows.

    Raises:
        InputError: the folder holds rows of another shape, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any) -> None:
        self.folder = Path(folder)
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._row_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        description = {"shape": list(self.shape), "dtype": self.dtype.str}
        known = self.folder / "store.json"
        if known.is_file():
            found = _description(known)
            if found != description:
                raise InputError(f"{self.folder}: expected rows {description}, it holds {found}; remove the folder")
        else:
            write_json(known, description)
        self._index: dict[bytes, int] = {}
        self._count = 0
        self._read_keys()

    def __len__(self) -> int:
        return self._count

    def lock(self) -> FileLock:
        """To be held while rows are looked up and appended, so that two processes do not write at once."""
        return FileLock(self.folder / "store.lock")

    def missing(self, keys: Sequence[bytes]) -> np.ndarray:
        """Places in `keys`, int64, of those that have no row yet; of equal keys only the first. Reads the disk anew."""
        self._read_keys()
        seen: set[bytes] = set()
        places = []
        for place, key in enumerate(keys):
            if key not in self._index and key not in seen:
                seen.add(key)
                places.append(place)
        return np.asarray(places, np.int64)

    def append(self, keys: Iterable[bytes], rows: np.ndarray) -> None:
        """Adds rows `[n, *shape]` under their keys; on disk when this returns.

        Raises:
            InputError: the disk is full or the folder cannot be written. What was there before is whole.
        """
        keys = list(keys)
        rows = np.ascontiguousarray(rows, self.dtype)
        if rows.shape != (len(keys), *self.shape):
            raise ValueError(f"expected rows of shape {(len(keys), *self.shape)}, received {rows.shape}")
        first = self._count
        try:
            self._write("rows.bin", first * self._row_bytes, rows.tobytes())
            self._write("keys.bin", first * _KEY_BYTES, b"".join(keys))
        except OSError as error:
            raise InputError(
                f"cannot write {self.folder}: {error.strerror or error}; free some space or give another --workdir"
            ) from error
        self._index.update({key: first + offset for offset, key in enumerate(keys)})
        self._count = first + len(keys)

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """Row numbers, int64, of keys that are all there."""
        return np.fromiter((self._index[key] for key in keys), np.int64, count=len(keys))

    @property
    def array(self) -> np.ndarray:
        """All rows `[n, *shape]`, mapped from disk, read only."""
        if not self._count:
            return np.empty((0, *self.shape), self.dtype)
        return np.memmap(self.folder / "rows.bin", self.dtype, "r", shape=(self._count, *self.shape))

    def _read_keys(self) -> None:
        path, rows = self.folder / "keys.bin", self.folder / "rows.bin"
        content = path.read_bytes() if path.is_file() else b""
        held = rows.stat().st_size // self._row_bytes if rows.is_file() else 0
        count = min(len(content) // _KEY_BYTES, held)  # more keys than rows: the folder was copied by halves
        if count != self._count:
            self._index = {content[i * _KEY_BYTES : (i + 1) * _KEY_BYTES]: i for i in range(count)}
            self._count = count

    def _write(self, name: str, offset: int, content: bytes) -> None:
        with open(self.folder / name, "r+b" if (self.folder / name).exists() else "w+b") as file:
            file.seek(offset)
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def _description(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a description of rows, it cannot be read ({error}); remove the folder"
        ) from error
