"""The page as a reader has it: in a browser, from disk, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


class Visit:
    """A page in a browser, with what went wrong on it and what it asked the network for."""

    def __init__(self, context: Any, path: Path) -> None:
        self.page = context.new_page()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def see_all(self) -> None:
        """Unfolds everything and scrolls through the page, so that all of it is drawn."""
        self.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        self.page.evaluate(
            """async () => {
              for (let y = 0; y < document.body.scrollHeight; y += 700) {
                scrollTo(0, y);
                await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)));
              }
            }"""
        )
        self.page.wait_for_function(
            "[...document.querySelectorAll('.chart')].every((it) => !it.offsetParent || it.querySelector('.main-svg'))"
        )

    def place_of(self, chart: str, trace: int, point: int) -> tuple[float, float]:
        """Where a point of a chart is in the window, the chart in its middle."""
        self.page.locator(f'[data-chart="{chart}"]').evaluate("it => it.scrollIntoView({ block: 'center' })")
        self.page.wait_for_selector(f'[data-chart="{chart}"] .main-svg')
        x, y = self.page.evaluate(
            """([chart, trace, point]) => {
              const node = document.querySelector(`[data-chart="${chart}"]`);
              const { xaxis, yaxis } = node._fullLayout;
              const box = node.getBoundingClientRect();
              const { x, y } = node.data[trace];
              return [box.left + xaxis._offset + xaxis.d2p(x[point]), box.top + yaxis._offset + yaxis.d2p(y[point])];
            }""",
            [chart, trace, point],
        )
        return x, y

    def background(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def chart_ink(self) -> str:
        return str(
            self.page.locator('[data-chart="resnet50-curve"] .xtitle').evaluate("it => getComputedStyle(it).fill")
        )


@pytest.fixture(scope="module")
def visited(browser: Any, page: Path) -> Iterator[Visit]:
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    yield Visit(context, page)
    context.close()


@pytest.fixture
def desk(visited: Visit) -> Visit:
    """A wide, light page with its first model, shared by tests that leave it as it was."""
    visited.page.select_option("#model", "resnet50")
    visited.page.mouse.move(5, 5)
    return visited


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def start(viewport: dict[str, int] = WIDE, scheme: str = "light", touch: bool = False) -> Visit:
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme, has_touch=touch, is_mobile=touch))
        return Visit(contexts[-1], page)

    yield start
    for context in contexts:
        context.close()


def test_it_says_no_error_asks_for_nothing_and_shows_every_picture(visit: Callable[..., Visit], page: Path) -> None:
    seen = visit()
    for model in ("resnet50", "hub_vit"):
        seen.page.select_option("#model", model)
        seen.see_all()
        assert seen.page.locator(f"[data-chart^={model}-] .main-svg").count() >= 10
    sizes = seen.page.eval_on_selector_all("img[data-product]", "all => all.map((it) => [it.alt, it.naturalWidth])")
    assert len(sizes) > 50
    assert not [name for name, width in sizes if not width > 0]
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
    assert seen.faults == []


def test_names_of_the_catalogue_are_text(desk: Visit) -> None:
    desk.see_all()
    assert desk.page.evaluate("window.hacked") is None
    assert "Tops & <b>Tees</b>" in desk.page.locator('[data-chart="resnet50-map"] .legendtext').all_text_contents()
    assert desk.page.locator("#resnet50-classes tbody th").all_inner_texts()[0] == "Tops & <b>Tees</b>"
    assert desk.page.locator('img[data-product="p0"]').first.get_attribute("title") == f"Men · {HOSTILE[:60]}"


def test_pointing_at_the_map_shows_the_product(desk: Visit) -> None:
    x, y = desk.place_of("resnet50-map", trace=0, point=0)
    card = desk.page.locator("#product")
    assert not card.is_visible()
    desk.page.mouse.move(x - 40, y)
    desk.page.mouse.move(x, y, steps=3)
    card.wait_for(state="visible")
    picture = desk.page.evaluate("[document.querySelector('#product img').naturalWidth, innerHeight]")
    box = card.bounding_box()
    assert picture[0] > 0
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= picture[1]
    desk.page.mouse.move(5, 5)
    card.wait_for(state="hidden")
    assert desk.faults == []


def test_the_map_can_be_read_with_the_keyboard(desk: Visit) -> None:
    desk.place_of("resnet50-map", trace=0, point=0)
    desk.page.focus('[data-chart="resnet50-map"]')
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        desk.page.keyboard.press(key)
        told.append(desk.page.inner_text("#product .about"))
    assert told[0] == told[2] != told[1]
    desk.page.keyboard.press("Escape")
    assert not desk.page.is_visible("#product")


def test_on_a_phone_a_tap_shows_the_product_and_nothing_is_wider_than_the_window(visit: Callable[..., Visit]) -> None:
    seen = visit(PHONE, touch=True)
    for model in ("hub_vit", "resnet50"):
        seen.page.select_option("#model", model)
        seen.see_all()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    seen.page.touchscreen.tap(*seen.place_of("resnet50-map", trace=1, point=1))
    seen.page.wait_for_selector("#product", state="visible")
    box = seen.page.locator("#product").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]


def test_a_cell_of_the_confusion_matrix_shows_its_pictures(desk: Visit) -> None:
    chart = desk.page.locator('[data-chart="resnet50-confusion"]')
    desk.place_of("resnet50-confusion", trace=0, point=0)
    # Classes are in alphabetical order, so the third was taken for the second.
    x, y = chart.evaluate(
        """it => {
          const { xaxis, yaxis } = it._fullLayout;
          const box = it.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.d2p(1), box.top + yaxis._offset + yaxis.d2p(2)];
        }"""
    )
    desk.page.mouse.move(x - 3, y)
    desk.page.mouse.click(x, y)
    shown = desk.page.locator("#resnet50-classes .chosen")
    shown.locator("img").wait_for()
    assert shown.inner_text().strip() == "Tops & <b>Tees</b> taken for Shoes: 1"
    assert shown.locator("img").get_attribute("alt") == "Tops & <b>Tees</b>, product p0"


def test_dark_is_dark_and_can_be_chosen(visit: Callable[..., Visit]) -> None:
    light, dark = visit(), visit(scheme="dark")
    for seen in (light, dark):
        seen.place_of("resnet50-curve", trace=0, point=0)
    assert (light.background(), dark.background()) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    assert light.chart_ink() != dark.chart_ink()
    dark_ink = dark.chart_ink()
    light.page.click("#theme")
    assert light.background() == dark.background()
    assert light.chart_ink() == dark_ink
    light.page.reload()
    assert light.background() == dark.background()


def test_one_model_is_shown_at_a_time(desk: Visit) -> None:
    assert desk.page.locator("#model").input_value() == "resnet50"
    assert desk.page.is_visible("#resnet50-map-section")
    assert not desk.page.is_visible("#hub_vit-map-section")
    desk.page.select_option("#model", "hub_vit")
    assert desk.page.is_visible("#hub_vit-map-section")
    assert not desk.page.is_visible("#resnet50-map-section")
    assert desk.page.locator("nav a:visible", has_text="Map").get_attribute("href") == "#hub_vit-map-section"


def test_tables_can_be_sorted(desk: Visit) -> None:
    table = desk.page.locator("#resnet50-classes table")
    header = table.locator("thead th", has_text="precision@10")
    names = table.locator("tbody th").all_inner_texts
    assert names() == ["Tops & <b>Tees</b>", "Shoes", "Bags"]
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert names() == ["Bags", "Shoes", "Tops & <b>Tees</b>"]
    table.locator("thead th").first.locator("button").click()
    assert header.get_attribute("aria-sort") is None
    assert names() == ["Bags", "Shoes", "Tops & <b>Tees</b>"]
    table.locator("thead th").first.locator("button").click()
    assert names() == ["Tops & <b>Tees</b>", "Shoes", "Bags"]


def test_print_is_light_and_whole(visit: Callable[..., Visit]) -> None:
    seen = visit(scheme="dark")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen.page.emulate_media(media="print")
    assert seen.background() == "rgb(255, 255, 255)"
    drawn = seen.page.eval_on_selector_all(".chart", "all => all.map((it) => !it.offsetParent || it.dataset.drawn)")
    assert drawn
    assert set(drawn) == {True, "light"}
    assert not seen.page.is_visible(".bar")
