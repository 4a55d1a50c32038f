"""What is known of pictures that were opened before: an append-only file, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.json as pa_json

from trainer.data.pictures import PictureRecord
from trainer.errors import InputError

__all__ = ["Journal"]

_SCHEMA = pa.schema(
    [(field.name, pa.int64() if field.type == "int" else pa.string()) for field in fields(PictureRecord)]
)


class Journal:
    """JSON lines, one a picture; the last one of a path counts.

    A line torn by a kill is dropped when the journal is next opened. Only the journal's last state of a picture is of
    use, together with the size and modification time it was read at.

    Args:
        path: the file; made by the first `append`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> pd.DataFrame:
        """The last record of each path.

        Returns:
            One row a picture, a column for each field of `PictureRecord`, in order of writing.

        Raises:
            InputError: the file cannot be read.
        """
        self._drop_torn_line()
        try:
            if not self._path.exists() or self._path.stat().st_size == 0:
                return _SCHEMA.empty_table().to_pandas()
            # Blocks hold whole lines: one longer than a block, by a very long path, would be an error.
            table = pa_json.read_json(
                self._path,
                read_options=pa_json.ReadOptions(block_size=1 << 24),
                parse_options=pa_json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error"),
            )
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"expected what prepare wrote in {self._path}, it cannot be read ({error}); delete it, "
                "then every picture is opened again"
            ) from error
        return table.to_pandas().drop_duplicates("source_path", keep="last", ignore_index=True)

    def append(self, records: Iterable[PictureRecord]) -> None:
        """Writes records to the end, past any buffer of ours.

        Raises:
            InputError: the file cannot be written.
        """
        lines = "".join(json.dumps(asdict(record)) + "\n" for record in records)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror or error}; free some space or give another --workdir"
            ) from error

    def _drop_torn_line(self) -> None:
        try:
            with open(self._path, "r+b") as file:
                end = file.seek(0, os.SEEK_END)
                keep = end
                while keep:
                    start = max(0, keep - 65536)
                    file.seek(start)
                    newline = file.read(keep - start).rfind(b"\n")
                    if newline >= 0:
                        keep = start + newline + 1
                        break
                    keep = start
                if keep < end:
                    file.truncate(keep)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"cannot open {self._path}: {error.strerror or error}; check its permissions") from error
