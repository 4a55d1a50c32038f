"""Quality by class, by attribute and by how many neighbours are shown."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.evaluation.curve import curve
from trainer.evaluation.intervals import bootstrap_interval
from trainer.evaluation.slices import per_class, slices
from trainer.retrieval import EmbeddingTable, measure_queries


def on_a_circle(degrees: list[float], labels: list[str], **attributes: object) -> EmbeddingTable:
    angles = np.radians(degrees)
    columns = {name: np.asarray(values) for name, values in attributes.items()}
    ids = np.array([f"item {at}" for at in range(len(degrees))])
    return EmbeddingTable(
        ids, np.stack([np.cos(angles), np.sin(angles)], axis=1), {"label": np.array(labels), **columns}
    )


@pytest.fixture
def shop() -> EmbeddingTable:
    """a a b a b, and c alone: the nearest of each are a1, a0, a1, b4, a3 and b4."""
    predicted = ["a", "a", "a", "a", "b", "c"]
    return on_a_circle([0, 1, 10, 30, 33, 90], list("aababc"), predicted_label=predicted)


def test_a_row_a_class(shop, evaluated):
    rows = per_class(evaluated(shop, {"ks": [1, 2]}))
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert [row["queries"] for row in rows] == [3, 2, 1]
    assert [row["queries_without_match"] for row in rows] == [0, 0, 1]
    assert [row["accuracy"] for row in rows] == [1.0, 0.5, 1.0]
    assert [row["hit_rate@1"] for row in rows] == [pytest.approx(2 / 3), 0.0, None]
    assert list(rows[0])[:4] == ["label", "queries", "accuracy", "queries_without_match"]


def test_a_model_that_predicts_nothing_has_no_accuracy(evaluated):
    table = on_a_circle([0, 1, 10, 30], list("aabb"), gender=["Men"] * 4)
    assert "accuracy" not in per_class(evaluated(table))[0]
    [row] = slices(evaluated(table, {"slices": ["gender"]})) or []
    assert "accuracy" not in row
    assert "accuracy" not in row["intervals"]


@pytest.fixture
def crowd() -> EmbeddingTable:
    """100 items, half of them right in everything; 60 of men, 30 of women, 4 of boys, 3 of girls and 3 of nobody."""
    draw = np.random.default_rng(0)
    labels = np.where(draw.random(100) < 0.5, "a", "b")
    degrees = np.where(labels == "a", 0, 40) + draw.normal(0, 12, 100)
    gender = np.repeat(["Men", "Women", "Boys", "Girls", ""], [60, 30, 4, 3, 3])
    year = np.where(np.arange(100) < 50, 2011.0, 2012.5)
    year[-20:] = np.nan
    predicted = np.where(np.arange(100) % 10 == 0, "b", labels)
    return on_a_circle(
        degrees.tolist(), labels.tolist(), gender=gender, year=year, sold=np.arange(100) < 40, predicted_label=predicted
    )


def test_a_slice_is_some_of_the_queries_among_the_whole_gallery(crowd, evaluated):
    rows = slices(evaluated(crowd, {"slices": ["gender"]}))
    assert [(row["attribute"], row["value"], row["queries"]) for row in rows] == [
        ("gender", "Men", 60),
        ("gender", "Women", 30),
        ("gender", "(other)", 10),
    ]
    assert [row.get("values") for row in rows] == [None, None, 3]
    men = crowd.select(crowd.attributes["gender"] == "Men")
    measured = measure_queries(men, crowd, same_table=True)
    for name, mean in measured.means().items():
        assert rows[0][name] == pytest.approx(mean), name
    right = men.labels == men.attributes["predicted_label"]
    assert rows[0]["accuracy"] == pytest.approx(right.mean())
    assert set(rows[0]["intervals"]) == {"accuracy", *measured.values}
    assert rows[0]["intervals"]["hit_rate@1"] == pytest.approx(bootstrap_interval(measured.values["hit_rate@1"]))
    assert rows[0]["intervals"]["accuracy"] == pytest.approx(bootstrap_interval(right.astype(float)))


def test_values_are_shown_as_people_write_them(crowd, evaluated):
    rows = slices(evaluated(crowd, {"slices": ["year", "sold"], "resamples": 0}))
    assert [(row["value"], row["queries"]) for row in rows] == [
        ("2011", 50),
        ("2012.5", 30),
        ("(none)", 20),
        ("False", 60),
        ("True", 40),
    ]
    assert "intervals" not in rows[0]


def test_which_slices_there_are_by_default(crowd, evaluated):
    assert slices(evaluated(crowd)) is None
    rows = slices(evaluated(crowd, relevance={"label": 1.0, "gender": 0.5}))
    assert {row["attribute"] for row in rows} == {"gender"}
    rows = slices(evaluated(crowd, {"slices": ["sold"]}, relevance={"label": 1.0, "gender": 0.5}))
    assert {row["attribute"] for row in rows} == {"sold"}


def test_an_attribute_that_items_do_not_have_is_refused(crowd, evaluated):
    with pytest.raises(InputError, match=r"evaluate\.slices: .* received 'gendr'; did you mean gender"):
        slices(evaluated(crowd, {"slices": ["gendr"]}))
    with pytest.raises(InputError, match="they have gender, label, predicted_label, sold, year"):
        slices(evaluated(crowd, {"slices": ["fabric"]}))


def test_a_curve_goes_as_deep_as_there_is_anything_to_find(shop, crowd, evaluated):
    rows = curve(evaluated(shop))
    assert [row["k"] for row in rows] == [1, 2, 3, 4, 5]
    # Of the five queries that have something to find: two nearest are right; of a3 and the b the second is not, either.
    assert rows[0] == {"k": 1, **dict.fromkeys(("hit_rate", "precision", "ndcg"), 0.4), "recall": pytest.approx(0.2)}
    assert rows[4]["hit_rate"] == rows[4]["recall"] == 1.0
    assert rows[4]["precision"] == pytest.approx((3 * 2 + 2 * 1) / 5 / 5)
    rows = curve(evaluated(crowd, relevance={"label": 1.0, "gender": 1.0}))
    assert [row["k"] for row in rows] == [*range(1, 51)]
    measured = measure_queries(crowd, crowd, (20,), same_table=True, relevance={"label": 1.0, "gender": 1.0}).means()
    assert rows[19] == {"k": 20, **{name: pytest.approx(measured[f"{name}@20"]) for name in rows[19] if name != "k"}}
