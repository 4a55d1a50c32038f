"""One picture under all corruptions, drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.plots.corruption_sheet import plot_corruption_sheet


def test_every_picture_is_on_the_sheet(tmp_path: Path) -> None:
    red, green, blue = (np.full((20, 30, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    path = plot_corruption_sheet(red, {"a_b": [("weak", green), ("strong", None)], "c": [("weak", blue)]},
                                 tmp_path / "plots" / "sheet.png", title="Shirts, $1")  # fmt: skip
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    for colour in (red, green, blue):
        assert (pixels == colour[0, 0]).all(axis=1).sum() > 1000
