"""The products whose pictures a page shows, each of them embedded once."""

from __future__ import annotations

import base64
import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from trainer.data.items import attribute_columns
from trainer.report.blocks import Picture

__all__ = ["DRAWING", "THUMBNAIL", "Products"]

THUMBNAIL = 128
"""Pixels of the longer side of an embedded picture: twice the size it is mostly shown at, about 3 KB."""

DRAWING = 1600
"""Pixels of the longer side of an embedded drawing."""

_QUALITY = 70
_MOST_ATTRIBUTES = 8
_LONGEST_VALUE = 60

_log = logging.getLogger(__name__)


class Products:
    """Collects what the sections of a page want to show, then makes the pictures.

    Args:
        items: the items table, by id; tells the attributes that are shown beside a picture.
    """

    def __init__(self, items: pd.DataFrame) -> None:
        self._items = items
        self._attributes = [name for name in attribute_columns(items) if items[name].nunique() > 1][:_MOST_ATTRIBUTES]
        self._labels: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, product: str, label: str, image_path: str) -> None:
        """Notes a product: its id, its label, and the file of its picture, empty where it is not known here."""
        self._labels[product] = label
        self._paths[product] = image_path or self._paths.get(product, "")

    def picture(
        self, product: str, label: str, image_path: str, *, lines: tuple[str, ...] = (), right: bool | None = None
    ) -> Picture:
        """Notes a product and answers its picture for a block."""
        self.add(product, label, image_path)
        return Picture(product, f"{label}, product {product}", lines, right)

    def drawing(self, path: str, alt: str) -> Picture:
        """Notes a picture that is not a product's, to be embedded up to `DRAWING` pixels large."""
        self.add(path, "", path)
        self._sizes[path] = DRAWING
        return Picture(path, alt)

    def embedded(self) -> dict[str, dict[str, Any]]:
        """Id to `label`, `about` (its attributes in one line) and `picture` (a `data:` address).

        A picture that is not there or cannot be read has an empty address; how many there are is logged.
        """
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            sizes = (self._sizes.get(product, THUMBNAIL) for product in self._paths)
            made = threads.map(_webp, self._paths.values(), sizes)
            pictures = list(tqdm(made, desc="pictures", total=len(self), unit="picture", leave=False))
        missing = [path for path, picture in zip(self._paths.values(), pictures, strict=True) if not picture]
        if missing:
            _log.warning("%d of %d pictures cannot be read, such as %s", len(missing), len(self), missing[0])
        return {
            product: {"label": self._labels[product], "about": self._about(product), "picture": picture}
            for product, picture in zip(self._paths, pictures, strict=True)
        }

    def _about(self, product: str) -> str:
        if product not in self._items.index:
            return ""
        values = (str(self._items.at[product, name]).strip() for name in self._attributes)
        return " · ".join(value[:_LONGEST_VALUE] for value in values if value and value != "nan")


def _webp(path: str, size: int) -> str:
    """The whole picture, upright, on white, as a WebP in a `data:` address; empty where it cannot be read."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * size, 2 * size))
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError):
        return ""
    upright.thumbnail((size, size))
    white = Image.new("RGBA", upright.size, "white")
    white.alpha_composite(upright)
    buffer = io.BytesIO()
    white.convert("RGB").save(buffer, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
