"""A product before a plain backdrop is told from it; anything else is left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trainer.data.backdrop import find_backdrop

WHITE, RED, BLUE, GREY = (255, 255, 255), (200, 30, 40), (20, 60, 220), (190, 190, 190)


def scene(backdrop: tuple[int, int, int] = WHITE, product: tuple[int, int, int] = RED) -> np.ndarray:
    picture = np.full((96, 96, 3), backdrop, np.uint8)
    picture[30:70, 24:64] = product
    return picture


@pytest.mark.parametrize("backdrop", [WHITE, (230, 228, 224), (90, 140, 90)])
def test_another_backdrop_leaves_the_product_as_it_was(backdrop: tuple[int, int, int]) -> None:
    parts = find_backdrop(scene(backdrop))
    assert parts is not None
    assert parts.colour.tolist() == list(backdrop)
    np.testing.assert_array_equal(parts.replaced(np.array(BLUE)), scene(BLUE))


def test_a_texture_shows_through_where_the_backdrop_was() -> None:
    parts = find_backdrop(scene())
    assert parts is not None
    texture = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    expected = texture.copy()
    expected[30:70, 24:64] = RED
    np.testing.assert_array_equal(parts.replaced(texture), expected)


def test_a_mixed_pixel_at_the_edge_stays_as_mixed_as_it_was() -> None:
    picture = scene()
    picture[30:70, 24] = (230, 142, 147)  # half red, half white, rounded
    parts = find_backdrop(picture)
    assert parts is not None
    assert parts.replaced(np.array(BLUE))[50, 24].tolist() == [230, 142, 147]  # far from white: the product's alone
    picture[30:70, 24] = (252, 230, 230)  # 25 levels from white: half way from 10 to 40
    parts = find_backdrop(picture)
    assert parts is not None
    assert parts.product[50, 24] == pytest.approx(0.5)
    np.testing.assert_allclose(parts.replaced(np.array((255, 255, 205)))[50, 24], (252, 230, 205))


def test_the_flood_does_not_trickle_through_a_gap_into_white_on_white() -> None:
    picture = np.full((200, 200, 3), 255, np.uint8)
    picture[50:150, 50:150] = GREY
    picture[53:147, 53:147] = 255  # a white shirt with a grey edge
    picture[100:104, 50:53] = 255  # that is broken at one place
    parts = find_backdrop(picture)
    assert parts is not None
    assert (parts.product[60:140, 60:140] == 1.0).all()
    assert (parts.product[:48] == 0.0).all()
    wide = picture.copy()
    wide[90:110, 50:53] = 255
    opened = find_backdrop(wide)
    assert opened is not None
    assert (opened.product[60:140, 60:140] == 0.0).all()


def test_the_ringing_of_jpeg_goes_with_the_backdrop() -> None:
    content = io.BytesIO()
    Image.fromarray(scene()).save(content, "JPEG", quality=75)
    parts = find_backdrop(np.asarray(Image.open(content)))
    assert parts is not None
    changed = parts.replaced(np.array(BLUE)).astype(int)
    away = np.ones((96, 96), bool)
    away[27:73, 21:67] = False
    assert (np.abs(changed[away] - BLUE).max(axis=-1) <= 12).mean() > 0.99
    assert (np.abs(changed[36:64, 30:58] - RED).max(axis=-1) <= 12).all()


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.full((3, 5, 3), 255, np.uint8),
        np.pad(np.full((62, 62, 3), 40, np.uint8), ((1, 1), (1, 1), (0, 0)), constant_values=255),
    ],
    ids=["noise", "nothing but backdrop", "tiny", "hardly any backdrop"],
)
def test_what_has_no_backdrop_is_said_to_have_none(picture: np.ndarray) -> None:
    assert find_backdrop(picture) is None
