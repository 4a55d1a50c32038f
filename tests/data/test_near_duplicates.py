"""Copies are found, whatever was done to them; look-alikes are not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config import NearDuplicatesConfig
from trainer.data.near_duplicates import duplicate_groups, near_pairs
from trainer.data.pictures import PictureRecord, check_picture


def brute_force(hashes: np.ndarray, max_distance: int) -> set[tuple[int, int]]:
    distances = np.unpackbits(hashes[:, None] ^ hashes[None], axis=2).sum(axis=2)
    return {(int(i), int(j)) for i, j in np.argwhere(distances <= max_distance) if i < j}


def crowded_hashes(count: int, flipped: float) -> np.ndarray:
    """A few centres and many neighbours of theirs, so that distances of all sizes occur."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (5, 256), np.uint8)[rng.integers(0, 5, count)]
    return np.packbits(bits ^ (rng.random(bits.shape) < flipped), axis=1)


@pytest.mark.parametrize("max_distance", [0, 1, 6, 10, 20, 31, 32, 64])
def test_pairs_are_those_of_brute_force(max_distance: int) -> None:
    hashes = crowded_hashes(300, max_distance / 600)
    expected = brute_force(hashes, max_distance)
    found = [tuple(pair) for pairs in near_pairs(hashes, max_distance) for pair in pairs.tolist()]
    assert len(expected) > 100
    assert set(found) == expected


def test_many_hashes_take_seconds() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (44_000, 32), np.uint8)
    hashes[1000:1100] = hashes[:100]
    started = time.perf_counter()
    found = {tuple(pair) for pairs in near_pairs(hashes, 10) for pair in pairs.tolist()}
    assert found == {(row, row + 1000) for row in range(100)}
    assert time.perf_counter() - started < 10


def grouped(hashes: np.ndarray, colours: np.ndarray | None = None, max_distance: int | None = 10) -> list[int]:
    names = [str(row) for row in range(len(hashes))]
    colours = np.zeros((len(hashes), 48), np.uint8) if colours is None else colours
    return duplicate_groups(names, hashes, colours, max_distance).tolist()


def test_groups_are_connected_components_in_order() -> None:
    hashes = np.zeros((5, 32), np.uint8)
    hashes[0] = 255
    hashes[2, 0] = 0xFF  # 8 bits from row 1
    hashes[3, :2] = 0xFF  # 8 from row 2, 16 from row 1
    hashes[4, 20:] = 0xFF
    assert grouped(hashes) == [0, 1, 1, 1, 2]
    assert grouped(hashes, max_distance=7) == [0, 1, 2, 3, 4]
    assert grouped(hashes, max_distance=None) == [0, 1, 2, 3, 4]


def test_equal_files_are_grouped_whatever_is_asked_for() -> None:
    hashes = crowded_hashes(4, 0.5)
    colours = np.zeros((4, 48), np.uint8)
    assert duplicate_groups(["a", "b", "a", "c"], hashes, colours, None).tolist() == [0, 1, 0, 2]
    assert duplicate_groups(["a", "b", "a", "c"], hashes, colours, 0).tolist() == [0, 1, 0, 2]


def test_a_chain_through_equal_files() -> None:
    hashes = np.zeros((4, 32), np.uint8)
    hashes[:2] = 0xAA
    hashes[2:, 0] = 0xFF
    files = ["a", "b", "c", "d"]
    assert duplicate_groups(files, hashes, np.zeros((4, 48), np.uint8), 10).tolist() == [0, 0, 1, 1]
    files[3] = "a"  # the same file as the first, so its hash must be too
    hashes[3] = hashes[0]
    assert duplicate_groups(files, hashes, np.zeros((4, 48), np.uint8), 10).tolist() == [0, 0, 1, 0]


def test_pictures_that_hash_alike_in_other_colours_are_apart() -> None:
    colours = np.zeros((3, 48), np.uint8)
    colours[1] = 200
    colours[2] = 202
    assert grouped(np.zeros((3, 32), np.uint8), colours) == [0, 1, 1]


def test_one_picture_and_none() -> None:
    assert grouped(np.zeros((1, 32), np.uint8)) == [0]
    assert grouped(np.zeros((0, 32), np.uint8)) == []


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "quality 50": lambda image: saved_again(image, 50),
    "another ratio": lambda image: image.resize((image.width, image.height // 2)),
    "half the size and quality 60": lambda image: saved_again(image.resize((112, 112)), 60),
}


def looked_at(image: Image.Image, folder: Path, name: str) -> PictureRecord:
    path = folder / name
    image.save(path, "PNG")
    return check_picture(str(path), folder, 10**7)


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_of_real_pictures_are_found_and_others_kept_apart(
    shared_root: Path, tmp_path: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    folder = shared_root / "data" / "fashion-products" / "images"
    records = []
    # Shirts on one model in one pose, which look alike and are different products.
    for name in ("17537", "17547", "17561", "13769", "13759", "12319", "16358", "16345"):
        with Image.open(folder / f"{name}.jpg") as image:
            records.append(looked_at(image, tmp_path, f"{name}.png"))
            records.append(looked_at(change(image), tmp_path, f"{name}-copy.png"))
    packed = [
        np.array([list(bytes.fromhex(value)) for value in values], np.uint8)
        for values in ([record.phash for record in records], [record.colours for record in records])
    ]
    groups = duplicate_groups(
        [record.sha256 for record in records], packed[0], packed[1], NearDuplicatesConfig().max_distance
    )
    assert groups.tolist() == [row // 2 for row in range(16)]
