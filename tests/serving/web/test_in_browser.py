"""The page as a shopper has it: in a browser, against the embedded server, without a network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pictures import encoded

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
CARDS = ".column:first-child .card:not(.blank)"


class Shopper:
    """Somebody before the page, with what went wrong on it and what it asked the network for."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.page = context.new_page()
        self.page.set_default_timeout(8000)
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#examples li")

    def photo(self, seed: int = 1000, content: bytes | None = None) -> None:
        """Chooses a file."""
        pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8).repeat(40, 0).repeat(40, 1)
        file = {"name": "photo.png", "mimeType": "image/png", "buffer": content or encoded(pixels)}
        self.page.set_input_files("#file", files=[file])

    def found(self) -> list[str]:
        """Titles of the matches."""
        return [str(each) for each in self.page.locator(f"{CARDS} .title").all_text_contents()]

    def changed(self, before: list[str]) -> list[str]:
        """Waits for other matches than before, and until every column is still."""
        ends = time.monotonic() + 8
        # not wait_for_function, which evaluates a string again and again: the page's policy forbids that
        while self.page.locator(".column:not([aria-busy=false])").count() or self.found() in ([], before):
            assert time.monotonic() < ends, f"still {before}"
            self.page.wait_for_timeout(15)
        return self.found()


@pytest.fixture
def shopper(browser: Any, address: str) -> Iterator[Shopper]:
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    somebody = Shopper(context, address)
    yield somebody
    foreign = [url for url in somebody.requests if not url.startswith((address, "blob:", "data:"))]
    context.close()
    assert somebody.faults == []
    assert foreign == []


def test_a_photo_finds_products_and_a_region_others(shopper: Shopper) -> None:
    page = shopper.page
    assert page.title() == "Lens"
    shopper.photo()
    whole = shopper.changed([])
    assert len(whole) == 20
    assert page.locator(f"{CARDS} img").first.get_attribute("alt") == whole[0]
    assert "similar" in str(page.locator(f"{CARDS} a").first.get_attribute("aria-label"))
    assert "20 products" in str(page.locator("#said").text_content())
    assert "fused_search, version 1" in str(page.locator(".foot").text_content())

    corner = page.locator("#region [data-edges=se]").bounding_box()
    x, y = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 170, y - 150, steps=4)
    page.mouse.up()
    part = shopper.changed(whole)
    assert "% of its width" in str(page.locator("#region").get_attribute("aria-label"))
    page.locator("#region").focus()
    page.keyboard.press("Escape")
    assert shopper.changed(part) == whole


def test_a_region_by_keyboard(shopper: Shopper) -> None:
    shopper.photo()
    whole = shopper.changed([])
    shopper.page.locator("#region").focus()
    for _ in range(10):
        shopper.page.keyboard.press("Shift+ArrowLeft")
        shopper.page.keyboard.press("Shift+ArrowUp")
    shopper.page.keyboard.press("ArrowRight")
    part = shopper.changed(whole)
    label = shopper.page.locator("#region").get_attribute("aria-label")
    assert label == "Region to search with: 80 % of its width and 80 % of its height, from 2 % left and 0 % down"
    shopper.page.click("#whole")
    assert shopper.changed(part) == whole


def test_filters_words_and_the_balance(shopper: Shopper) -> None:
    page = shopper.page
    page.fill("#text", "navy shirt")
    words = shopper.changed([])
    assert "text=navy+shirt" in page.url
    shopper.photo()
    both = shopper.changed(words)
    assert page.locator("#balance").is_visible()
    page.locator("#weight").fill("1")
    assert shopper.changed(both) == words
    page.get_by_label("Gender").select_option("Men")
    men = shopper.changed(words)
    assert {int(title.rpartition(" ")[2]) % 3 for title in men} == {1}
    assert "is.gender=Men" in page.url
    page.goto(page.url)  # what is in the address is kept, the photo is not
    assert shopper.changed([]) == men
    assert page.locator("#text").input_value() == "navy shirt"
    page.get_by_role("button", name="Clear filters").click()
    assert shopper.changed(men) == words


