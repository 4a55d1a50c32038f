"""A product's picture in a grid."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.errors import InputError
from trainer.plots.style import RIGHT, WRONG

__all__ = ["show_picture"]

THUMBNAIL = 160


def show_picture(axes: Axes, path: str, title: str, right: bool | None = None) -> None:
    """Draws one picture with its title.

    Args:
        axes: to draw on.
        path: of the picture.
        title: above it.
        right: framed green and solid where True, red and dashed where False; no frame where None, the default.

    Raises:
        InputError: the picture is missing or cannot be read.
    """
    axes.imshow(_thumbnail(path))
    axes.set_title(title, fontsize=7, loc="center", pad=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(right is not None)
        spine.set(color=RIGHT if right else WRONG, linewidth=2.2, linestyle="-" if right else (0, (3, 1.5)))


def _thumbnail(path: str) -> np.ndarray:
    """`[THUMBNAIL, THUMBNAIL, 3]` uint8: the whole picture, upright, on white."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise InputError(
            f"expected a picture at {path}, received: {type(error).__name__}; "
            "put the picture back or prepare the catalogue again"
        ) from error
    white = Image.new("RGBA", upright.size, "white")
    white.alpha_composite(upright)
    return np.asarray(ImageOps.pad(white.convert("RGB"), (THUMBNAIL, THUMBNAIL), color="white"))
