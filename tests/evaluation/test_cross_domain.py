"""Labels of one catalogue judged by those of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import InputError
from trainer.evaluation.cross_domain import LabelMapping, measure_across, right_across
from trainer.retrieval import EmbeddingTable, measure_queries

KNOWN = ("Backpacks", "Handbags", "Heels", "Watches")


def table(vectors: list[list[float]], labels: list[str], first: int = 0) -> EmbeddingTable:
    ids = np.array([str(first + row) for row in range(len(labels))])
    return EmbeddingTable(ids, np.array(vectors), {"label": np.array(labels)})


def angles(*degrees: float) -> list[list[float]]:
    return [[np.cos(np.radians(d)), np.sin(np.radians(d))] for d in degrees]


def read(folder: Path, text: str) -> LabelMapping:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return LabelMapping.read(path, KNOWN)


def test_several_rows_of_a_label_add_up(tmp_path: Path) -> None:
    text = "note,query_label,gallery_label\n,Bag,Handbags\nx, Bag ,Backpacks\n,Shoe,Heels\n,Bag,Handbags\n"
    assert read(tmp_path, text).right == {"Bag": {"Handbags", "Backpacks"}, "Shoe": {"Heels"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query_label,gallery_label\nBag,Handbag\n", "received 'Handbag'; the nearest is 'Handbags'"),
        ("query,gallery_label\nBag,Handbags\n", "add query_label"),
        ("query_label,gallery_label\nBag,\n", "expected two labels a row, received 'Bag' and ''"),
        ("query_label,gallery_label\nBag,Handbags,x\n", "line 2 has not"),
        ("query_label,gallery_label\n", "at least one row"),
        ("", "expected a header line"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        LabelMapping.read(tmp_path / "none.csv", KNOWN)


def test_any_of_the_right_labels_is_relevant() -> None:
    gallery = table(angles(0, 10, 20, 90), ["Watches", "Handbags", "Backpacks", "Handbags"])
    # Ids are those of gallery items all the same: nothing is left out.
    queries = table(angles(1, 80, 2), ["Bag", "Shoe", "Bag"])
    mapping = LabelMapping({"Bag": frozenset({"Handbags", "Backpacks"}), "Shoe": frozenset({"Heels"})})
    measured = measure_across(queries, gallery, mapping, ks=(1, 2, 3))
    assert measured.labels.tolist() == ["Bag", "Shoe", "Bag"]
    assert measured.lone.tolist() == [False, True, False]
    means = measured.means()
    # A bag finds the watch first, then its three right ones: the fourth is past K.
    assert (means["queries"], means["queries_without_match"]) == (3, 1)
    assert (means["hit_rate@1"], means["hit_rate@2"], means["mrr"]) == (0.0, 1.0, 0.5)
    assert means["precision@3"] == pytest.approx(2 / 3)
    assert means["recall@3"] == pytest.approx(2 / 3)
    assert means["map@r"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert np.isnan(measured.values["hit_rate@1"][1])


def test_labels_of_the_same_name_are_judged_as_within_one_catalogue() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(KNOWN, 60).tolist()
    queries, gallery = (table(draw.standard_normal((60, 4)).tolist(), labels, first) for first in (0, 100))
    found = measure_across(queries, gallery, LabelMapping({label: frozenset({label}) for label in KNOWN}))
    expected = measure_queries(queries, gallery, same_table=False)
    assert set(found.values) == set(expected.values)
    for name, values in expected.values.items():
        np.testing.assert_allclose(found.values[name], values, err_msg=name)


def test_a_predicted_label_is_right_when_it_is_any_of_them() -> None:
    mapping = LabelMapping({"Bag": frozenset({"Handbags", "Backpacks"}), "Shoe": frozenset({"Heels"})})
    right = right_across(np.array(["Bag", "Bag", "Shoe"]), np.array(["Backpacks", "Heels", "Heels"]), mapping)
    assert right.tolist() == [1.0, 0.0, 1.0]
