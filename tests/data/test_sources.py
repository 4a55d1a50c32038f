"""What each kind of catalogue yields, and what it says when it cannot."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainer.config import DataConfig
from trainer.data.candidates import Candidates, as_text, clean_rows
from trainer.data.sources import READERS, read_source
from trainer.errors import InputError

HEADER = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"
SHIRT = "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,A navy shirt"


def fashion(root: Path, *lines: str, **settings: Any) -> Candidates:
    (root / "styles.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return read_source(DataConfig(source="fashion_products", root=str(root), **settings), root)


def table(root: Path, content: str | bytes, name: str = "items.csv", **settings: Any) -> Candidates:
    path = root / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = DataConfig.model_validate({"source": "csv", "root": str(root), "csv": {"file": name, **settings}})
    return read_source(data, root)


def test_every_source_of_the_configuration_has_a_reader() -> None:
    assert set(READERS) == set(DataConfig.model_fields["source"].annotation.__args__)  # type: ignore[union-attr]


def test_fashion_products_rows(tmp_path: Path) -> None:
    rows = fashion(tmp_path, SHIRT).rows
    columns = "id image_path label split gender masterCategory subCategory baseColour season year usage"
    assert rows.columns.tolist() == [*columns.split(), "productDisplayName"]
    row = rows.iloc[0]
    assert (row["id"], row["label"], row["split"]) == ("1", "Shirts", "")
    assert row["image_path"] == str(tmp_path / "images" / "1.jpg")


def test_another_label_and_folder(tmp_path: Path) -> None:
    row = fashion(tmp_path, SHIRT, label="gender", images="small").rows.iloc[0]
    assert (row["label"], row["articleType"]) == ("Men", "Shirts")
    assert row["image_path"] == str(tmp_path / "small" / "1.jpg")


def test_commas_in_the_last_column_are_mended_and_other_lines_named(tmp_path: Path) -> None:
    candidates = fashion(
        tmp_path,
        SHIRT,
        "2,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Blue, white, and red",
        '3,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,"Quoted, as it should be"',
        "4,Men,Apparel,Topwear,Shirts,Blue,Fall",
        '5,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,A stray " mark',
        '6,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,"Never closed',
        "",
        "7,Men,Apparel,Topwear,Shirts,Navy, Blue,Fall,2011,Casual,A comma elsewhere",
        "8,Men,Apparel,Topwear,Shirts,Blue,Fall,,Casual,No year, but a comma",
    )
    titles = dict(zip(candidates.rows["id"], candidates.rows["productDisplayName"], strict=True))
    assert titles == {
        "1": "A navy shirt",
        "2": "Blue, white, and red",
        "3": "Quoted, as it should be",
        "5": 'A stray " mark',
        "6": "Never closed",
        "8": "No year, but a comma",
    }
    assert candidates.mended == (3, 10)
    assert candidates.malformed == (5, 9)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_utf8_with_and_without_a_mark(tmp_path: Path, start: bytes) -> None:
    rows = table(tmp_path, start + "id,image_path,label\r\n1,a.jpg,Jupe évasée\r\n".encode()).rows
    assert rows.loc[0, ["id", "label"]].tolist() == ["1", "Jupe évasée"]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected UTF-8 text in .*items\.csv, received byte 0xe9.*iconv"):
        table(tmp_path, "id,image_path,label\n1,a.jpg,évasée\n".encode("latin1"))


def test_csv_columns_by_name(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        "sku;file;type;set;label;price\na;one.jpg;Shirts;train;x; \nb;/abs/two.jpg;Tops;test;y;3\n",
        id="sku",
        image_path="file",
        label="type",
        split="set",
        separator=";",
    ).rows
    assert rows.columns.tolist() == ["id", "image_path", "label", "split", "source_label", "price"]
    assert rows["image_path"].tolist() == [str(tmp_path / "one.jpg"), "/abs/two.jpg"]
    assert rows["split"].tolist() == ["train", "test"]
    assert clean_rows(rows)[0]["price"].tolist() == ["", "3"]


def test_csv_chosen_attributes_and_no_id(tmp_path: Path) -> None:
    content = "image_path,label,colour,price\na.jpg,Shirts,red,3\n"
    rows = table(tmp_path, content, id=None, attributes=["colour"]).rows
    assert rows.columns.tolist() == ["id", "image_path", "label", "split", "colour"]
    assert rows["id"].tolist() == ["a.jpg"]


def test_csv_quoted_lines_breaks_and_malformed_lines(tmp_path: Path) -> None:
    candidates = table(
        tmp_path, 'id,image_path,label\n1,a.jpg,"Long\nname"\n2,b.jpg\n3,c.jpg,Tops,more\n4,d.jpg,Tops\n'
    )
    assert candidates.rows["label"].tolist() == ["Long\nname", "Tops"]
    assert candidates.malformed == (4, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image_path": "imagepath"},
            "data.csv.image_path: .* there are id, image_path, label; the nearest is 'image_path'",
        ),
        ({"label": "lable"}, "data.csv.label: .* the nearest is 'label'"),
        ({"attributes": ["colour"]}, "data.csv.attributes: .*'colour'"),
        ({"split": "set"}, "data.csv.split: .*'set'"),
        ({"separator": ";"}, "data.csv.id: .* there are id,image_path,label"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(tmp_path, "id,image_path,label\n1,a.jpg,Tops\n", **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header line"),
        ("id,label,label\n", "'label' twice"),
        ("id,image_path,label\n" + "x" * 200_000, "field larger than"),
    ],
)
def test_unusable_tables(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(tmp_path, content)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a readable table at .*styles\.csv: No such file"):
        read_source(DataConfig(source="fashion_products", root=str(tmp_path)), tmp_path)


def test_a_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    assert "" not in table(tmp_path, ",id,image_path,label\n0,1,a.jpg,Tops\n").rows.columns


@pytest.mark.parametrize("name", ["items.pkl", "items.parquet"])
def test_tables_of_other_kinds(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {"id": [7.0, 8.0], "image_path": ["a.jpg", None], "label": ["Tops ", "Tops"], "price": [1.5, None]}
    )
    frame.to_pickle(tmp_path / name) if name.endswith("pkl") else frame.to_parquet(tmp_path / name)
    rows = table(tmp_path, (tmp_path / name).read_bytes(), name).rows
    assert rows["id"].tolist() == ["7", "8"]
    assert rows["image_path"].tolist() == [str(tmp_path / "a.jpg"), ""]
    assert rows["label"].tolist() == ["Tops", "Tops"]
    assert rows["price"].tolist() == ["1.5", ""]


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/mark",)

    with pytest.raises(InputError, match="refused"):
        table(tmp_path, pickle.dumps(Hostile()), "items.pkl")
    assert not (tmp_path / "mark").exists()


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="received tuple"):
        table(tmp_path, pickle.dumps((1, 2)), "items.pkl")


def test_values_as_text() -> None:
    assert as_text(pd.Series([1.0, None, 3.0])).tolist() == ["1", "", "3"]
    assert as_text(pd.Series([1.0, 2.5])).tolist() == ["1.0", "2.5"]
    assert as_text(pd.Series([" a ", None, float("nan"), 4, True], dtype=object)).tolist() == ["a", "", "", "4", "True"]


def test_cleaning_counts_what_it_drops() -> None:
    rows = pd.DataFrame(
        {
            "id": ["1", " ", "1", "2", "3", " 3 "],
            "image_path": list("abcdef"),
            "label": ["Tops", "Tops", "Shirts", "", " Tops ", "Shirts"],
            "split": "",
            "colour": ["  ", "", "", "", "red", ""],
        }
    )
    kept, counts = clean_rows(rows)
    assert counts == {"empty_ids": 1, "duplicate_ids": 2, "empty_labels": 1}
    assert kept["image_path"].tolist() == ["a", "e"]
    assert kept["label"].tolist() == ["Tops", "Tops"]
    assert kept["colour"].tolist() == ["", "red"]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def read_folder(root: Path) -> Candidates:
    return read_source(DataConfig(source="folder", root=str(root)), root)


def test_one_folder_per_class(tmp_path: Path) -> None:
    for name in (
        "tops/b.jpg",
        "tops/deep/a.PNG",
        "shirts/a.webp",
        "shirts/.hidden.jpg",
        "shirts/notes.txt",
        ".git/x.jpg",
    ):
        picture(tmp_path / name)
    picture(tmp_path / "loose.jpg")
    candidates = read_folder(tmp_path)
    assert candidates.rows["id"].tolist() == ["shirts/a.webp", "tops/b.jpg", "tops/deep/a.PNG"]
    assert candidates.rows["label"].tolist() == ["shirts", "tops", "tops"]
    assert candidates.rows["split"].tolist() == ["", "", ""]
    assert candidates.rows["image_path"].tolist()[0] == str(tmp_path / "shirts" / "a.webp")
    assert candidates.ignored_files == 1


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_folders_of_splits(tmp_path: Path, validation: str) -> None:
    for split in ("train", validation, "test"):
        picture(tmp_path / split / "tops" / "a.jpg")
    rows = read_folder(tmp_path).rows
    assert dict(zip(rows["id"], rows["split"], strict=True)) == {
        "train/tops/a.jpg": "train",
        f"{validation}/tops/a.jpg": "validation",
        "test/tops/a.jpg": "test",
    }
    assert set(rows["label"]) == {"tops"}


def test_folders_of_both_kinds_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "tops" / "a.jpg")
    picture(tmp_path / "shirts" / "a.jpg")
    with pytest.raises(InputError, match="received both"):
        read_folder(tmp_path)


def test_folders_without_pictures_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no pictures"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="expected a folder at"):
        read_folder(tmp_path / "none")


def test_file_names_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "tops" / "a.jpg")
    try:
        Path(os.fsdecode(bytes(tmp_path / "tops") + b"/\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    candidates = read_folder(tmp_path)
    assert candidates.rows["id"].tolist() == ["tops/a.jpg"]
    assert candidates.ignored_files == 1


def test_the_demo_catalogue_is_drawn_and_read(tmp_path: Path) -> None:
    data = DataConfig.model_validate(
        {"source": "demo", "workers": 1, "demo": {"items_per_type": 2, "image_size": 32, "seed": 3}}
    )
    rows = read_source(data, tmp_path).rows
    assert {"gender", "colour", "pattern", "title"} <= set(rows.columns)
    assert rows["label"].value_counts().unique().tolist() == [2]
    assert all(Path(path).is_file() for path in rows["image_path"])
    assert Path(rows["image_path"][0]).is_relative_to(tmp_path / "catalogue")
