"""Each corruption does what its name and its setting say, the same each time."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from trainer.config.robustness import CorruptionName
from trainer.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt_picture

DRAWN = ("low_light", "crop", "rotation", "background")
NAMES: tuple[CorruptionName, ...] = get_args(CorruptionName)


def product(seed: int = 0, height: int = 96, width: int = 80) -> np.ndarray:
    """A patterned thing in front of white."""
    picture = np.full((height, width, 3), 255, np.uint8)
    stripes = np.random.default_rng(seed).integers(0, 200, (height - 40, 1, 3))
    picture[20:-20, 20:-20] = stripes
    return picture


def corrupted(
    name: CorruptionName, strength: int, picture: np.ndarray | None = None, identity: str = "7"
) -> np.ndarray:
    found = corrupt_picture(product() if picture is None else picture, name, strength, seed=3, identity=identity)
    assert found is not None
    return found


def test_the_names_of_the_configuration_are_those_there_are() -> None:
    assert tuple(CORRUPTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_corruption_is_a_function_of_picture_seed_and_id(name: CorruptionName, strength: int) -> None:
    picture = product()
    before = picture.copy()
    found = corrupted(name, strength, picture)
    np.testing.assert_array_equal(picture, before)
    assert found.dtype == np.uint8
    assert name == "crop" or found.shape == picture.shape
    np.testing.assert_array_equal(found, corrupted(name, strength, picture))
    others = [corrupted(name, strength, picture, identity) for identity in ("8", "9", "10", "11")]
    assert any(not np.array_equal(found, other) for other in others) == (name in DRAWN)


@pytest.mark.parametrize("name", ["jpeg", "blur", "low_light", "grey"])
def test_the_second_strength_is_the_stronger(name: CorruptionName) -> None:
    change = [np.abs(corrupted(name, strength).astype(int) - product()).mean() for strength in STRENGTHS]
    assert 0 < change[0] < change[1]


def test_grey_takes_half_or_all_of_the_colour() -> None:
    def spread(picture: np.ndarray) -> np.ndarray:
        return picture.max(axis=-1).astype(int) - picture.min(axis=-1)

    assert (np.abs(spread(corrupted("grey", 1)) - spread(product()) / 2) <= 1).all()
    assert (spread(corrupted("grey", 2)) == 0).all()


def test_low_light_divides_linear_light() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    # sRGB: 1/4 and 1/16 of white's light are 0.537 and 0.277 of its level.
    for strength, level in ((1, 136.96), (2, 70.69)):
        found = corrupted("low_light", strength, white)
        assert found.mean() == pytest.approx(level, abs=1.0)
    # 125 electrons: shot noise of sqrt(125 + 9), at the slope of the curve there 0.277 / (2.4 * 1/16) / 2000.
    assert found.std() == pytest.approx(255 * (0.277 + 0.055) / (2.4 * 125) * np.sqrt(134), rel=0.05)


@pytest.mark.parametrize(("strength", "size"), [(1, (77, 64)), (2, (58, 48))])
def test_crop_is_a_window_of_the_picture(strength: int, size: tuple[int, int]) -> None:
    rows, columns = np.mgrid[:96, :80]
    places = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    corners = set()
    for identity in map(str, range(20)):
        found = corrupted("crop", strength, places, identity)
        top, left = (int(found[0, 0, channel]) for channel in (0, 1))
        np.testing.assert_array_equal(found, places[top : top + size[0], left : left + size[1]])
        corners.add((top, left))
    assert len(corners) > 10


def test_rotation_turns_to_both_sides_and_fills_corners_with_the_border() -> None:
    picture = np.full((81, 81, 3), (10, 200, 60), np.uint8)
    picture[40, 50] = picture[40, 60] = 0  # two points to the right of the centre
    heights = set()
    for identity in map(str, range(8)):
        found = corrupted("rotation", 2, picture, identity)
        assert found[0, 0].tolist() == [10, 200, 60]
        row, column = np.unravel_index(found.sum(axis=-1).argmin(), (81, 81))
        heights.add(np.sign(row - 40))
        assert abs(row - 40) == pytest.approx(column - 40, abs=1)
    assert heights == {-1, 1}


def test_another_background_leaves_the_product() -> None:
    for strength in STRENGTHS:
        found = corrupted("background", strength)
        np.testing.assert_array_equal(found[23:-23, 23:-23], product()[23:-23, 23:-23])
        rim = np.concatenate([found[:16].reshape(-1, 3), found[-16:].reshape(-1, 3)]).astype(int)
        assert (255 - rim.min(axis=-1)).min() > 20
        assert (np.ptp(rim, axis=0).max() > 10) == (strength == 2)


def test_a_picture_without_a_backdrop_gets_no_other() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert corrupt_picture(noise, "background", 1, seed=0, identity="7") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_one_pixel_is_no_error(name: CorruptionName) -> None:
    for strength in STRENGTHS:
        found = corrupt_picture(np.full((1, 1, 3), 9, np.uint8), name, strength, seed=0, identity="7")
        assert (found is None) if name == "background" else (found is not None and found.shape == (1, 1, 3))
