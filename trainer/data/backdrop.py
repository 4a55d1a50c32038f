"""The plain backdrop that most catalogue pictures are taken in front of: where it is, and another in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["Backdrop", "find_backdrop"]

_BORDER = 2
"""Pixels of the rim that the backdrop's colour is taken from."""
_PLAIN = 6.0
"""Levels by which the backdrop may differ from its colour."""
_HALO = 10.0
"""Levels by which it may where JPEG's ringing surrounds the product."""
_PRODUCT = 40.0
"""Levels from which on a pixel at the edge is the product's alone."""
_BRUSH = 0.015
"""Share of the shorter side: the flood does not pass gaps narrower than twice that."""
_EDGE = 2.5
"""Pixels over which product and backdrop mix."""


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A picture taken apart into product and backdrop.

    Args:
        picture: uint8 `[H, W, 3]`.
        colour: float32 `[3]`, the backdrop's colour, 0 to 255.
        product: float32 `[H, W]` in `[0, 1]`, how much of each pixel is the product's.
    """

    picture: np.ndarray
    colour: np.ndarray
    product: np.ndarray

    def replaced(self, backdrop: np.ndarray) -> np.ndarray:
        """The product in front of another backdrop.

        A pixel is `product x its colour + (1 - product) x backdrop`; the product's own colour need not be known, since
        only the second term changes.

        Args:
            backdrop: `[H, W, 3]` or `[3]`, 0 to 255.

        Returns:
            uint8 `[H, W, 3]`.
        """
        changed = self.picture + (1.0 - self.product[..., None]) * (np.asarray(backdrop, np.float32) - self.colour)
        return np.round(np.clip(changed, 0.0, 255.0)).astype(np.uint8)


def find_backdrop(picture: np.ndarray) -> Backdrop | None:
    """Finds the backdrop by a flood from the border over pixels of the border's usual colour.

    The flood is wide, so that it does not trickle through a faint edge into a white shirt in front of white; then it
    is grown back to the product's edge. What it cannot reach, such as a gap below a handle, stays the product's.

    Args:
        picture: uint8 `[H, W, 3]`.

    Returns:
        Its parts; None where the border is not mostly of one colour, or nothing or hardly anything but backdrop is
        left.
    """
    border = np.ones(picture.shape[:2], bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    colour = np.median(picture[border], axis=0).astype(np.float32)
    distance = np.abs(picture - colour).max(axis=-1)
    calm = ndimage.median_filter(distance, 3)
    plain = calm <= _PLAIN
    if plain[border].mean() < 0.5:
        return None
    brush = max(1.0, _BRUSH * min(border.shape))
    open_ground = ndimage.distance_transform_edt(plain) > brush
    flood = ndimage.binary_propagation(border & open_ground, mask=open_ground)
    if not flood.any():
        return None
    # The median takes ringing away, and with it lines and corners, which differ by more.
    alike = (calm <= _HALO) & (distance < _PRODUCT)
    backdrop = alike & (ndimage.distance_transform_edt(~flood) <= 1.5 * brush)
    if not 0.01 <= 1.0 - backdrop.mean() <= 0.95:
        return None
    near_edge = ndimage.distance_transform_edt(~backdrop) <= _EDGE
    share = np.clip((distance - _HALO) / (_PRODUCT - _HALO), 0.0, 1.0)
    product = np.where(near_edge, share, 1.0)
    product[backdrop] = 0.0
    return Backdrop(picture, colour, product.astype(np.float32))