def test_more_like_this_and_back(shopper: Shopper) -> None:
    page = shopper.page
    shopper.photo()
    first = shopper.changed([])
    name = first[3]
    page.locator(f"{CARDS} a").nth(3).click()
    like = shopper.changed(first)
    assert name not in like
    assert "item=item-" in page.url
    page.go_back()
    assert shopper.changed(like) == first
    page.locator(f"{CARDS}").first.hover()
    page.get_by_role("button", name=f"Details of {first[0]}").click()
    assert page.locator("#details dd").count() >= 3
    page.get_by_role("button", name="More like this", exact=True).click()
    assert first[0] not in shopper.changed(first)


def test_two_models_side_by_side(shopper: Shopper) -> None:
    page = shopper.page
    page.locator("#examples button").first.click()
    found = shopper.changed([])
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".column:nth-child(2) .card:not(.blank)")
    shopper.changed([])
    second = page.locator(".column:nth-child(2) .title").all_text_contents()
    assert second == shopper.found() == found
    assert page.locator(".model select").nth(1).input_value() == "fused:1"
    assert page.url.count("model=") == 2


def test_a_photo_dropped_or_pasted(shopper: Shopper) -> None:
    give = """async ([kind, colour]) => {
      const canvas = new OffscreenCanvas(64, 64);
      const context = canvas.getContext("2d");
      context.fillStyle = colour;
      context.fillRect(0, 0, 40, 64);
      const file = new File([await canvas.convertToBlob()], kind + ".png", { type: "image/png" });
      const carried = new DataTransfer();
      carried.items.add(file);
      const made = { bubbles: true, cancelable: true };
      dispatchEvent(kind === "drop" ? new DragEvent("drop", { ...made, dataTransfer: carried })
        : new ClipboardEvent("paste", { ...made, clipboardData: carried }));
    }"""
    shopper.page.evaluate(give, ["drop", "#c00"])
    dropped = shopper.changed([])
    assert shopper.page.locator("#caption").text_content() == "drop.png"
    shopper.page.evaluate(give, ["paste", "#0c0"])
    shopper.changed(dropped)
    assert shopper.page.locator("#caption").text_content() == "paste.png"


def test_a_photo_of_the_camera(shopper: Shopper) -> None:
    page = shopper.page
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the photo").click()
    assert len(shopper.changed([])) == 20
    assert not page.locator("#camera").is_visible()
    assert page.evaluate("document.querySelector('#camera video').srcObject.active") is False


def test_errors_in_plain_words(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=WIDE)
    shopper = Shopper(context, address)
    page = shopper.page
    shopper.photo(content=b"plain text")
    assert "not a picture" in page.locator(".notice.wrong").inner_text()
    shopper.photo(content=bytes(2**20 + 1))
    assert "too large" in page.locator("#refusal").inner_text()
    page.locator("#address summary").click()
    page.fill("#item", "../secret.jpg")
    page.locator("#address form button").click()
    page.wait_for_selector("text=There is no such picture here.")
    not_ready = {"error": "The search server is not ready yet.", "advice": "Please try again in a moment."}
    page.route("**/api/search", lambda route: route.fulfill(status=503, json=not_ready), times=1)
    shopper.photo()
    page.wait_for_selector("text=The search server is not ready yet.")
    page.get_by_role("button", name="Try again").click()
    assert len(shopper.changed([])) == 20
    assert "Traceback" not in page.content()
    context.close()


def test_a_new_query_replaces_the_old_one(shopper: Shopper) -> None:
    page = shopper.page
    answers = {"held": 0}

    def hold(route: Any) -> None:
        if answers["held"] == 0:
            answers["held"] = 1
            return  # never answered; it is given up when the next one is asked
        route.continue_()

    page.route("**/api/search", hold)
    shopper.photo(1)
    page.wait_for_selector(".card.blank")
    with page.expect_event("requestfailed") as failed:
        shopper.photo(2)
    assert failed.value.url.endswith("/api/search")
    assert len(shopper.changed([])) == 20
    page.unroute("**/api/search")


