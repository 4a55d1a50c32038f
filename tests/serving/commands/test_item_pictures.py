"""Where the pictures of items are found."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.commands.errors import CommandError
from serving.commands.item_pictures import pictures_in_folder, pictures_in_items


def test_a_folder_is_searched_by_name_and_by_path(tmp_path: Path) -> None:
    for name in ("a.jpg", "deep/a.png", "deep/er/b.JPEG", "deep/b.png", "c.txt", "shoes/9.png", "d.tar.gif"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "secret.png").touch()
    root = tmp_path / "root"
    wanted = {"a", "b", "c", "shoes/9.png", "shoes/9", "d.tar", "../secret", str(tmp_path / "secret.png"), "none"}
    assert pictures_in_folder(root, wanted) == {
        "a": root / "a.jpg",
        "b": root / "deep/b.png",
        "shoes/9.png": root / "shoes/9.png",
        "shoes/9": root / "shoes/9.png",
        "d.tar": root / "d.tar.gif",
    }


def test_an_items_table_names_them(tmp_path: Path) -> None:
    items = tmp_path / "items.parquet"
    columns = {"id": ["a", "b", "c"], "image_path": ["/far/a.jpg", "near/b.jpg", None], "label": ["x", "y", "z"]}
    pq.write_table(pa.table(columns), items)
    assert pictures_in_items(items, {"a", "b", "c", "d"}) == {"a": Path("/far/a.jpg"), "b": tmp_path / "near/b.jpg"}
    assert pictures_in_items(items, set()) == {}


def test_tables_that_are_none(tmp_path: Path) -> None:
    items = tmp_path / "items.parquet"
    items.write_text("no parquet")
    with pytest.raises(CommandError, match="with columns id and image_path"):
        pictures_in_items(items, {"a"})
    pq.write_table(pa.table({"id": ["a"], "path": ["x"]}), items)
    with pytest.raises(CommandError, match="with columns id and image_path"):
        pictures_in_items(items, {"a"})
