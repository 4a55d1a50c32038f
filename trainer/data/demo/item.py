"""One picture of the demo catalogue, from its seed, type and number alone."""

from __future__ import annotations

import numpy as np

from trainer.data.demo.facts import QUERY_NUMBERS, item_facts, random_streams
from trainer.data.demo.garments import GARMENT_TYPES, GARMENTS
from trainer.data.demo.painting import paint
from trainer.data.demo.placing import bent, place
from trainer.data.demo.scene import background, cast_shadow, exposed, with_props
from trainer.errors import InputError

__all__ = ["MIN_IMAGE_SIZE", "check_drawing", "draw_item", "drawn_as", "query_picture"]

MIN_IMAGE_SIZE = 32
# Part of every picture's comment: a change to the drawing raises it, and older pictures are then drawn again.
_DRAWING = 1


def check_drawing(*, image_size: int, seed: int) -> None:
    """Refuses a picture size or a seed that cannot be drawn with.

    Raises:
        InputError: `image_size` is under `MIN_IMAGE_SIZE`, or `seed` is negative.
    """
    if image_size < MIN_IMAGE_SIZE:
        raise InputError(
            f"image_size must be at least {MIN_IMAGE_SIZE} pixels, received {image_size}; "
            "give 96, or 224 for a finer, slower demo"
        )
    if seed < 0:
        raise InputError(f"seed must be 0 or more, received {seed}; give another whole number")


def drawn_as(label: str, number: int, *, seed: int, image_size: int) -> bytes:
    """The comment in an item's file: it tells a picture of these arguments from one of others."""
    return f"demo catalogue, drawing {_DRAWING}: seed {seed}, {label} {number}, {image_size} pixels".encode()


def draw_item(label: str, number: int, *, seed: int = 0, image_size: int = 96) -> bytes:
    """Draws one product picture.

    Args:
        label: one of `GARMENT_TYPES`.
        number: which item of this type, from 0; numbers of the catalogue lie below 50,000.
        seed: the catalogue's seed.
        image_size: pixels a side.

    Returns:
        The bytes of a square RGB JPEG file; the same bytes for the same arguments.

    Raises:
        InputError: an argument is out of range, or the label is not a garment type.
    """
    check_drawing(image_size=image_size, seed=seed)
    if label not in GARMENTS:
        raise InputError(f"label must be one of {', '.join(GARMENT_TYPES)}; received {label!r}")
    if number < 0:
        raise InputError(f"number must be 0 or more, received {number}; items are counted from 0")
    # Supersampled threefold for smooth edges; twofold is enough, and twice as fast, where pixels are small anyway.
    size = image_size * (3 if image_size <= 128 else 2)
    facts = item_facts(label, number, seed=seed)
    _, shape, pose, cloth, surroundings, camera = random_streams(seed, label, number, 6)
    parts = bent(shape, GARMENTS[label].silhouette(shape))
    placing = place(pose, parts, size)
    turn = pose.uniform(-0.85, -0.15) * np.pi
    light = np.array([np.cos(turn), np.sin(turn)])
    painted = paint(cloth, parts, facts, placing, size, light)
    scene = cast_shadow(surroundings, background(surroundings, size), painted, light)
    comment = drawn_as(label, number, seed=seed, image_size=image_size)
    return exposed(camera, with_props(surroundings, scene), image_size, comment)


def query_picture(seed: int, label: str, image_size: int = 96) -> bytes:
    """Draws a product that no catalogue holds, whatever its seed: something to search with.

    Args:
        seed: which product; any whole number from 0.
        label: one of `GARMENT_TYPES`.
        image_size: pixels a side.

    Returns:
        The bytes of a square RGB JPEG file.

    Raises:
        InputError: as `draw_item`.
    """
    return draw_item(label, QUERY_NUMBERS, seed=seed, image_size=image_size)
