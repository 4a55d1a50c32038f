"""Texts of items: titles, filled templates, and what an item lacks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.config.words import TextsConfig
from trainer.data.items import FIXED_COLUMNS
from trainer.data.texts import ItemTexts, fill
from trainer.errors import InputError


@pytest.fixture
def items() -> pd.DataFrame:
    known = pd.DataFrame(
        {
            "label": ["Shirts", "Dresses", "Shirts"],
            "colour": ["Navy Blue", "", "Red"],
            "title": ["Turtle {Check} Shirt", "Long Dress", ""],
        }
    )
    return known.assign(**{name: "x" for name in FIXED_COLUMNS if name != "label"})


def texts(**more: object) -> TextsConfig:
    return TextsConfig(**{"title": "title", "templates": ("{colour} {label}", "a photo of {label}"), **more})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{colour} {label}", "Navy Blue Shirts"),
        ("{label}, {label}", "Shirts, Shirts"),
        ("{season} {label}", None),
        ("{gender} {label}", None),
        ("{{{colour}}}", "{Navy Blue}"),
    ],
)
def test_a_template_is_filled_or_passed_over(template: str, expected: str | None) -> None:
    assert fill(template, {"colour": "Navy Blue", "label": "Shirts", "gender": ""}) == expected


def test_every_text_of_every_item(items: pd.DataFrame) -> None:
    assert list(ItemTexts(items, texts()).all_texts()) == [
        "Turtle {Check} Shirt",
        "Navy Blue Shirts",
        "a photo of Shirts",
        "Long Dress",
        "a photo of Dresses",
        "Red Shirts",
        "a photo of Shirts",
    ]


def test_an_item_with_neither_is_described_by_its_label(items: pd.DataFrame) -> None:
    known = ItemTexts(items, texts(title=None, templates=("{colour}",)))
    assert list(known.all_texts()) == ["Navy Blue", "Dresses", "Red"]
    assert known.sample(np.array([1, 0]), np.random.default_rng(0)) == ["Dresses", "Navy Blue"]


def test_titles(items: pd.DataFrame) -> None:
    known = ItemTexts(items, texts())
    assert [known.title(row) for row in range(3)] == ["Turtle {Check} Shirt", "Long Dress", None]
    assert ItemTexts(items, texts(title=None)).title(0) is None


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_sample_takes_the_title_as_often_as_asked(items: pd.DataFrame, share: float) -> None:
    known = ItemTexts(items, texts(title_share=share))
    drawn = Counter(known.sample(np.zeros(4000, np.int64), np.random.default_rng(0)))
    assert drawn["Turtle {Check} Shirt"] / 4000 == pytest.approx(share, abs=0.03)
    assert drawn["Navy Blue Shirts"] == pytest.approx(drawn["a photo of Shirts"], abs=150)


def test_where_one_of_them_is_missing_the_other_is_taken(items: pd.DataFrame) -> None:
    known = ItemTexts(items, texts(title_share=1.0))
    assert set(known.sample(np.full(50, 2), np.random.default_rng(0))) == {"Red Shirts", "a photo of Shirts"}
    titles_only = ItemTexts(items, texts(title_share=0.0, templates=()))
    assert titles_only.sample(np.arange(3), np.random.default_rng(0)) == [
        "Turtle {Check} Shirt",
        "Long Dress",
        "Shirts",
    ]


def test_the_same_generator_gives_the_same_texts(items: pd.DataFrame) -> None:
    known, rows = ItemTexts(items, texts()), np.arange(3).repeat(20)
    first = known.sample(rows, np.random.default_rng(1))
    assert known.sample(rows, np.random.default_rng(1)) == first
    assert known.sample(rows, np.random.default_rng(2)) != first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"title": "name"},
            "words.texts.title: expected attributes of the items (label, colour, title), received name",
        ),
        ({"templates": ("{label}", "{season} {label}")}, "words.texts.templates: expected .*, received season"),
        ({"queries": ("{id}",)}, "words.texts.queries: expected .*, received id"),
    ],
)
def test_attributes_that_no_item_has_are_named(items: pd.DataFrame, more: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        ItemTexts(items, texts(**more))


def test_the_real_catalogue_has_texts(shared_root: Path) -> None:
    styles = pd.read_csv(shared_root / "data" / "fashion-products" / "styles.csv", on_bad_lines="skip", dtype=str)
    styles = styles.fillna("").rename(columns={"articleType": "label"}).head(2000)
    known = ItemTexts(styles, TextsConfig(title="productDisplayName", templates=("{baseColour} {label} for {gender}",)))
    drawn = known.sample(np.arange(len(styles)), np.random.default_rng(0))
    assert len(drawn) == len(styles)
    assert all(drawn)
    assert "Navy Blue Shirts for Men" in set(known.all_texts())


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_missing_value_is_no_text(missing: object) -> None:
    items = pd.DataFrame({"id": ["1"], "label": ["Shirts"], "colour": [missing], "name": [missing]}, dtype=object)
    texts = ItemTexts(items, TextsConfig(title="name", templates=("{label}", "{colour} {label}")))
    assert texts.title(0) is None
    assert list(texts.all_texts()) == ["Shirts"]
