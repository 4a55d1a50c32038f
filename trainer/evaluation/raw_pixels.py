"""The baseline that learns nothing: small pictures compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

__all__ = ["raw_pixel_vectors"]


def raw_pixel_vectors(paths: Sequence[str], size: int = 32) -> np.ndarray:
    """Pictures as vectors of their pixels, each with its own mean taken off, so that cosine compares patterns.

    Args:
        paths: of N pictures.
        size: height and width that they are reduced to, in pixels. Default 32.

    Returns:
        float32 `[N, 3 * size * size]`. A picture of one flat colour, which has no pattern, becomes a constant vector.
    """
    vectors = np.empty((len(paths), 3 * size * size), np.float32)
    for row, path in enumerate(tqdm(paths, desc="raw pixels", unit="picture", leave=False)):
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(small, np.float32).reshape(-1) / 255.0
        centred = pixels - pixels.mean()
        vectors[row] = centred if centred.any() else 1.0
    return vectors
