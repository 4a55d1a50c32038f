"""Which pictures the page shows: those below its root, and nothing else of the machine."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from serving.commands.errors import CommandError
from serving.web.catalogue import Catalogue

HOSTILE = [
    "../secret",
    "../secret.jpg",
    "more/../../secret.jpg",
    "more/../more/deep.jpg",
    "%2e%2e/secret.jpg",
    "%252e%252e%252fsecret.jpg",
    "..%2fsecret.jpg",
    "..\\secret.jpg",
    "more\\deep.jpg",
    "link.jpg",
    "link",
    "folder/secret.jpg",
    "circle.jpg",
    "notes.txt",
    "item-1.png\0.jpg",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "~/secret.jpg",
    "",
    ".",
    "more",
    "x" * 5000,
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:30]))
@pytest.mark.parametrize("items", [True, False], ids=["items", "folder"])
def test_no_name_leads_out_of_the_root(shop: Path, name: str, items: bool) -> None:
    catalogue = Catalogue(shop / "pictures", shop / "items.parquet" if items else None)
    assert catalogue.picture(name) is None
    assert catalogue.picture(str(shop / name.lstrip("/"))[:4000]) is None


@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg",
        "%2e%2e/secret.jpg",
        "%2e%2e%2fsecret.jpg",
        "%252e%252e%252fsecret.jpg",
        "..%5csecret.jpg",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "link.jpg",
        "item-1%00.png",
        "%c0%ae%c0%ae/secret.jpg",
    ],
)
def test_no_address_leads_out_of_the_root(page: Any, path: str) -> None:
    for asked in (page(items=False), page()):
        assert asked.get(f"/pictures/{path}").status_code == 404
        assert asked.get(f"/static/{path}").status_code == 404
        answer = asked.post("/api/search", files={"item": (None, path)})
        assert answer.status_code == 404
        assert "/" not in answer.json()["error"]


def test_pictures_below_the_root_are_shown(page: Any, shop: Path) -> None:
    asked = page(items=False)
    for name in ("item-3", "item-3.png", "more/deep", "more%2fdeep.jpg"):
        answer = asked.get(f"/pictures/{name}")
        assert (answer.status_code, answer.headers["content-type"][:6]) == (200, "image/")
    assert asked.get("/pictures/item-3").content == (shop / "pictures/item-3.png").read_bytes()


def test_an_items_table_cannot_lead_out_of_the_root_either(shop: Path, tmp_path: Path) -> None:
    inside, outside = shop / "pictures/item-1.png", shop / "secret.jpg"
    rows = [
        {"id": "in", "image_path": str(inside)},
        {"id": "out", "image_path": str(outside)},
        {"id": "link", "image_path": str(shop / "pictures/link.jpg")},
        {"id": "up", "image_path": str(shop / "pictures/../secret.jpg")},
        {"id": "item-2", "image_path": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    catalogue = Catalogue(shop / "pictures", tmp_path / "items.parquet")
    assert catalogue.picture("in") == inside.resolve()
    assert [catalogue.picture(name) for name in ("out", "link", "up", "item-2")] == [None] * 4
    assert catalogue.examples(5) == ["in"]


def test_small_pictures_and_pictures_that_did_not_change(page: Any) -> None:
    asked = page()
    whole, small = asked.get("/pictures/item-1"), asked.get("/pictures/item-1?w=100")
    assert Image.open(io.BytesIO(whole.content)).size == (240, 240)
    assert Image.open(io.BytesIO(small.content)).size == (160, 160)
    assert asked.get("/pictures/item-1?w=300").content == whole.content
    again = asked.get("/pictures/item-1?w=100", headers={"if-none-match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert asked.get("/pictures/item-1?w=-1").status_code == 400


def test_examples_are_of_every_label_by_turns(shop: Path) -> None:
    catalogue = Catalogue(shop / "pictures", shop / "items.parquet")
    chosen = catalogue.examples(6)
    assert len(set(chosen)) == 6
    assert [catalogue.label(name, {}) for name in chosen] == ["Shirts", "Shoes", "Watches"] * 2
    assert all(int(name.partition("-")[2]) % 2 == 0 for name in chosen)  # of the test split
    assert catalogue.title(chosen[0], {}) == "Product number 0"
    assert catalogue.values("gender") == ["Men", "Unisex", "Women"]
    assert len(Catalogue(shop / "pictures").examples(4)) == 4


def test_what_is_no_shop_is_said(shop: Path) -> None:
    with pytest.raises(CommandError, match="folder of pictures"):
        Catalogue(shop / "secret.jpg")
    with pytest.raises(CommandError, match="cannot be read"):
        Catalogue(shop / "pictures", shop / "secret.jpg")
    with pytest.raises(CommandError, match="expected --title"):
        Catalogue(shop / "pictures", shop / "items.parquet", "name")
