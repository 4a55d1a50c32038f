"""Any table of items: CSV, Parquet, or a pickled pandas table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from trainer.config import DataConfig
from trainer.data.candidates import Candidates, as_text, pick_columns
from trainer.data.delimited import TextTable, read_delimited
from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT
from trainer.data.pickles import load_pickle
from trainer.errors import InputError

__all__ = ["read"]


def read(data: DataConfig, workdir: Path) -> Candidates:
    """Reads a table whose columns `data.csv` names.

    Args:
        data: `csv.file` below `root`, or absolute: `.parquet`, `.pkl` or `.pickle` by their suffix, else CSV. Paths of
            pictures are relative to `root`, or absolute.
        workdir: not used.

    Returns:
        The rows; lines of a CSV with too few or too many fields are counted as malformed.

    Raises:
        InputError: no such table or column, or a pickle that holds more than data.
    """
    root = Path(str(data.root)).absolute()
    path = root / data.csv.file
    table = _read_table(path, data.csv.separator)
    names = {ID: data.csv.id, IMAGE_PATH: data.csv.image_path, LABEL: data.csv.label, SPLIT: data.csv.split}
    wanted = {name: column for name, column in names.items() if column is not None}
    if data.csv.id is None:
        wanted[ID] = data.csv.image_path
    rows = pick_columns(
        table.frame,
        wanted,
        where=str(path),
        keys={
            **{name: f"data.csv.{name}" for name in names},
            **({ID: "data.csv.image_path"} if data.csv.id is None else {}),
        },
        attributes=data.csv.attributes,
    )
    paths = rows[IMAGE_PATH].str.strip()
    # An empty path stays empty: joined, it would be the catalogue's folder.
    rows[IMAGE_PATH] = [str(root / path) if path else "" for path in paths]
    return Candidates(rows, table.mended, table.malformed)


def _read_table(path: Path, separator: str) -> TextTable:
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".pkl", ".pickle"):
        return read_delimited(path, separator=separator)
    frame = _read_parquet(path) if suffix == ".parquet" else load_pickle(path)
    if isinstance(frame, dict | list):
        try:
            frame = pd.DataFrame(frame)
        except ValueError as error:
            raise InputError(f"expected a table in {path}, received columns of different lengths: {error}") from error
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"expected a pandas table in {path}, received {type(frame).__name__}; pickle a DataFrame")
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.has_duplicates:
        raise InputError(f"expected column names that differ in {path}, received {list(frame.columns)}; rename one")
    return TextTable(frame.apply(as_text), (), ())


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"expected a Parquet file at {path}, it cannot be read: {error}; check data.root") from error
