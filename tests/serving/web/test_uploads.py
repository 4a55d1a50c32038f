"""What the page takes: photos under limits, in memory; and regions of them."""

from __future__ import annotations

import io
import os
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from drawn_pictures import encoded, quarters
from PIL import Image

from serving.web.application import PageSettings
from serving.web.errors import PageError
from serving.web.photos import Crop, check_photo, cropped

ANY = 10**8
RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def search(page: Any, photo: bytes | None = None, **fields: str) -> Any:
    files: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
    if photo is not None:
        files["image"] = ("photo", photo)
    return page.post("/api/search", files=files)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares so many pixels."""
    body = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    header = b"IHDR" + body
    checked = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    tail = (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + checked + tail


def test_a_photo_goes_on_as_it_is(page: Any, stub: Any) -> None:
    content = encoded(quarters(), "JPEG")
    answer = search(page(), content, k="3").json()
    assert stub.asked == [{"k": 3, "image": content, "filters": None, "text": None}]
    assert [match["id"] for match in answer["matches"]] == ["item-0", "item-1", "item-2"]
    first = answer["matches"][0]
    assert first["title"] == "Product number 0"
    assert (first["label"], first["picture"]) == ("Shirts", "pictures/item-0")
    assert first["attributes"] == {"gender": "Women", "colour": "Black"}
    assert (answer["model"], answer["version"]) == ("fused_search", 7)
    assert answer["ms"].keys() == {"read", "crop", "ask", "total"}


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("corner", "colour"),
    [((0, 0), RED), ((0.5, 0), GREEN), ((0, 0.5), BLUE), ((0.5, 0.5), WHITE)],
    ids=["red", "green", "blue", "white"],
)
def test_a_region_is_of_the_upright_picture(turn: int, corner: tuple[float, float], colour: list[int]) -> None:
    stored = np.rot90(quarters(), {1: 0, 3: 2, 6: 1, 8: 3}[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    content = encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    region = cropped(content, Crop(*corner, 0.5, 0.5), ANY)
    assert Image.open(io.BytesIO(region)).format == "JPEG"
    assert pixels_of(region).shape == (20, 30, 3)
    assert np.abs(pixels_of(region)[5:-5, 5:-5].astype(int) - colour).max() < 12


def test_a_region_without_loss_on_white() -> None:
    clear = np.dstack([quarters(), np.full((40, 60), 255, np.uint8)])
    clear[:, :6, 3] = 0
    region = pixels_of(cropped(encoded(clear), Crop(0.05, 0, 0.1, 0.25), ANY))
    assert region.shape == (10, 6, 3)
    assert region[:, :3].tolist() == [[WHITE] * 3] * 10
    assert region[:, 3:].tolist() == [[RED] * 3] * 10


def test_a_region_of_a_large_photo_keeps_its_place() -> None:
    large = encoded(quarters(1600, 2400), "JPEG", quality=95)
    region = pixels_of(cropped(large, Crop(0.25, 0.25, 0.5, 0.5), ANY))
    height, width, _ = region.shape
    assert (width, height) in {(1200, 800), (600, 400)} or width >= 1024
    assert np.abs(region[height // 4, width // 4].astype(int) - RED).max() < 12
    assert np.abs(region[-height // 4, -width // 4].astype(int) - WHITE).max() < 12


@pytest.mark.parametrize("width", [1, 7, 100])
@pytest.mark.parametrize("crop", [Crop(0, 0, 1, 1), Crop(0.999999, 0.999999, 1e-6, 1e-6), Crop(1, 1, 1e-7, 1e-7)])
def test_a_region_has_a_pixel_inside_the_picture(width: int, crop: Crop) -> None:
    left, top, right, bottom = crop.box(width, 3)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= 3


@pytest.mark.parametrize(
    "text", ["", "0,0,1", "0,0,1,1,1", "a,0,1,1", "nan,0,1,1", "0,0,inf,1", "-0.1,0,1,1", "0.5,0,0.6,1", "0,0,0,1"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(PageError) as caught:
        Crop.parse(text)
    assert caught.value.status == 400


def test_a_region_is_what_is_asked_with(page: Any, stub: Any) -> None:
    answer = search(page(), encoded(quarters()), crop="0,0.5,0.5,0.5")
    assert answer.status_code == 200
    assert pixels_of(stub.asked[0]["image"]).tolist() == [[BLUE] * 30] * 20


@pytest.mark.parametrize(
    ("photo", "status", "told"),
    [
        (b"", 415, "not a picture"),
        (b"plain text", 415, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture"),
        (b"\xff\xd8\xff nothing more", 415, "not a picture"),
        (b"%PDF-1.7", 415, "not a picture"),
        (bomb(40_000, 40_000), 413, "too large"),
        (bomb(2**31 - 1, 2**31 - 1), 413, "too large"),
        (bomb(1000, 1001), 413, "too large"),
    ],
    ids=["empty", "text", "svg", "start", "pdf", "bomb", "huge", "over"],
)
@pytest.mark.parametrize("crop", ["", "0,0,0.5,0.5"])
def test_what_is_no_photo_is_refused(page: Any, stub: Any, photo: bytes, status: int, told: str, crop: str) -> None:
    answer = search(page(settings=PageSettings(max_pixels=10**6)), photo, crop=crop)
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert stub.asked == []


def test_a_damaged_photo_is_refused_when_it_is_decoded() -> None:
    whole = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    damaged = whole[: len(whole) // 2]
    check_photo(damaged, ANY)
    with pytest.raises(PageError) as caught:
        cropped(damaged, Crop(0, 0, 0.5, 0.5), ANY)
    assert caught.value.status == 415


@pytest.mark.parametrize("streamed", [False, True])
def test_too_many_bytes_are_refused(page: Any, stub: Any, streamed: bool) -> None:
    asked = page(settings=PageSettings(max_bytes=1000))
    photo = encoded(quarters()) + bytes(1001)
    assert search(asked, photo).status_code == 413
    form = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' + bytes(10**6)
    content: Any = (form[at : at + 5000] for at in range(0, len(form), 5000)) if streamed else form
    answer = asked.post("/api/search", content=content, headers={"content-type": "multipart/form-data; boundary=b"})
    assert (answer.status_code, answer.json()["error"][:27]) == (413, "The photo is too large: mor")
    assert stub.asked == []


def test_nothing_is_written(page: Any) -> None:
    asked = page()
    photo = encoded(quarters()) + bytes(5 * 2**20)
    search(asked, photo)  # what is imported is imported
    written: list[Any] = []
    watching = [True]

    def watch(event: str, given: Any) -> None:
        if watching[0] and event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR):
            written.append(given[0])

    sys.addaudithook(watch)
    answers = [search(asked, photo), search(asked, photo, crop="0,0,0.5,0.5")]
    watching[0] = False
    assert [answer.status_code for answer in answers] == [200, 200]
    assert written == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "nothing to search for"),
        ({"text": "  "}, "nothing to search for"),
        ({"text": "x", "k": "many"}, "cannot be read"),
        ({"text": "x", "weight": "heavy"}, "cannot be read"),
        ({"text": "x", "filters": "["}, "cannot be read"),
        ({"text": "x", "filters": "[" * 60_000}, "cannot be read"),
        ({"text": "x", "filters": '{"gender": "Women"}'}, "cannot be read"),
        ({"text": "x", "colour": "red"}, "no field colour"),
        ({"text": "x", "crop": "1,1,1,1"}, "not inside"),
        ({"text": "x", "model": "other"}, "no model other"),
        ({"text": "x", "model": "fused:"}, "no model"),
        ({"text": "x" * 70_000}, "cannot be read"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_no_search_is_refused(page: Any, stub: Any, fields: dict[str, str], told: str) -> None:
    asked = page()
    answer = search(asked, **fields) if fields else asked.post("/api/search", files={"k": (None, "1")})
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert stub.asked == []


def test_two_pictures_or_no_form_are_refused(page: Any, stub: Any) -> None:
    asked, photo = page(), encoded(quarters())
    assert search(asked, photo, item="item-1").status_code == 400
    several = [("image", ("a", photo)), ("image", ("b", photo))]
    assert asked.post("/api/search", files=several).status_code == 400
    assert asked.post("/api/search", json={"text": "x"}).status_code == 400
    assert asked.post("/api/search", content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert stub.asked == []
