"""What words find: labels by prompts, products by title, attributes by questions, and pictures with words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.evaluation.analyses import Evaluated
from trainer.evaluation.attribute_queries import attribute_queries, precision_of, query_rows
from trainer.evaluation.composed_queries import composed_queries
from trainer.evaluation.intervals import bootstrap_interval
from trainer.evaluation.title_queries import title_queries
from trainer.evaluation.word_examples import word_examples
from trainer.evaluation.words import check_words, words
from trainer.evaluation.zero_shot import zero_shot_labels
from trainer.retrieval import EmbeddingTable

AXES = {word: at for at, word in enumerate(["shirt", "shoe", "bag", "red", "blue", "green"])}


def direction(text: str) -> np.ndarray:
    """Where the words of a text that are known point together; away from all of them where none is."""
    found = np.zeros(7)
    for word, at in AXES.items():
        found[at] = len(re.findall(word, text.lower()))
    found[6] = not found.any()
    return found / np.linalg.norm(found)


def embed_texts(texts: Sequence[str]) -> np.ndarray:
    assert texts, "nothing is embedded where nothing is asked"
    return np.array([direction(text) for text in texts], np.float32)


def shop(*items: tuple[str, str], **attributes: Sequence[str]) -> EmbeddingTable:
    """Items of a label and a colour, pointing where both words do together."""
    labels, colours = zip(*items, strict=True)
    vectors = np.array([direction(f"{label} {colour}") for label, colour in items])
    columns: dict[str, Any] = {"label": np.array(labels), "colour": np.array(colours)}
    columns |= {name: np.array(values) for name, values in attributes.items()}
    columns["image_path"] = np.array([f"/{at}.jpg" for at in range(len(items))])
    return EmbeddingTable(np.array([f"p{at}" for at in range(len(items))]), vectors, columns)


SMALL = (("shirt", "red"), ("shirt", "blue"), ("shirt", "blue"), ("shoe", "red"), ("bag", ""))


def chance(items: int = 60) -> EmbeddingTable:
    draw = np.random.default_rng(3)
    labels = draw.choice(["shirt", "shoe", "bag"], items)
    colours = draw.choice(["red", "blue", "green", ""], items)
    table = shop(*zip(labels.tolist(), colours.tolist(), strict=True), title=[f"no {at % 50}" for at in range(items)])
    vectors = table.vectors + draw.normal(0, 0.3, table.vectors.shape)
    return EmbeddingTable(table.ids, vectors, table.attributes)


def test_a_label_is_the_mean_of_its_prompts():
    vectors = {"a one": [1.0, 0.0], "b one": [0.0, 1.0], "a two": [0.6, -0.8], "b two": [0.6, 0.8]}
    pictures = EmbeddingTable(
        np.array(["p", "q"]), np.array([[0.9, 0.45], [0.0, -1.0]]), {"label": np.array(["a", "b"])}
    )

    def told(*prompts: str) -> list[str]:
        def embed(texts: Sequence[str]) -> np.ndarray:
            return np.array([vectors[text] for text in texts], np.float32)

        return zero_shot_labels(pictures, ["a", "b"], prompts, embed).tolist()

    assert told("{label} one") == ["a", "a"]
    # The first picture's cosine is 0.60 to the mean of a and 0.71 to that of b.
    assert told("{label} one", "{label} two") == ["b", "a"]


def test_a_title_finds_its_product_as_soon_as_it_ranks():
    table = shop(*SMALL, title=["red shirt", "blue shirt", "blue shirt", "bag", ""])
    found = title_queries(table, "title", (1, 2, 5), embed_texts, resamples=50)
    assert found is not None
    assert {key: found[key] for key in ("attribute", "queries", "gallery", "shared")} == {
        "attribute": "title",
        "queries": 4,
        "gallery": 5,
        "shared": 2,
    }
    # Ranks: 1; 1 and 2, alike and so by row; the shoe called a bag comes after the bag, and after the shirts by row.
    item, same = found["rows"]
    assert (item["right"], item["recall@1"], item["recall@2"], item["recall@5"]) == ("item", 0.5, 0.75, 1.0)
    assert (same["right"], same["recall@1"], same["recall@2"], same["recall@5"]) == ("same title", 0.75, 0.75, 1.0)
    assert (item["median_rank"], same["median_rank"]) == (1, 1)
    assert item["intervals"]["recall@1"] == pytest.approx(
        bootstrap_interval(np.array([1.0, 1.0, 0.0, 0.0]), resamples=50)
    )


def test_ranks_are_those_of_a_full_sort(monkeypatch):
    table = chance()
    expected = []
    for at, text in enumerate(table.attributes["title"].tolist()):
        vectors = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
        order = np.argsort(-(vectors @ direction(text)), kind="stable")
        expected.append(1 + order.tolist().index(at))
    for cells in (4_194_304, 150):  # all at once, and two at a time
        monkeypatch.setattr("trainer.evaluation.title_queries.CELLS", cells)
        found = title_queries(table, "title", range(1, 61), embed_texts, resamples=0)
        assert found is not None
        for k in range(1, 61):
            assert found["rows"][0][f"recall@{k}"] == pytest.approx(np.mean(np.array(expected) <= k))
        assert "intervals" not in found["rows"][0]


def test_items_without_titles_ask_nothing():
    assert title_queries(shop(*SMALL, title=[""] * 5), "title", (1,), embed_texts, resamples=0) is None


def test_every_combination_there_is_makes_one_question():
    asked = attribute_queries(shop(*SMALL), "{colour} {label}, {colour}")
    assert asked.names == ("colour", "label")
    assert asked.texts == ["blue shirt, blue", "red shirt, red", "red shoe, red"]
    assert asked.subjects == ("colour", "label", "(all)")
    assert asked.matches.tolist() == [[2, 3, 2], [2, 3, 1], [2, 1, 1]]
    assert attribute_queries(shop(*SMALL), "{colour} {label}", min_matches=2).texts == ["blue shirt"]
    assert len(attribute_queries(shop(*SMALL), "{colour} {label}", min_matches=3)) == 0
    alone = attribute_queries(shop(*SMALL), "{label}")
    assert (alone.texts, alone.subjects, alone.matches.tolist()) == (
        ["bag", "shirt", "shoe"],
        ("label",),
        [[1], [3], [1]],
    )


def test_texts_may_be_of_any_script_and_hold_braces():
    table = shop(("Рубашка {x}", "赤"), ("حقيبة", "🟥"))
    assert attribute_queries(table, "{colour}の {label}").texts == ["赤の Рубашка {x}", "🟥の حقيبة"]


def test_precision_is_told_for_each_attribute_and_all_together():
    found = precision_of(attribute_queries(shop(*SMALL), "{colour} {label}"), (1, 2, 10), embed_texts)
    rows = query_rows(found, resamples=20)
    assert [(row["template"], row["attribute"], row["queries"]) for row in rows] == [
        ("{colour} {label}", name, 3) for name in ("colour", "label", "(all)")
    ]
    colour, label, both = rows
    assert (colour["precision@1"], label["precision@1"], both["precision@1"]) == (1.0, 1.0, 1.0)
    # "red shirt" and "red shoe": the second is another red thing, or by row a blue shirt, which is as near.
    assert both["precision@2"] == pytest.approx((2 + 1 + 1) / 6)
    assert both["ceiling@2"] == pytest.approx((2 + 1 + 1) / 6)
    assert both["by_item@2"] == pytest.approx((2 * 2 + 1 + 1) / 2 / 4)
    # Only five items are there, and K is the divisor all the same.
    assert label["precision@10"] == pytest.approx((3 + 3 + 1) / 30)
    assert label["ceiling@10"] == label["precision@10"]
    assert set(both["intervals"]) == {"precision@1", "precision@2", "precision@10"}


def test_precision_is_that_of_a_full_sort():
    table = chance()
    asked = attribute_queries(table, "{colour} {label}")
    found = precision_of(asked, (3, 7), embed_texts)
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    for at, (colour, label) in enumerate(asked.values.tolist()):
        order = np.argsort(-(unit @ direction(f"{colour} {label}")), kind="stable")
        right = np.stack([table.attributes["colour"] == colour, table.labels == label])[:, order]
        both = right.all(axis=0)
        assert asked.matches[at].tolist() == [*right.sum(axis=1), both.sum()]
        for place, k in enumerate((3, 7)):
            expected = [*right[:, :k].sum(axis=1) / k, both[:k].sum() / k]
            assert found.values[at, place] == pytest.approx(expected)


def test_a_weight_goes_from_the_picture_to_the_words():
    table = shop(*[(label, colour) for label in ("shirt", "shoe") for colour in ("red", "blue", "green")] * 3)
    rows = composed_queries(
        table, ["{label}", "{colour} {label}"], (0.0, 0.5, 1.0), 3, embed_texts, seed=0, resamples=20
    )
    assert [(row["text"], row["weight"]) for row in rows] == [
        (text, weight) for text in ("{colour}", "{colour} {label}") for weight in (0.0, 0.5, 1.0)
    ]
    assert {(row["attribute"], row["queries"], row["k"], row["ceiling"]) for row in rows} == {("colour", 18, 3, 1.0)}
    alone, _, bare, alike, _, full = rows
    # The picture alone finds the other two of its kind first, itself left out, and none of what is asked for.
    assert alone["label"] >= 2 / 3
    assert alone["both"] <= alone["asked"] <= 1 / 3
    assert {name: alone[name] for name in ("label", "asked", "both")} == {
        name: alike[name] for name in ("label", "asked", "both")
    }
    assert (bare["asked"], full["both"]) == (1.0, 1.0)
    assert set(full["intervals"]) == {"label", "asked", "both"}
    assert rows[1]["both"] > max(alone["both"], bare["both"])


def test_a_picture_does_not_find_itself():
    table = shop(("shirt", "red"), ("shirt", "blue"))
    (row,) = composed_queries(table, ["{colour}"], (0.0,), 1, embed_texts, seed=0, resamples=0)
    assert (row["label"], row["asked"], row["both"]) == (1.0, 1.0, 1.0)


def test_pictures_ask_only_for_what_their_label_has(monkeypatch):
    table = shop(("shirt", "red"), ("shirt", "blue"), ("shirt", ""), ("shoe", "green"), ("shoe", "green"))
    (row,) = composed_queries(table, ["{colour}"], (0.5,), 10, embed_texts, seed=0, resamples=0)
    assert row["queries"] == 2
    assert row["ceiling"] == pytest.approx(0.1)
    assert "intervals" not in row
    assert composed_queries(table, ["{label}"], (0.5,), 10, embed_texts, seed=0, resamples=0) == []
    assert (
        composed_queries(table.select(np.array([0])), ["{colour}"], (0.5,), 5, embed_texts, seed=0, resamples=0) == []
    )
    nameless = shop(("shirt", "red"), ("shirt", ""))
    assert composed_queries(nameless, ["{colour}"], (0.5,), 5, embed_texts, seed=0, resamples=0) == []
    monkeypatch.setattr("trainer.evaluation.composed_queries.MOST_QUERIES", 7)
    (row,) = composed_queries(chance(), ["{colour}"], (0.5,), 10, embed_texts, seed=0, resamples=0)
    assert row["queries"] == 7


def test_words_without_another_attribute_are_the_value_alone():
    table = shop(("shirt", "red"), ("shirt", "blue"), made_of=["", "cotton"])
    heard: list[str] = []

    def listen(texts: Sequence[str]) -> np.ndarray:
        heard.extend(texts)
        return embed_texts(texts)

    composed_queries(table, ["{colour} {made_of} {label}"], (1.0,), 5, listen, seed=0, resamples=0)
    assert heard == ["blue", "red", "blue", "red cotton shirt"]


def test_examples_are_some_of_each_kind():
    table = chance()
    found = [
        precision_of(attribute_queries(table, template), (1, 10), embed_texts)
        for template in ("{label}", "{colour} {label}")
    ]
    rows = word_examples(found, embed_texts, seed=0)
    assert len(rows) <= 12
    assert len({(row["template"], row["text"]) for row in rows}) == len(rows)
    best = [row for row in rows if row["kind"] == "best"]
    worst = [row for row in rows if row["kind"] == "worst"]
    assert {row["kind"] for row in rows} == {"best", "worst", "random"}
    assert len({row["values"]["label"] for row in best}) == len({row["values"]["label"] for row in worst}) == 3
    assert min(row["precision"] for row in best[:1]) >= max(row["precision"] for row in worst)
    for row in rows:
        assert len(row["neighbours"]) == 10
        for item in row["neighbours"]:
            at = table.ids.tolist().index(item["id"])
            own = {name: str(table.attributes[name][at]) for name in row["values"]}
            assert item["values"] == own
            assert item["right"] == (own == row["values"])
        right = sum(item["right"] for item in row["neighbours"])
        assert row["precision"] == pytest.approx(right / min(10, row["matches"]))


def test_questions_that_find_all_there_is_are_none_of_the_worst():
    table = shop(*[(label, colour) for label in ("shirt", "shoe", "bag") for colour in ("red", "blue", "green")])
    found = precision_of(attribute_queries(table, "{colour} {label}"), (1,), embed_texts)
    assert [row["kind"] for row in word_examples([found], embed_texts, seed=0)] == ["best"] * 4 + ["random"] * 4


TEXTS = {"title": "title", "queries": ("{colour} {label}", "{label}"), "prompts": ("{label}", "a {label} of ours")}


@pytest.fixture
def model(evaluated: Callable[..., Evaluated]) -> Callable[..., Evaluated]:
    def make(table: EmbeddingTable, **evaluate: Any) -> Evaluated:
        return replace(evaluated(table, evaluate, words={"texts": TEXTS}), embed_texts=embed_texts)

    return make


def test_all_of_it_is_json(model):
    found = words(model(chance(), resamples=20))
    assert found is not None
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert set(found) == {"zero_shot", "titles", "queries", "composed", "examples"}
    told = found["zero_shot"]
    assert (told["labels"], told["queries"]) == (3, 60)
    assert 0.8 < told["intervals"]["accuracy"][0] < told["accuracy"] < 1
    assert sum(row["count"] for row in told["confused"]) == round(60 * (1 - told["accuracy"]))
    assert [row["attribute"] for row in found["queries"]] == ["colour", "label", "(all)", "label"]
    assert len(found["composed"]) == 2 * 5
    assert found == words(model(chance(), resamples=20))


def test_labels_of_other_splits_are_chosen_from_too(model):
    table = shop(("shirt", ""), ("shirt", ""), ("shoe", ""), split=["test", "test", "train"], title=[""] * 3)
    found = words(model(table))
    assert found is not None
    assert (found["zero_shot"]["labels"], found["zero_shot"]["queries"]) == (2, 2)


def test_one_item_of_a_few_words_is_enough(model):
    table = shop(("shirt", ""), title=[""])
    found = words(replace(model(chance(), resamples=20), table=table, queries=table))
    assert found is not None
    assert found["titles"] is None
    assert found["composed"] == []
    assert [row["template"] for row in found["queries"]] == ["{label}"]
    assert found["queries"][0]["precision@1"] == 1.0
    assert [row["kind"] for row in found["examples"]] == ["best"]


def test_rare_combinations_can_be_left_out(model):
    rows = words(model(chance(), words={"min_matches": 1000}, resamples=0))
    assert rows is not None
    assert rows["queries"] == rows["examples"] == []


def test_a_model_without_words_has_none(evaluated):
    assert words(evaluated(chance())) is None


def test_attributes_that_items_lack_are_refused(model):
    given = model(chance())
    lacking = {name: values for name, values in given.table.attributes.items() if name != "colour"}
    table = EmbeddingTable(given.table.ids, given.table.vectors, {**lacking, "color": lacking["title"]})
    with pytest.raises(InputError, match=r"words\.texts\.queries: .* received 'colour'; did you mean color\?"):
        check_words(given.config, table)
    del lacking["title"]
    lacking["colour"] = lacking["label"]
    with pytest.raises(
        InputError, match=r"words\.texts\.title: .* received 'title'; they have colour, image_path, label"
    ):
        check_words(given.config, EmbeddingTable(given.table.ids, given.table.vectors, lacking))


def test_texts_of_another_space_are_refused():
    with pytest.raises(InputError, match="dimension"):
        zero_shot_labels(chance(), ["shirt"], ["{label}"], lambda texts: np.ones((len(texts), 3), np.float32))
