"""The layout of Kaggle's "Fashion Product Images": `styles.csv` beside a folder of `<id>.jpg`.

Source: https://www.kaggle.com/datasets/paramaggarwal/fashion-product-images-dataset
"""

from __future__ import annotations

from pathlib import Path

from trainer.config import DataConfig
from trainer.data.candidates import Candidates, pick_columns
from trainer.data.delimited import read_delimited
from trainer.data.items import ID, IMAGE_PATH, LABEL

__all__ = ["read"]

_TABLE = "styles.csv"
_FREE_TEXT = "productDisplayName"
_YEAR = "year"


def read(data: DataConfig, workdir: Path) -> Candidates:
    """Reads `styles.csv`.

    Kaggle's file does not quote the last column, a free text, so a comma in it makes a field too many. Such a line is
    mended by joining what is past the last comma that separates; it is malformed where the year is no number then.

    Args:
        data: `root` holds `styles.csv` and the folder `images`; `label` names the column that is learned.
        workdir: not used.

    Returns:
        All other columns as attributes, under their names.

    Raises:
        InputError: no table, or no such columns.
    """
    root = Path(str(data.root)).absolute()
    path = root / _TABLE
    read = read_delimited(path, mend=_mend, one_line_each=True)
    table = read.frame
    rows = pick_columns(
        table.assign(**{IMAGE_PATH: ""}) if IMAGE_PATH not in table.columns else table,
        {ID: ID, IMAGE_PATH: IMAGE_PATH, LABEL: data.label},
        where=str(path),
        keys={ID: _TABLE, IMAGE_PATH: _TABLE, LABEL: "data.label"},
    )
    rows[IMAGE_PATH] = f"{root / data.images}/" + rows[ID].str.strip() + ".jpg"
    return Candidates(rows, read.mended, read.malformed)


def _mend(fields: list[str], names: list[str]) -> list[str] | None:
    if names[-1] != _FREE_TEXT:
        return None
    last = len(names) - 1
    mended = [*fields[:last], ",".join(fields[last:])]
    year = mended[names.index(_YEAR)].strip() if _YEAR in names else ""
    return mended if not year or year.replace(".", "", 1).isdigit() else None
