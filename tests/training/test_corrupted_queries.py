"""Spoilt pictures reach the model as they should, and what it said of them is kept as long as it holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainer.config import load_config
from trainer.data.corruptions import corrupt_picture
from trainer.errors import InputError

SIZE = 32


class Encoder:
    """Stands in for a model: says a picture's mean colour, and keeps what it saw."""

    def __init__(self, digest: str = "one model") -> None:
        self.digest = digest
        self.seen: list[np.ndarray] = []

    def encode(self, batches: Iterable[np.ndarray], count: int, description: str) -> Any:
        self.seen = [picture for batch in batches for picture in batch]
        assert len(self.seen) == count
        embeddings = np.stack([picture.mean(axis=(0, 1), dtype=np.float32) for picture in self.seen])
        return SimpleNamespace(embeddings=embeddings, predicted_labels=np.array(["a"] * count))


@pytest.fixture
def items(tmp_path: Path) -> pd.DataFrame:
    """A product before white, larger than the model's pictures; and noise, of the model's size."""
    product = np.full((80, 120, 3), 255, np.uint8)
    product[20:60, 40:80] = (200, 30, 30)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    paths = [tmp_path / "product.png", tmp_path / "noise.png"]
    for path, picture in zip(paths, (product, noise), strict=True):
        Image.fromarray(picture).save(path)
    columns = {"id": ["1", "2"], "label": ["a", "b"], "picture_sha256": ["x", "y"], "image_path": map(str, paths)}
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def run(workdir: Path, seed: int = 0) -> Any:
    changes = ["model.names=[resnet50]", f"model.image_size={SIZE}", f"seed={seed}", "train.extraction_batch_size=1"]
    return SimpleNamespace(config=load_config(None, changes), workdir=workdir)


def test_a_picture_is_reduced_by_its_shorter_side(items: pd.DataFrame) -> None:
    from trainer.training.corrupted_queries import read_reduced

    product, noise = (read_reduced(path, SIZE) for path in items["image_path"])
    assert product.shape == (SIZE, 48, 3)
    assert product[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(noise, np.asarray(Image.open(items["image_path"][1])))


def test_a_picture_that_is_gone_or_spoilt_is_named(tmp_path: Path) -> None:
    from trainer.training.corrupted_queries import read_reduced

    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    for name in ("none.jpg", "text.jpg"):
        with pytest.raises(InputError, match=f"{name}, it cannot be read now .*; run prepare again"):
            read_reduced(tmp_path / name, SIZE)


def test_the_model_sees_the_spoilt_picture_at_its_size_or_the_clean_one(items: pd.DataFrame, tmp_path: Path) -> None:
    from trainer.data.pipeline import resize_picture
    from trainer.training.corrupted_queries import APPLIED, corrupted_queries, read_reduced

    encoder = Encoder()
    table = corrupted_queries(run(tmp_path), "m", encoder, items, "background", 1)  # type: ignore[arg-type]
    product, noise = (read_reduced(path, SIZE) for path in items["image_path"])
    spoilt = corrupt_picture(product, "background", 1, seed=0, identity="1")
    assert spoilt is not None
    np.testing.assert_array_equal(encoder.seen[0], resize_picture(spoilt, SIZE))
    np.testing.assert_array_equal(encoder.seen[1], noise)
    assert table.attributes[APPLIED].tolist() == [True, False]
    assert table.ids.tolist() == ["1", "2"]
    np.testing.assert_allclose(table.vectors[1], noise.mean(axis=(0, 1)), rtol=1e-5)


def test_what_is_kept_holds_for_the_same_model_pictures_and_settings_only(items: pd.DataFrame, tmp_path: Path) -> None:
    from trainer.training.corrupted_queries import corrupted_queries

    def asked(encoder: Encoder, seed: int = 0, rows: pd.DataFrame = items, strength: int = 1) -> bool:
        corrupted_queries(run(tmp_path, seed), "m", encoder, rows, "grey", strength)  # type: ignore[arg-type]
        return bool(encoder.seen)

    assert asked(Encoder())
    assert not asked(Encoder())
    assert asked(Encoder(), strength=2)
    assert not asked(Encoder())
    assert not asked(Encoder(), rows=items.assign(label=["b", "a"]))
    assert asked(Encoder("another model"))
    assert asked(Encoder(), seed=1)
    assert asked(Encoder(), seed=1, rows=items.assign(picture_sha256=["x", "z"]))
    assert len(list((tmp_path / "robustness" / "m").glob("grey-1-*.parquet"))) == 1
