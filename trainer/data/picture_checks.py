"""Opens the pictures of a catalogue, each once, in several processes, and remembers what it saw."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from trainer.data.journal import Journal
from trainer.data.pictures import PictureRecord, Rejection, check_pictures
from trainer.errors import InputError

__all__ = ["PictureChecks", "find_pictures"]

# Bump when the same file would give another record, so that what older versions wrote is not used.
_FORMAT = 1
_BATCH = 32
# Starting processes costs more than a few pictures do.
_ALONE = 256


def find_pictures(paths: Sequence[str]) -> pd.DataFrame:
    """Looks for files without opening them.

    Args:
        paths: absolute paths.

    Returns:
        One row a path, in order: `source_path`, `size` (bytes), `mtime_ns`, `missing` (bool) and `reason`, a
        `Rejection` for what is there and cannot be opened as a file.
    """
    rows = []
    for path in paths:
        size, mtime, missing, reason = 0, 0, False, ""
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            missing = True
        except (OSError, ValueError):
            reason = Rejection.UNREADABLE.value
        else:
            size, mtime = status.st_size, status.st_mtime_ns
            if not stat.S_ISREG(status.st_mode):  # opening a pipe might never come back
                reason = Rejection.NOT_A_FILE.value
        rows.append((path, size, mtime, missing, reason))
    return pd.DataFrame(rows, columns=["source_path", "size", "mtime_ns", "missing", "reason"])


class PictureChecks:
    """The checks of one work directory.

    Args:
        workdir: converted pictures go to `pictures/`, the journal to `prepare/`.
        max_pixels: see `check_picture`; another limit has a journal of its own.
        workers: processes; 0 for one per core.
    """

    def __init__(self, workdir: Path, *, max_pixels: int, workers: int) -> None:
        self._folder = workdir / "pictures"
        self._journal = Journal(workdir / "prepare" / f"pictures-{_FORMAT}-{max_pixels}.jsonl")
        self._max_pixels = max_pixels
        self._workers = workers or cpu_count()

    def check(self, found: pd.DataFrame) -> pd.DataFrame:
        """Opens those files that are new or have changed since they were opened last.

        Args:
            found: rows of `find_pictures`, none of them missing.

        Returns:
            One row a different path, a column for each field of `PictureRecord`.

        Raises:
            InputError: a worker died, or the work directory cannot be written.
        """
        openable = found[found["reason"] == ""].drop_duplicates("source_path")
        fresh = self._fresh(openable)
        waiting = openable.loc[~openable["source_path"].isin(fresh["source_path"]), "source_path"].tolist()
        if waiting:
            self._open(waiting)
            fresh = self._journal.read()
        known = fresh[fresh["source_path"].isin(openable["source_path"])]
        closed = found[found["reason"] != ""].drop_duplicates("source_path")
        columns = (closed[name] for name in ("source_path", "size", "mtime_ns", "reason"))
        others = pd.DataFrame([PictureRecord(*values) for values in zip(*columns, strict=True)])
        return pd.concat([known, others], ignore_index=True) if len(others) else known.reset_index(drop=True)

    def _fresh(self, openable: pd.DataFrame) -> pd.DataFrame:
        """What the journal knows and still holds."""
        known = self._journal.read()
        # Permissions change without a trace in size and modification time.
        known = known[known["reason"] != Rejection.UNREADABLE.value]
        known = known.merge(openable[["source_path", "size", "mtime_ns"]], on=["source_path", "size", "mtime_ns"])
        converted = known[known["kind"] != ""]
        lost = [
            index
            for index, path, size in zip(
                converted.index, converted["image_path"], converted["converted_size"], strict=True
            )
            if not _is_there(path, size)
        ]
        return known.drop(index=lost)

    def _open(self, paths: list[str]) -> None:
        with tqdm(total=len(paths), desc="checking pictures", unit="picture", mininterval=0.5) as progress:
            for records in self._records(paths):
                self._journal.append(records)
                progress.update(len(records))

    def _records(self, paths: list[str]) -> Iterator[list[PictureRecord]]:
        batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
        if self._workers == 1 or len(paths) < _ALONE:
            for batch in batches:
                yield check_pictures(batch, self._folder, self._max_pixels)
            return
        # Fresh processes: a fork of one in which TensorFlow has started its threads may hang.
        pool = Parallel(n_jobs=self._workers, backend="loky", return_as="generator_unordered", batch_size=1)
        try:
            yield from pool(delayed(check_pictures)(batch, self._folder, self._max_pixels) for batch in batches)
        except TerminatedWorkerError as error:
            raise InputError(
                "a process that checks pictures was ended from outside, most often for lack of memory; lower "
                "data.workers or data.max_pixels and run again: what was checked is kept"
            ) from error


def _is_there(path: str, size: int) -> bool:
    try:
        return Path(path).stat().st_size == size
    except OSError:
        return False
