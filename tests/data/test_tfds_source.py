"""A data set of TensorFlow Datasets, defined and made here: nothing is downloaded."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow_datasets as tfds
from PIL import Image

from trainer.config import DataConfig
from trainer.data.sources import read_source
from trainer.errors import InputError

LABELS = ["shirts", "tops"]


def encoded(number: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG" if number % 2 else "JPEG")
    return content.getvalue()


class ShoppinTinySet(tfds.core.GeneratorBasedBuilder):
    """Twelve pictures, two classes."""

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES = {"1.2.0": "for a test"}  # noqa: RUF012 (TensorFlow Datasets has it so)

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(),
                "label": tfds.features.ClassLabel(names=LABELS),
                "id": tfds.features.Text(),
                "price": np.float32,
                "boxes": tfds.features.Sequence(np.int64),
            }
        )
        return self.dataset_info_from_configs(features=features, description="A test.")

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(0, 8), "test": self._generate_examples(8, 12)}

    def _generate_examples(self, start: int, stop: int) -> Iterator[Any]:
        for number in range(start, stop):
            yield (
                number,
                {
                    "image": io.BytesIO(encoded(number)),
                    "label": LABELS[number % 2] if number != 11 else -1,
                    "id": f"sku{number}",
                    "price": 1.5,
                    "boxes": [number],
                },
            )


def config(root: Path, **settings: Any) -> DataConfig:
    tfds_settings = {"name": "shoppin_tiny_set", "download": False, **settings}
    return DataConfig.model_validate({"source": "tfds", "root": str(root), "tfds": tfds_settings})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tfds")
    ShoppinTinySet(data_dir=str(root)).download_and_prepare()
    return root


def test_rows_labels_splits_and_pictures(prepared: Path, tmp_path: Path) -> None:
    rows = read_source(config(prepared), tmp_path).rows
    assert len(rows) == 12
    assert rows["split"].value_counts().to_dict() == {"train": 8, "test": 4}
    assert rows.columns.tolist() == ["id", "image_path", "label", "split", "source_id", "price"]
    assert rows["id"].is_unique
    assert set(rows["price"]) == {"1.5"}
    for _, row in rows.iterrows():
        number = int(row["source_id"].removeprefix("sku"))
        assert Path(row["image_path"]).read_bytes() == encoded(number)
        assert Path(row["image_path"]).suffix == (".png" if number % 2 else ".jpg")
        assert Path(row["image_path"]).is_relative_to(tmp_path / "catalogue")
        assert row["label"] == ("" if number == 11 else LABELS[number % 2])


def test_pictures_are_written_once(prepared: Path, tmp_path: Path) -> None:
    first = read_source(config(prepared), tmp_path).rows
    stamps = [Path(path).stat().st_mtime_ns for path in first["image_path"]]
    second = read_source(config(prepared), tmp_path).rows
    assert second.equals(first)
    assert [Path(path).stat().st_mtime_ns for path in second["image_path"]] == stamps


def test_an_interrupted_writing_is_done_again(prepared: Path, tmp_path: Path) -> None:
    first = read_source(config(prepared), tmp_path).rows
    (table,) = (tmp_path / "catalogue").rglob("*.parquet")
    table.unlink()
    Path(first["image_path"][0]).write_bytes(b"torn")
    assert Path(read_source(config(prepared), tmp_path).rows["image_path"][0]).read_bytes() != b"torn"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "shoppin_tiny_sett"}, "received 'shoppin_tiny_sett'; the nearest is 'shoppin_tiny_set'"),
        ({"name": "shoppin_tiny_set:9.9.9"}, "cannot be used: .*9.9.9"),
        ({"image": "picture"}, "data.tfds.image: expected one of the features image of .*, received 'picture'"),
        ({"label": "boxes"}, "data.tfds.label: expected one of the features label, id, price of"),
    ],
)
def test_unknown_names(prepared: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_source(config(prepared, **settings), tmp_path)
    assert "\n" not in str(raised.value)


def test_a_set_that_is_not_there_and_may_not_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.tfds\.download is false"):
        read_source(config(tmp_path), tmp_path)


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        InputError, match=r"tf_flowers/3.* must be downloaded from .*, which cannot be reached"
    ) as raised:
        read_source(config(tmp_path, name="tf_flowers", download=True), tmp_path)
    assert "\n" not in str(raised.value)


def test_a_build_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, start: int, stop: int) -> Iterator[Any]:
        raise OSError("the archive\nis torn")
        yield

    monkeypatch.setattr(ShoppinTinySet, "_generate_examples", fail)
    with pytest.raises(InputError, match=r"cannot be downloaded and built: .*the archive") as raised:
        read_source(config(tmp_path, download=True), tmp_path)
    assert "\n" not in str(raised.value)
