"""The items table: one row a usable picture. Checked once when it is made, trusted by all later code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import InputError
from trainer.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FIXED_COLUMNS",
    "ID",
    "IMAGE_PATH",
    "ITEMS_FILE",
    "ITEMS_PICKLE",
    "LABEL",
    "PICTURE_MTIME_NS",
    "PICTURE_SHA256",
    "PICTURE_SIZE",
    "SOURCE_PATH",
    "SPLIT",
    "SPLITS",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "attribute_columns",
    "read_items",
    "write_items",
]

ID = "id"
IMAGE_PATH = "image_path"
LABEL = "label"
SPLIT = "split"
PICTURE_SHA256 = "picture_sha256"
PICTURE_SIZE = "picture_size"
PICTURE_MTIME_NS = "picture_mtime_ns"
FIXED_COLUMNS = (ID, IMAGE_PATH, LABEL, SPLIT, PICTURE_SHA256, PICTURE_SIZE, PICTURE_MTIME_NS)

# The file in the catalogue, which PICTURE_* describe; IMAGE_PATH is another for a picture that had to be converted.
SOURCE_PATH = "source_path"

TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
SPLITS = (TRAIN, VALIDATION, TEST)

ITEMS_FILE = "items.parquet"
ITEMS_PICKLE = "items.pkl"


def attribute_columns(items: pd.DataFrame) -> list[str]:
    """Names of the columns that the source gave along: everything that this module does not name."""
    return [column for column in items.columns if column not in (*FIXED_COLUMNS, SOURCE_PATH)]


def write_items(workdir: str | os.PathLike[str], items: pd.DataFrame) -> None:
    """Writes `items` as `items.parquet` and, for people, as the pandas pickle `items.pkl`.

    Args:
        workdir: the run's folder.
        items: rows with `FIXED_COLUMNS`, then any others.

    Raises:
        InputError: the folder cannot be written.
    """
    with atomic_path(Path(workdir) / ITEMS_PICKLE) as aside:
        items.to_pickle(aside)
    with atomic_path(Path(workdir) / ITEMS_FILE) as aside:
        items.to_parquet(aside, index=False)


def read_items(workdir: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads the items table that `prepare` left in a work directory.

    Args:
        workdir: the run's folder.

    Returns:
        The items in the source's order, with `FIXED_COLUMNS`, `SOURCE_PATH` and the attributes. `picture_size` (bytes)
        and `picture_mtime_ns` are int64, all else is text. `picture_*` describe the file at `source_path`;
        `image_path` is that file too, or its copy as RGB PNG where TensorFlow would read it otherwise than meant.

    Raises:
        InputError: there is no table, it cannot be read, or it lacks a column.
    """
    import pandas as pd

    path = Path(workdir) / ITEMS_FILE
    if not path.is_file():
        raise InputError(f"expected the items table {path}, there is none; run prepare with this --workdir first")
    try:
        items = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InputError(
            f"expected a Parquet file at {path}, it cannot be read ({error}); run prepare again"
        ) from error
    missing = [column for column in FIXED_COLUMNS if column not in items.columns]
    if missing:
        raise InputError(
            f"expected the columns {', '.join(FIXED_COLUMNS)} in {path}, {', '.join(missing)} not there; "
            "run prepare again"
        )
    unknown = sorted(set(items[SPLIT]) - set(SPLITS))
    if unknown:
        raise InputError(
            f"expected {', '.join(SPLITS)} as {SPLIT} in {path}, received {unknown[:3]}; run prepare again"
        )
    return items
