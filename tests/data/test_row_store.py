"""Rows on disk: found again by key, whole after a crash, shared by processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.data.row_store import RowStore, row_key
from trainer.errors import InputError


def keys(*names: str) -> list[bytes]:
    return [row_key(name) for name in names]


def rows(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None] * np.ones(3, np.float32)


@pytest.fixture
def store(tmp_path: Path) -> RowStore:
    made = RowStore(tmp_path / "deep" / "store", (3,), np.float32)
    made.append(keys("a", "b"), rows(1, 2))
    return made


def reopened(store: RowStore) -> RowStore:
    return RowStore(store.folder, store.shape, store.dtype)


def read(store: RowStore, *names: str) -> list[float]:
    found = store.array[store.rows(keys(*names))]
    assert (found == found[:, :1]).all()
    return found[:, 0].tolist()


def test_rows_are_found_by_key_in_any_order_now_and_later(store: RowStore) -> None:
    store.append(keys("c"), rows(3))
    for one in (store, reopened(store)):
        assert len(one) == 3
        assert read(one, "c", "a", "b", "a") == [3, 1, 2, 1]
        assert one.array.dtype == np.float32
        assert not one.array.flags.writeable


def test_an_empty_store_has_an_empty_array(tmp_path: Path) -> None:
    store = RowStore(tmp_path, (4, 2), np.uint8)
    assert len(store) == 0
    assert store.array.shape == (0, 4, 2)
    assert store.array.dtype == np.uint8
    store.append([], np.empty((0, 4, 2), np.uint8))
    assert len(reopened(store)) == 0


def test_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
    store = RowStore(tmp_path, (4, 3, 3), np.uint8)
    store.append([row_key(str(i)) for i in range(5)], pictures)
    np.testing.assert_array_equal(reopened(store).array, pictures)


def test_missing_names_each_absent_key_once(store: RowStore) -> None:
    np.testing.assert_array_equal(store.missing(keys("x", "a", "x", "y", "b")), [0, 3])
    assert store.missing([]).dtype == np.int64


def test_keys_depend_on_every_part_and_where_it_ends() -> None:
    assert len({row_key("ab", "c"), row_key("a", "bc"), row_key("abc"), row_key("abc", "")}) == 4
    assert all(len(key) == 32 for key in keys("a", "ä"))


def test_a_key_given_twice_has_one_row_and_spoils_none(store: RowStore) -> None:
    store.append(keys("c", "c"), rows(3, 4))
    store.append(keys("d"), rows(5))
    for one in (store, reopened(store)):
        assert read(one, "a", "b", "c", "d") == [1, 2, 4, 5]


@pytest.mark.parametrize("tail", [b"", b"x" * 5, b"x" * 12, b"x" * 100])
def test_rows_without_keys_are_overwritten(tail: bytes, store: RowStore) -> None:
    with open(store.folder / "rows.bin", "ab") as file:
        file.write(tail)
    again = reopened(store)
    assert len(again) == 2
    again.append(keys("c"), rows(3))
    assert read(reopened(again), "a", "b", "c") == [1, 2, 3]
    assert (store.folder / "rows.bin").stat().st_size == 3 * 12


def test_half_a_key_does_not_count(store: RowStore) -> None:
    store.append(keys("c"), rows(3))
    os.truncate(store.folder / "keys.bin", 2 * 32 + 17)
    again = reopened(store)
    np.testing.assert_array_equal(again.missing(keys("a", "b", "c")), [2])
    again.append(keys("d"), rows(4))
    assert read(reopened(again), "a", "b", "d") == [1, 2, 4]
    assert (store.folder / "keys.bin").stat().st_size == 3 * 32


@pytest.mark.parametrize("left", [0, 12, 20])
def test_keys_without_rows_do_not_count(left: int, store: RowStore) -> None:
    os.truncate(store.folder / "rows.bin", left)
    again = reopened(store)
    assert len(again) == left // 12
    again.append(keys("c"), rows(3))
    assert read(reopened(again), "c") == [3]


def test_a_full_disk_leaves_what_was_there(store: RowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"^cannot write .*: No space left on device; free some space"):
        store.append(keys("c"), rows(3))
    monkeypatch.undo()
    for one in (store, reopened(store)):
        assert read(one, "a", "b") == [1, 2]
        assert len(one.missing(keys("c"))) == 1
    store.append(keys("d"), rows(4))
    assert read(reopened(store), "a", "b", "d") == [1, 2, 4]


@pytest.mark.parametrize(("shape", "dtype"), [((4,), np.float32), ((3,), np.uint8), ((3, 1), np.float32)])
def test_rows_of_another_kind_are_refused(shape: tuple[int, ...], dtype: Any, store: RowStore) -> None:
    with pytest.raises(InputError, match=r"expected rows \{.*\}, it holds \{.*\}; remove the folder"):
        RowStore(store.folder, shape, dtype)


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_spoilt_description_is_refused(content: str, store: RowStore) -> None:
    (store.folder / "store.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="remove the folder"):
        reopened(store)


def test_rows_of_the_wrong_shape_are_our_fault(store: RowStore) -> None:
    with pytest.raises(ValueError, match=r"expected rows of shape \(1, 3\), received \(2, 3\)"):
        store.append(keys("c"), rows(1, 2))
    assert len(reopened(store)) == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"):
        RowStore(tmp_path / "file" / "store", (3,), np.float32)


WRITER = """
import sys
import numpy as np
from trainer.data.row_store import RowStore, row_key
store = RowStore(sys.argv[1], (3,), np.float32)
keys = [row_key(str(i)) for i in range(40)]
sys.stdin.readline()
for start in range(0, 40, 4):
    with store.lock():
        for place in store.missing(keys[start : start + 4]):
            store.append([keys[start + place]], np.full((1, 3), start + place, np.float32))
"""


def test_two_processes_fill_one_store(tmp_path: Path) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    store = RowStore(tmp_path, (3,), np.float32)
    assert len(store) == 40
    assert read(store, *map(str, range(40))) == list(range(40))


def test_a_store_sees_what_another_has_added(store: RowStore) -> None:
    other = reopened(store)
    other.append(keys("c"), rows(3))
    assert len(store.missing(keys("a", "c"))) == 0
    store.append(keys("d"), rows(4))
    assert read(store, "a", "b", "c", "d") == [1, 2, 3, 4]
