"""Draws a picture of the Lens page as a shopper sees it, for documents.

    python -m serving web --pictures PICTURES --items ITEMS &
    python -m serving.web.screenshot --photo photo.jpg --crop 0.2,0.1,0.6,0.5 --out docs/lens.png

Needs playwright, of the extra `[dev]`, and a Chromium; nothing else of the page does.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any

__all__ = ["browser_program", "draw", "main"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 20
COLOURS = 256
CARD = ".card:not(.blank) img"


def browser_program() -> str | None:
    """The path of an installed Chromium; None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def draw(options: argparse.Namespace) -> None:
    """Opens the page, searches, and writes a PNG.

    Args:
        options: as `main` parses them.

    Raises:
        FileNotFoundError: no browser is installed.
    """
    from PIL import Image
    from playwright.sync_api import sync_playwright

    program = browser_program()
    if program is None:
        raise FileNotFoundError(f"expected a browser, none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view: Any = {"width": options.width, "height": options.height}
        page = browser.new_page(viewport=view, color_scheme="dark" if options.dark else "light")
        page.set_default_timeout(1000 * SECONDS)
        page.goto(options.url)
        page.wait_for_selector(".column", state="attached")
        if options.photo is not None:
            page.set_input_files("#file", str(options.photo))
            page.wait_for_selector(CARD)
        if options.crop is not None:
            _drag(page, options.crop)
        if options.text:
            page.fill("#text", options.text)
        page.wait_for_timeout(400)  # the pause after which the page asks
        page.wait_for_selector(".column[aria-busy=true]", state="detached")
        page.wait_for_load_state("networkidle")
        page.mouse.move(0, 0)
        content = page.screenshot()
        browser.close()
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").quantize(COLOURS).save(options.out, "PNG", optimize=True)  # a third of its size


def _drag(page: Any, crop: tuple[float, ...]) -> None:
    """Draws a region with the mouse."""
    left, top, width, height = crop
    box = page.locator("#stage").bounding_box()
    across = [box["x"] + box["width"] * part for part in (left, left + width)]
    down = [box["y"] + box["height"] * part for part in (top, top + height)]
    page.mouse.move(across[0], down[0])
    page.mouse.down()
    page.mouse.move(across[1], down[1], steps=5)
    page.mouse.up()
    page.evaluate("document.activeElement.blur()")


def _crop(text: str) -> tuple[float, ...]:
    from serving.web.errors import PageError
    from serving.web.photos import Crop

    try:
        crop = Crop.parse(text)
    except PageError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.advice}") from error
    return crop.x, crop.y, crop.width, crop.height


def main() -> int:
    """Runs the command; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.web.screenshot", description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8600/", help="of the page (default http://127.0.0.1:8600/)")
    parser.add_argument("--photo", type=Path, metavar="FILE", help="what to search with (default: nothing)")
    parser.add_argument("--crop", type=_crop, metavar="X,Y,W,H", help="region of the photo, in fractions")
    parser.add_argument("--text", default="", metavar="WORDS", help="words to search with")
    parser.add_argument("--width", type=int, default=1440, help="in pixels (default 1440)")
    parser.add_argument("--height", type=int, default=900, help="in pixels (default 900)")
    parser.add_argument("--dark", action="store_true", help="in dark mode")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="file to write")
    options = parser.parse_args()
    try:
        draw(options)
    except (ImportError, OSError) as error:
        print(f"error: {error}; pip install 'shoppin[dev]', and install Chromium", file=sys.stderr)
        return 2
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
