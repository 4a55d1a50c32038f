"""Pictures that are small files and huge pictures are refused before anybody decodes them."""

from __future__ import annotations

from collections.abc import Iterable

from serving.server.errors import RequestError

__all__ = ["check_pictures", "pixels_of"]

_SIZELESS = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_pictures(pictures: Iterable[bytes], max_pixels: int) -> None:
    """Refuses a picture whose header declares too many pixels; what is no picture is left to the model.

    TensorFlow would allocate up to 1.6 GB for a file of a few kilobytes.

    Args:
        pictures: contents of picture files.
        max_pixels: width times height at most.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    for place, content in enumerate(pictures):
        found = pixels_of(content)
        if found > max_pixels:
            raise RequestError.invalid(f"expected pictures of at most {max_pixels} pixels, picture {place} has {found}")


def pixels_of(content: bytes) -> int:
    """Width times height that a PNG, JPEG, GIF, BMP or WebP file declares; 0 for anything else."""
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big")
    if content[:2] == b"\xff\xd8":
        return _jpeg(content)
    if content[:4] == b"GIF8":
        return int.from_bytes(content[6:8], "little") * int.from_bytes(content[8:10], "little")
    if content[:2] == b"BM":
        width, height = (int.from_bytes(content[start : start + 4], "little", signed=True) for start in (18, 22))
        return abs(width * height)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    return 0


def _jpeg(content: bytes) -> int:
    """The frame that a marker declares before the picture's data."""
    place = 2
    while place + 9 <= len(content):
        if content[place] != 0xFF:
            return 0
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _SIZELESS:
            place += 2
        elif marker in _FRAMES:
            return int.from_bytes(content[place + 5 : place + 7], "big") * int.from_bytes(
                content[place + 7 : place + 9], "big"
            )
        elif marker == 0xDA:
            return 0
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return 0


def _webp(content: bytes) -> int:
    kind = content[12:16]
    if kind == b"VP8X":
        return (int.from_bytes(content[24:27], "little") + 1) * (int.from_bytes(content[27:30], "little") + 1)
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    width, height = (int.from_bytes(content[start : start + 2], "little") & 0x3FFF for start in (26, 28))
    return width * height
