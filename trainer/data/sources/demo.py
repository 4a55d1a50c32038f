"""The catalogue that this project draws itself."""

from __future__ import annotations

from pathlib import Path

from joblib import cpu_count

from trainer.config import CsvConfig, DataConfig
from trainer.data.candidates import Candidates
from trainer.data.demo import draw_catalogue
from trainer.data.sources import csv_table

__all__ = ["read"]


def read(data: DataConfig, workdir: Path) -> Candidates:
    """Draws the demo catalogue where it is not drawn yet, and reads it.

    Args:
        data: `root` is where it is drawn, below `workdir` when null; `demo` says how.
        workdir: the run's folder.

    Returns:
        The rows, with gender, colour, pattern and the like as attributes.

    Raises:
        InputError: the folder cannot be written.
    """
    root = (Path(data.root) if data.root is not None else workdir / "catalogue" / "demo").absolute()
    table = draw_catalogue(
        root,
        items_per_type=data.demo.items_per_type,
        image_size=data.demo.image_size,
        seed=data.demo.seed,
        workers=data.workers or cpu_count(),
    )
    return csv_table.read(data.model_copy(update={"root": str(root), "csv": CsvConfig(file=table.name)}), workdir)
