"""The items table on disk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from trainer.data.items import (
    FIXED_COLUMNS,
    ITEMS_FILE,
    ITEMS_PICKLE,
    SOURCE_PATH,
    attribute_columns,
    read_items,
    write_items,
)
from trainer.data.pickles import load_pickle
from trainer.errors import InputError


def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["1", "2"],
            "image_path": ["/a/1.jpg", "/b/2.png"],
            "label": ["tops", "évasée"],
            "split": ["train", "test"],
            "picture_sha256": ["00", "ff"],
            "picture_size": [7, 2**40],
            "picture_mtime_ns": [1_795_445_337_397_192_409, 2],
            SOURCE_PATH: ["/a/1.jpg", "/a/2.webp"],
            "colour": ["red", ""],
        }
    )


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    write_items(tmp_path / "run", items())
    pd.testing.assert_frame_equal(read_items(tmp_path / "run"), items())
    pd.testing.assert_frame_equal(load_pickle(tmp_path / "run" / ITEMS_PICKLE), items())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [ITEMS_FILE, ITEMS_PICKLE]


def test_attributes_are_what_has_no_other_name() -> None:
    assert attribute_columns(items()) == ["colour"]
    assert attribute_columns(items()[list(FIXED_COLUMNS)]) == []


def test_no_table_yet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none; run prepare"):
        read_items(tmp_path)


def test_a_torn_table(tmp_path: Path) -> None:
    write_items(tmp_path, items())
    path = tmp_path / ITEMS_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        read_items(tmp_path)


def test_a_table_of_something_else(tmp_path: Path) -> None:
    write_items(tmp_path, items().drop(columns=["label", "split"]))
    with pytest.raises(InputError, match="label, split not there; run prepare again"):
        read_items(tmp_path)
    write_items(tmp_path, items().assign(split="tset"))
    with pytest.raises(InputError, match=r"received \['tset'\]"):
        read_items(tmp_path)