def test_no_good_match_is_said_and_nothing_of_a_server_becomes_markup(shopper: Shopper) -> None:
    hostile = "<img src=x onerror='window.hacked = 1'>"
    match = {"id": "item-1", "title": hostile, "label": hostile, "picture": "pictures/item-1", "score": 0.41}
    answer = {
        "matches": [{**match, "attributes": {"gender": hostile}}],
        "model": "fused_search",
        "version": 3,
        "no_match": True,
        "threshold": 0.62,
        "ms": {"read": 1, "crop": 0, "ask": 2, "total": 3},
    }
    page = shopper.page
    page.route("**/api/search", lambda route: route.fulfill(body=json.dumps(answer), content_type="application/json"))
    shopper.photo()
    assert shopper.changed([]) == [hostile]
    assert "No good match" in page.locator(".notice").inner_text()
    assert "below 62 %" in page.locator(".notice").inner_text()
    assert page.evaluate("window.hacked") is None


def test_more_results_until_there_are_no_more(shopper: Shopper) -> None:
    page, asked = shopper.page, []

    def model(route: Any) -> None:
        answer = route.fetch().json()
        for each in answer["models"]:
            each["most"] = 40
        route.fulfill(json=answer)

    def search(route: Any) -> None:
        posted = route.request.post_data_buffer.decode("latin-1")
        asked.append(int(posted.partition('name="k"')[2].split()[0]))
        match = {"label": "", "picture": "pictures/item-1", "score": 0.5, "attributes": {}}
        matches = [{**match, "id": f"{row}", "title": f"Number {row}"} for row in range(asked[-1])]
        ms = {"read": 1, "crop": 0, "ask": 2, "total": 3}
        about = {"model": "fused_search", "version": 3, "no_match": None, "threshold": None, "ms": ms}
        route.fulfill(json={"matches": matches, **about})

    page.route("**/api/model", model)
    page.route("**/api/search", search)
    page.goto(shopper.address)
    page.wait_for_selector("#examples li")
    shopper.photo()
    first = shopper.changed([])
    page.get_by_role("button", name="More results").click()
    assert len(first) == 24
    assert shopper.changed(first) == [f"Number {row}" for row in range(40)]
    assert asked == [24, 40]
    assert page.get_by_role("button", name="More results").count() == 0
    assert "no more results" in page.locator(".foot").inner_text()
    page.unroute_all()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_contrast(browser: Any, address: str, scheme: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=scheme, has_touch=True)
    shopper = Shopper(context, address)
    assert shopper.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shopper.photo()
    shopper.changed([])
    assert shopper.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert shopper.page.locator(CARDS).first.bounding_box()["y"] < PHONE["height"]
    faint = shopper.page.evaluate(CONTRASTS)
    unnamed = shopper.page.evaluate(UNNAMED)
    shopper.page.get_by_role("button", name="Dark mode").click()
    background = shopper.page.evaluate("getComputedStyle(document.body).backgroundColor")
    context.close()
    assert faint == []
    assert unnamed == []
    assert (background == "rgb(255, 255, 255)") == (scheme == "dark")


CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let it = node; it; it = it.parentElement) {
      const colour = rgba(getComputedStyle(it).backgroundColor);
      if (colour[3] > 200) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(".spoken")) continue;
    const [one, other] = [light(rgba(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) faint.push([node.className || node.tagName, node.textContent.trim(), ratio]);
  }
  return faint;
}"""
UNNAMED = """() => [...document.querySelectorAll("button, a, input:not([type=file]), select, img")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length
    || node.hasAttribute("alt")))
  .map((node) => node.outerHTML)"""
