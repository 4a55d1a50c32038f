"""Every kind of picture is read as it is meant; every broken one says why it is not."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_of_all_kinds import RGB, Kind, encoded, kinds
from PIL import Image, ImageFile

from trainer.data.normalise import as_rgb
from trainer.data.pictures import COLOUR_BYTES, HASH_BYTES, PictureRecord, Rejection, check_picture
from trainer.errors import InputError

KINDS = kinds()
PNG = KINDS["png"].content
JPEG = KINDS["jpeg"].content
MAX_PIXELS = 100_000


def check(folder: Path, content: bytes, max_pixels: int = MAX_PIXELS) -> PictureRecord:
    path = folder / "picture"
    path.write_bytes(content)
    return check_picture(str(path), folder / "pictures", max_pixels)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_is_read_as_it_is_meant(tmp_path: Path, kind: Kind) -> None:
    record = check(tmp_path, kind.content)
    assert record.reason == ""
    assert record.kind == kind.converted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # here, where the test opens it, broken EXIF may be told of
        image = Image.open(record.image_path)
    with image:
        if kind.converted:
            assert Path(record.image_path).parent == tmp_path / "pictures"
            assert Path(record.image_path).name == f"{record.sha256}.png"
            assert (image.format, image.mode, set(image.info)) == ("PNG", "RGB", set())
            assert record.converted_size == Path(record.image_path).stat().st_size
        else:
            assert record.image_path == record.source_path
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == kind.pixels.shape
    assert np.abs(pixels - kind.pixels).max() <= kind.tolerance


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def flipped(content: bytes, place: int) -> bytes:
    broken = bytearray(content)
    broken[place] ^= 0xFF
    return bytes(broken)


BROKEN = {
    "empty": (b"", Rejection.EMPTY),
    "text": (b"<html>404</html>", Rejection.NOT_A_PICTURE),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Rejection.NOT_A_PICTURE),
    "postscript": (encoded(Image.fromarray(RGB), "EPS"), Rejection.NOT_A_PICTURE),
    "heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Rejection.NOT_A_PICTURE),
    "jpeg cut": (JPEG[: len(JPEG) // 2], Rejection.TRUNCATED),
    "jpeg without its end": (JPEG[:-2], Rejection.TRUNCATED),
    "jpeg's first bytes": (JPEG[:20], Rejection.BROKEN),
    "png cut": (PNG[: len(PNG) // 2], Rejection.TRUNCATED),
    "png damaged": (flipped(PNG, len(PNG) // 2), Rejection.BROKEN),
    "webp cut": (KINDS["webp"].content[:100], None),
    "gif cut": (KINDS["gif"].content[:-400], None),
    "tiff cut": (KINDS["tiff"].content[:-4000], None),
    "bmp cut": (KINDS["bmp"].content[:-100], Rejection.TRUNCATED),
    "no width": (png_of(0, 10), None),
    "bomb": (png_of(10_000, 10_000), Rejection.TOO_MANY_PIXELS),
    "bomb beyond pillow's limit": (png_of(60_000, 60_000), Rejection.TOO_MANY_PIXELS),
    "no pixels": (png_of(10, 10), None),
    "floating point": (encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), Rejection.UNSUPPORTED),
    "too long": (b"\xff\xd8\xff" + bytes(8 * MAX_PIXELS + 2**20), Rejection.TOO_MANY_BYTES),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_picture_says_why(tmp_path: Path, content: bytes, reason: Rejection | None) -> None:
    record = check(tmp_path, content)
    assert record.reason in (set(Rejection) if reason is None else {reason})
    assert not (tmp_path / "pictures").exists()
    assert (record.size, record.sha256, record.image_path) == (len(content), "", "")


def test_a_folder_a_gap_and_a_forbidden_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_picture(str(tmp_path), tmp_path, MAX_PIXELS).reason == Rejection.NOT_A_FILE
    assert check_picture(str(tmp_path / "none"), tmp_path, MAX_PIXELS).reason == Rejection.UNREADABLE
    assert check_picture("a\x00b", tmp_path, MAX_PIXELS).reason == Rejection.UNREADABLE
    path = tmp_path / "a.png"
    path.write_bytes(PNG)

    def refuse(*_: Any, **__: Any) -> Any:  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert check_picture(str(path), tmp_path, MAX_PIXELS).reason == Rejection.UNREADABLE


def test_a_large_picture_within_the_limit_is_read_without_pillows_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert check(tmp_path, PNG).reason == ""
    assert Image.MAX_IMAGE_PIXELS == 100


def test_torn_files_are_found_even_where_the_process_patches_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert check(tmp_path, BROKEN["jpeg cut"][0]).reason == Rejection.TRUNCATED
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_record_holds_what_later_steps_need(tmp_path: Path) -> None:
    record = check(tmp_path, JPEG)
    assert len(bytes.fromhex(record.phash)) == HASH_BYTES
    assert len(bytes.fromhex(record.colours)) == COLOUR_BYTES
    status = (tmp_path / "picture").stat()
    assert (record.size, record.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_the_hash_is_that_of_the_shown_picture(tmp_path: Path) -> None:
    shown = np.kron(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = check(tmp_path, encoded(Image.fromarray(shown), "JPEG"))
    turned = check(tmp_path, encoded(Image.fromarray(np.ascontiguousarray(np.rot90(shown))), "JPEG", exif=exif))
    assert turned.kind == "JPEG RGB rotated"
    difference = int.from_bytes(bytes.fromhex(upright.phash)) ^ int.from_bytes(bytes.fromhex(turned.phash))
    assert difference.bit_count() <= 6
    colours = [np.frombuffer(bytes.fromhex(record.colours), np.uint8).astype(int) for record in (upright, turned)]
    assert np.abs(colours[0] - colours[1]).max() <= 2


def test_a_copy_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(b"a file where the folder should be")
    with pytest.raises(InputError, match="cannot write"):
        check(tmp_path, KINDS["webp"].content)


def test_sixteen_bits_with_a_transparent_value() -> None:
    values = np.full((4, 4), 0x1234, np.uint16)
    values[0] = 500
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG", transparency=500)
    with Image.open(content) as image:
        image.load()
        shown = np.asarray(as_rgb(image))
    assert shown[0].min() == 255
    assert shown[1:].max() == 0x12


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    from trainer.data.picture_checks import find_pictures

    os.mkfifo(tmp_path / "pipe")
    found = find_pictures([str(tmp_path / "pipe"), str(tmp_path), str(tmp_path / "none"), "a\x00b", f"{__file__}/a"])
    assert found["missing"].tolist() == [False, False, True, False, True]
    assert found["reason"].tolist() == ["not_a_file", "not_a_file", "", "unreadable", ""]
