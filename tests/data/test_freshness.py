"""Pictures that changed after `prepare` are seen to have changed."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pandas as pd
import pytest

from trainer.data.freshness import with_true_hashes
from trainer.data.items import (
    ID,
    IMAGE_PATH,
    LABEL,
    PICTURE_MTIME_NS,
    PICTURE_SHA256,
    PICTURE_SIZE,
    SOURCE_PATH,
    SPLIT,
)
from trainer.errors import InputError


@pytest.fixture
def items(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for number in range(4):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes([number]) * 10)
        facts = path.stat()
        rows.append(
            {
                ID: str(number),
                IMAGE_PATH: str(path),
                LABEL: "a",
                SPLIT: "train",
                PICTURE_SHA256: hashlib.sha256(path.read_bytes()).hexdigest(),
                PICTURE_SIZE: facts.st_size,
                PICTURE_MTIME_NS: facts.st_mtime_ns,
                SOURCE_PATH: str(path),
            }
        )
    return pd.DataFrame(rows, index=[5, 3, 8, 1])


def test_unchanged_pictures_are_not_even_opened(items: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("opened a picture"))
    assert with_true_hashes(items) is items


@pytest.mark.parametrize("content", [b"x" * 10, b"longer than before"])
def test_a_changed_picture_is_hashed_again(
    content: bytes, items: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    changed = Path(items.loc[8, IMAGE_PATH])
    changed.write_bytes(content)
    os.utime(changed, ns=(0, items.loc[8, PICTURE_MTIME_NS] + (len(content) == 10)))
    before = items.copy()
    with caplog.at_level(logging.WARNING):
        found = with_true_hashes(items)
    assert "1 pictures have changed since prepare" in caplog.text
    assert found.loc[8, PICTURE_SHA256] == hashlib.sha256(content).hexdigest()
    assert found.drop(index=8).equals(before.drop(index=8))
    assert found.drop(columns=PICTURE_SHA256).equals(before.drop(columns=PICTURE_SHA256))
    assert items.equals(before)


def test_a_touched_picture_keeps_its_hash(items: pd.DataFrame) -> None:
    os.utime(items.loc[5, IMAGE_PATH], ns=(0, 0))
    assert with_true_hashes(items).equals(items)


def test_a_picture_that_is_gone_is_named(items: pd.DataFrame) -> None:
    Path(items.loc[3, IMAGE_PATH]).unlink()
    with pytest.raises(InputError, match=r"1\.jpg was there when prepare ran .*run prepare again"):
        with_true_hashes(items)


def test_a_picture_that_was_converted_is_judged_by_its_source(items: pd.DataFrame, tmp_path: Path) -> None:
    converted = tmp_path / "converted.png"
    converted.write_bytes(b"anything")
    items.loc[8, IMAGE_PATH] = str(converted)
    assert with_true_hashes(items) is items
    Path(items.loc[8, SOURCE_PATH]).write_bytes(b"another picture")
    with pytest.raises(InputError, match="has changed since prepare converted it; run prepare again"):
        with_true_hashes(items)


def test_a_table_without_sources_is_judged_by_its_pictures(items: pd.DataFrame) -> None:
    without = items.drop(columns=SOURCE_PATH)
    assert with_true_hashes(without) is without
    Path(without.loc[1, IMAGE_PATH]).write_bytes(b"another picture")
    assert with_true_hashes(without).loc[1, PICTURE_SHA256] != items.loc[1, PICTURE_SHA256]
