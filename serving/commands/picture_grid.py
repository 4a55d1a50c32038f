"""Photos or words, and their matches, as one picture. Needs Pillow."""

from __future__ import annotations

import io
import os
import tempfile
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.commands.errors import CommandError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Tile", "check_can_draw", "draw_grid"]

SIDE, MARGIN, LINE = 160, 8, 15
LETTERS, LINES = 24, 10  # of words in a tile
MOST_TILES = 1000
PAPER, INK, FRAME, NOTHING = "#ffffff", "#202020", "#1a6fb4", "#e4e4e4"


@dataclass(frozen=True)
class Tile:
    """A picture, or words in its place, with two lines below it.

    Attributes:
        picture: its bytes or path; None for none.
        title: the first line.
        note: the second.
        framed: whether it stands out.
        words: shown where the picture would be; empty for none.
    """

    picture: bytes | Path | None
    title: str
    note: str
    framed: bool = False
    words: str = ""


def check_can_draw(out: Path, tiles: int) -> None:
    """Refuses what `draw_grid` could not do.

    Raises:
        CommandError: Pillow is missing, the file's ending or folder is not one that it can write to, or there are too
            many tiles.
    """
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise CommandError(
            "expected Pillow to draw --show, it is missing; pip install 'shoppin[show]', or leave --show out"
        ) from error
    if _format(out) not in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        raise CommandError(f"expected --show with a picture's name, such as out.png; received {out}")
    if not out.parent.is_dir():
        raise CommandError(f"expected --show in a folder that exists, received {out}; make {out.parent} first")
    if tiles > MOST_TILES:
        raise CommandError(f"expected at most {MOST_TILES} pictures with --show, received {tiles}; show fewer")


def draw_grid(rows: Sequence[Sequence[Tile]], out: Path) -> None:
    """Draws a row of tiles after the other, and writes the picture in one step.

    A tile whose picture is missing or cannot be read is drawn grey.

    Args:
        rows: of tiles; they may differ in length.
        out: file to write; its ending says how.

    Raises:
        CommandError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    width, height = SIDE + 2 * MARGIN, SIDE + 2 * MARGIN + 2 * LINE
    canvas = Image.new("RGB", (width * max((len(row) for row in rows), default=1), height * max(len(rows), 1)), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(12)
    for line, row in enumerate(rows):
        for place, tile in enumerate(row):
            left, top = place * width + MARGIN, line * height + MARGIN
            picture = _thumbnail(tile.picture)
            if tile.words:
                shown = textwrap.wrap(tile.words, LETTERS, max_lines=LINES, placeholder=" …")
                for number, text in enumerate(shown):
                    draw.text((left + 6, top + 4 + number * LINE), _fitted(text, font), fill=INK, font=font)
            elif picture is None:
                draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=NOTHING)
                draw.text((left + 46, top + SIDE // 2 - 8), "no picture", fill=INK, font=font)
            else:
                canvas.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
            if tile.framed:
                draw.rectangle((left - 3, top - 3, left + SIDE + 2, top + SIDE + 2), outline=FRAME, width=3)
            for number, text in enumerate((tile.title, tile.note)):
                draw.text((left, top + SIDE + 4 + number * LINE), _fitted(text, font), fill=INK, font=font)
    _write(canvas, out)


def _thumbnail(picture: bytes | Path | None) -> Image | None:
    from PIL import Image, ImageOps

    if picture is None:
        return None
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened,
        ):
            opened.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is read at a fraction of its size
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    fitted = ImageOps.contain(upright, (SIDE, SIDE))
    plain = Image.new("RGB", fitted.size, PAPER)
    plain.paste(fitted, mask=fitted.getchannel("A"))
    return plain


def _fitted(text: str, font: Any) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:100])
    if font.getlength(shown) <= SIDE:
        return shown
    while shown and font.getlength(shown + "…") > SIDE:
        shown = shown[:-1]
    return shown + "…"


def _write(canvas: Image, out: Path) -> None:
    aside = ""
    try:
        handle, aside = tempfile.mkstemp(dir=out.parent, prefix=f".{out.stem}-", suffix=out.suffix.lower())
        with os.fdopen(handle, "wb") as stream:
            canvas.save(stream, _format(out))
        os.chmod(aside, 0o644)
        os.replace(aside, out)
    except OSError as error:
        if aside and os.path.exists(aside):
            os.unlink(aside)
        raise CommandError(f"expected to write {out}: {error.strerror or error}; give another place") from error


def _format(out: Path) -> str | None:
    """Pillow's name of the format that a file's ending means."""
    from PIL import Image

    return Image.registered_extensions().get(out.suffix.lower())
