from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from trainer.data import demo
from trainer.data.demo import GARMENT_TYPES, draw_catalogue, draw_item, query_picture
from trainer.data.demo.facts import COLOURS, PATTERNS
from trainer.errors import InputError

SMALL = {"items_per_type": 2, "image_size": 32}


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of one round of colours, drawn by two workers."""
    root = tmp_path_factory.mktemp("drawn")
    draw_catalogue(root, items_per_type=len(COLOURS), image_size=32, workers=2)
    return root


def test_the_table_names_pictures_that_exist(drawn: Path) -> None:
    table = _table(drawn / "items.csv")
    assert list(table.columns) == ["id", "image_path", "label", "gender", "colour", "pattern", "season", "title"]
    assert table["id"].is_unique
    assert len(GARMENT_TYPES) >= 10
    assert table["label"].value_counts().to_dict() == dict.fromkeys(GARMENT_TYPES, len(COLOURS))
    assert set(table["pattern"]) <= set(PATTERNS)
    for path in table["image_path"]:
        with Image.open(drawn / path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (32, 32))
    assert all(title.startswith(colour) for title, colour in zip(table["title"], table["colour"], strict=True))


def test_every_type_has_every_colour_equally_often(drawn: Path) -> None:
    counts = _table(drawn / "items.csv").groupby(["label", "colour"]).size()
    assert len(counts) == len(GARMENT_TYPES) * len(COLOURS)
    assert set(counts) == {1}


def test_the_bytes_do_not_depend_on_the_workers(drawn: Path, tmp_path: Path) -> None:
    draw_catalogue(tmp_path, **SMALL, workers=1)
    alone, together = _files(tmp_path), _files(drawn)
    pictures = [name for name in alone if name.endswith(".jpg")]
    assert len(pictures) == 2 * len(GARMENT_TYPES)
    assert all(alone[name] == together[name] for name in pictures)


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    code = "import sys; from trainer.data.demo import draw_item; sys.stdout.buffer.write(draw_item('Boots', 3))"
    # Another hash seed, since the order of a set must not reach a picture.
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert child.stdout == draw_item("Boots", 3)


def test_it_draws_on_where_it_was_cut_short(tmp_path: Path) -> None:
    draw_catalogue(tmp_path, **SMALL, workers=1)
    whole = _files(tmp_path)
    table = tmp_path / "items.csv"
    table.unlink()
    kept, torn, gone, *_ = sorted((tmp_path / "images").iterdir())
    os.utime(kept, ns=(1, 1))
    torn.write_bytes(torn.read_bytes()[:-200])
    gone.unlink()
    assert draw_catalogue(tmp_path, **SMALL, workers=1) == table
    assert _files(tmp_path) == whole
    assert kept.stat().st_mtime_ns == 1


def test_it_grows_without_drawing_anew(tmp_path: Path) -> None:
    draw_catalogue(tmp_path, **SMALL, workers=1)
    first = _files(tmp_path)
    for path in (tmp_path / "images").iterdir():
        os.utime(path, ns=(1, 1))
    draw_catalogue(tmp_path, items_per_type=3, image_size=32, workers=1)
    names = {path.name for path in (tmp_path / "images").iterdir() if path.stat().st_mtime_ns == 1}
    assert {f"images/{name}" for name in names} == {name for name in first if name.endswith(".jpg")}
    assert len(_table(tmp_path / "items.csv")) == 3 * len(GARMENT_TYPES)


def test_another_seed_or_size_is_drawn_over(tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "there", **SMALL, workers=1)
    for changed in ({"seed": 1}, {"seed": 1, "image_size": 40}):
        arguments = {**SMALL, **changed, "workers": 1}
        draw_catalogue(tmp_path / "there", **arguments)
        fresh = tmp_path / f"fresh{len(changed)}"
        draw_catalogue(fresh, **arguments)
        assert _files(tmp_path / "there") == _files(fresh)


def test_items_differ_from_one_another() -> None:
    pictures = {
        draw_item(label, number, seed=seed, image_size=32)
        for label in GARMENT_TYPES
        for number in (0, 1)
        for seed in (0, 1)
    }
    assert len(pictures) == 4 * len(GARMENT_TYPES)


def test_a_query_is_a_picture_of_its_own() -> None:
    query = query_picture(0, "Watches", 48)
    with Image.open(io.BytesIO(query)) as picture:
        assert picture.size == (48, 48)
    assert query == query_picture(0, "Watches", 48)
    assert query != query_picture(1, "Watches", 48)
    assert query not in {draw_item("Watches", number, image_size=48) for number in range(4)}


def _hit_at_1(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.str_]) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return float((labels[scores.argmax(axis=1)] == labels).mean())


def test_pixels_alone_find_few_of_their_type(drawn: Path) -> None:
    table = _table(drawn / "items.csv")
    labels = table["label"].to_numpy(dtype=str)
    pictures = np.stack([np.asarray(Image.open(drawn / path), dtype=np.float32) for path in table["image_path"]])
    flat = pictures.reshape(len(pictures), -1)
    # Measured over four seeds: 0.29 to 0.36, chance is 0.08. The silhouettes must show, and must not be enough.
    assert 0.15 < _hit_at_1(flat - flat.mean(axis=1, keepdims=True), labels) < 0.50
    # Measured: 0.08 to 0.12 from the mean colour, 0.03 to 0.15 from the border, where a garment shows at times.
    assert _hit_at_1(pictures.mean(axis=(1, 2)) - pictures.mean(), labels) < 0.20
    border = np.concatenate([pictures[:, :2].reshape(len(flat), -1), pictures[:, -2:].reshape(len(flat), -1)], axis=1)
    assert _hit_at_1(border - border.mean(axis=1, keepdims=True), labels) < 0.25


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"items_per_type": 1}, "items_per_type must lie between 2"),
        ({"items_per_type": 50_001}, "received 50001"),
        ({"image_size": 31}, "image_size must be at least 32"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"workers": 0}, "workers must be 1 or more"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(arguments: dict[str, int], said: str, tmp_path: Path) -> None:
    root = tmp_path / "catalogue"
    with pytest.raises(InputError, match=said):
        draw_catalogue(root, **arguments)
    assert not root.exists()


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(InputError, match=r"T-shirts, .*received 'Sandals'"):
        draw_item("Sandals", 0)
    with pytest.raises(InputError, match="number must be 0 or more"):
        draw_item("Boots", -1)


def test_the_package_opens_its_rooms_late() -> None:
    assert demo.__all__ == ["GARMENT_TYPES", "draw_catalogue", "draw_item", "query_picture"]
    code = "import sys, trainer.data.demo; print(sorted({'numpy', 'PIL', 'tensorflow', 'joblib'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert child.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'draw_everything'"):
        demo.draw_everything  # noqa: B018
