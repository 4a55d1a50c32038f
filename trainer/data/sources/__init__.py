"""Kinds of catalogues: one explicit table from name to reader."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.config import DataConfig
    from trainer.data.candidates import Candidates

__all__ = ["READERS", "read_source"]

# Name → module with `read(data, workdir) -> Candidates`; imported when asked for, since `tfds` brings TensorFlow along.
READERS = {
    "fashion_products": "trainer.data.sources.fashion_products",
    "csv": "trainer.data.sources.csv_table",
    "folder": "trainer.data.sources.folder",
    "tfds": "trainer.data.sources.tfds_images",
    "demo": "trainer.data.sources.demo",
}


def read_source(data: DataConfig, workdir: Path) -> Candidates:
    """Reads the rows of the catalogue that `data.source` names, without opening pictures.

    Args:
        data: see `DataConfig`.
        workdir: the run's folder; `demo` and `tfds` put their pictures below it.

    Returns:
        The rows in the source's order.

    Raises:
        InputError: the source is missing or cannot be understood.
    """
    candidates: Candidates = importlib.import_module(READERS[data.source]).read(data, workdir)
    return candidates
