"""Sizes that pictures declare, against pictures that Pillow writes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from serving.server.errors import RequestError
from serving.server.picture_guard import check_pictures, pixels_of


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"\0" * 3000}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0abc"}),
    ],
)
def test_declared_sizes(form: str, options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (123, 77), "red").save(file, form, **options)
    content = file.getvalue()
    assert pixels_of(content) == 123 * 77
    for size in range(0, len(content), 7):
        assert pixels_of(content[:size]) in range(123 * 77 + 1)
    with pytest.raises(RequestError, match="picture 1 has 9471"):
        check_pictures([b"", content], 9470)
    check_pictures([content], 9471)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8", b"\xff\xd8" + b"\xff\xe0\0\0" * 9, b"RIFF1234WEBP", b"BM"]
)
def test_what_is_no_picture_has_no_size(content: bytes) -> None:
    assert pixels_of(content) == 0
