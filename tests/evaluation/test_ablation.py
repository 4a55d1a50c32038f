"""The tables of post-processing and of dimensions: what stands in them, and what may choose their settings."""

from __future__ import annotations

import dataclasses
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from trainer.config import Config, load_config
from trainer.evaluation import ablation as module
from trainer.evaluation import dimensions as dimensions_module
from trainer.evaluation.ablation import COMBINATIONS, ablations
from trainer.evaluation.analyses import ANALYSES, Evaluated
from trainer.evaluation.dimensions import dimensions
from trainer.evaluation.sampling import sample_rows
from trainer.retrieval import EmbeddingTable, measure_queries
from trainer.retrieval.postprocessing import QueryExpansion, Reranking, Search

WIDTH = 12
ALONE = (("whitening",), ("query expansion",), ("re-ranking",))


def config(*changes: str) -> Config:
    return load_config(None, ["model.names=[resnet50]", "evaluate.ablations=last", *changes])


def items(sizes: dict[str, int], seed: int = 0, width: int = WIDTH) -> EmbeddingTable:
    rng = np.random.default_rng(seed)
    split = np.repeat(list(sizes), list(sizes.values()))
    of_class = rng.integers(0, 4, len(split))
    vectors = rng.standard_normal((4, width))[of_class] + rng.standard_normal((len(split), width)) * 0.9
    labels = np.array([f"class {number}" for number in of_class])
    return EmbeddingTable(np.arange(len(split)).astype(str), vectors, {"label": labels, "split": split})


TABLE = items({"train": 60, "validation": 40, "test": 50})


def evaluated(table: EmbeddingTable = TABLE, split: str = "test", settings: Config | None = None) -> Evaluated:
    settings = settings or config()
    queries = table.select(table.attributes["split"] == split)
    measured = measure_queries(queries, queries, settings.evaluate.ks, same_table=True, relevance=settings.relevance)
    return Evaluated(settings, Path("nowhere"), "resnet50", table, split, queries, measured)


def mirrored(table: EmbeddingTable) -> EmbeddingTable:
    noise = np.random.default_rng(5).standard_normal(table.vectors.shape) * 0.5
    return dataclasses.replace(table, vectors=table.vectors + noise)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    asked = []

    def encode(view: str) -> EmbeddingTable:
        asked.append(view)
        return mirrored(TABLE)

    found = ablations(dataclasses.replace(evaluated(), encode=encode))
    assert asked == ["mirrored"]
    assert found is not None
    return found


def test_the_plain_search_and_every_combination_have_a_row(rows: list[dict]) -> None:
    assert [row["method"] for row in rows] == ["plain", *(" + ".join(names) for names in COMBINATIONS)]
    measured = evaluated().measured
    assert rows[0] | measured.means() == rows[0]
    for row in rows:
        assert set(measured.means()) <= set(row)
        assert row["milliseconds"] > 0
    json.dumps(rows, allow_nan=False)


def test_rows_say_what_was_done_and_what_it_costs(rows: list[dict]) -> None:
    by_method = {row["method"]: row for row in rows}
    assert (by_method["plain"]["settings"], by_method["plain"]["chosen_on"]) == ("", None)
    assert (by_method["flip"]["settings"], by_method["flip"]["chosen_on"]) == ("Flip()", None)
    assert by_method["flip + re-ranking"]["settings"].startswith("Flip(), Reranking(k1=")
    assert by_method["flip + re-ranking"]["chosen_on"] == "validation"
    assert by_method["plain"]["bytes"] == by_method["query expansion"]["bytes"] == 4 * WIDTH
    width = int(by_method["whitening"]["settings"].split("dimension=")[1].split(",")[0])
    assert by_method["whitening"]["bytes"] == 4 * width
    assert by_method["re-ranking"]["bytes"] > 4 * WIDTH


def test_changes_are_those_to_the_plain_search(rows: list[dict]) -> None:
    assert "change" not in rows[0]
    for row in rows[1:]:
        for metric, change in row["change"].items():
            assert change == pytest.approx(row[metric] - rows[0][metric], abs=1e-9)
            assert 0 < row["p_value"][metric] <= 1
    assert any(row["change"]["map@r"] for row in rows[1:])


def test_the_settings_are_the_best_on_validation(rows: list[dict]) -> None:
    queries = TABLE.select(TABLE.attributes["split"] == "validation")
    search = Search(queries, queries, True, len(queries))
    grids = dict(module._grids(TABLE.select(TABLE.attributes["split"] == "train")))
    assert [repr(step)[10:-1] for step in grids["whitening"]] == [
        f"dimension={width}, strength={strength}" for strength in (1.0, 0.5) for width in (12, 6, 3)
    ]
    for (name,) in ALONE:
        best, found = -1.0, ""
        for step in grids[name]:
            value = step(search).measure((10,)).means()["precision@10"]
            if value > best:
                best, found = value, repr(step)
        assert next(row["settings"] for row in rows if row["method"] == name) == found


def test_the_split_that_is_reported_chooses_nothing(rows: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMBINATIONS", ALONE)
    other = TABLE.vectors.copy()
    test = TABLE.attributes["split"] == "test"
    other[test] = np.random.default_rng(9).standard_normal((test.sum(), WIDTH))
    table = dataclasses.replace(TABLE, vectors=other)
    again = ablations(evaluated(table, settings=config("evaluate.resamples=0")))
    assert again is not None
    before = {row["method"]: row["settings"] for row in rows}
    assert [row["settings"] for row in again] == [before[row["method"]] for row in again]
    assert again[0]["map@r"] != rows[0]["map@r"]


@pytest.mark.parametrize("sizes", [{"train": 60, "validation": 40}, {"train": 60, "test": 40}])
def test_without_another_split_to_choose_on_the_first_settings_are_used(sizes: dict[str, int]) -> None:
    found = ablations(evaluated(items(sizes), split=list(sizes)[1], settings=config("evaluate.resamples=0")))
    assert found is not None
    chosen = {row["method"]: row["settings"] for row in found}
    assert chosen["query expansion"] == repr(QueryExpansion(10, 3.0))
    assert chosen["re-ranking"] == repr(Reranking())
    assert chosen["whitening"] == f"Whitening(dimension={WIDTH}, strength=1.0)"
    assert {row["chosen_on"] for row in found} == {None}
    assert not any("flip" in method for method in chosen)  # no model at hand
    assert not any("change" in row for row in found)  # nothing to compare with, at 0 resamples


def test_only_the_models_that_are_asked_for_have_the_table() -> None:
    both = "model.names=[resnet50, hub_vit]", "model.hub_vit.handle=x"
    assert ablations(evaluated(settings=config("evaluate.ablations=none"))) is None
    assert ablations(evaluated(settings=config(*both))) is None
    small = items({"train": 1, "test": 5})
    found = ablations(evaluated(small, settings=config(*both, "evaluate.ablations=all", "evaluate.resamples=0")))
    assert found is not None
    assert not any("whitening" in row["method"] for row in found)  # nothing to fit it on


def test_a_large_split_is_measured_by_some_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ITEMS", 20)
    monkeypatch.setattr(module, "COMBINATIONS", ALONE)
    found = ablations(evaluated(settings=config("evaluate.resamples=0")))
    assert found is not None
    assert {row["queries"] for row in found} == {20}


def test_a_sample_is_the_seeds_and_keeps_the_order() -> None:
    assert sample_rows(TABLE, len(TABLE), 0) is TABLE
    some = sample_rows(TABLE, 30, 1)
    assert some.ids.tolist() == sample_rows(TABLE, 30, 1).ids.tolist() != sample_rows(TABLE, 30, 2).ids.tolist()
    assert (np.diff(some.ids.astype(int)) > 0).all()
    assert len(some) == 30


def shape(found: list[dict]) -> list[tuple[int, str, int]]:
    return [(row["dimension"], row["method"], row["bytes"]) for row in found]


def test_dimensions_are_powers_of_two_below_the_width() -> None:
    table = items({"train": 60, "test": 50}, width=80)
    found = dimensions(evaluated(table))
    # The training split spans 59 axes.
    assert shape(found) == [(32, "truncation", 128), (32, "pca", 128), (64, "truncation", 256), (80, "truncation", 320)]
    assert found[-1] | evaluated(table).measured.means() == found[-1]
    assert found[0]["map@r"] != found[1]["map@r"]
    json.dumps(found, allow_nan=False)


def test_a_table_wider_than_learned_embeddings_is_measured_below_their_width() -> None:
    found = dimensions(evaluated(items({"train": 60, "test": 50}, width=80), settings=config("model.embedding_dim=64")))
    assert [row["dimension"] for row in found if row["method"] == "truncation"] == [32, 80]


def test_configured_dimensions_are_measured_by_both_methods() -> None:
    found = dimensions(evaluated(settings=config("model.dimensions=[8, 2]")))
    assert shape(found) == [
        (2, "truncation", 8),
        (2, "pca", 8),
        (8, "truncation", 32),
        (8, "pca", 32),
        (12, "truncation", 48),
    ]
    queries = evaluated().queries
    cut = dataclasses.replace(queries, vectors=queries.vectors[:, :8])
    assert found[2] | measure_queries(cut, cut, same_table=True).means() == found[2]
    train = TABLE.select(TABLE.attributes["split"] == "train")
    turned = PCA(8).fit(normalize(train.vectors)).transform(normalize(queries.vectors))
    turned_queries = dataclasses.replace(queries, vectors=turned)
    means = measure_queries(turned_queries, turned_queries, same_table=True).means()
    assert found[3] | means == pytest.approx(found[3])


def test_without_training_items_there_is_no_pca() -> None:
    found = dimensions(evaluated(items({"test": 50}), settings=config("model.dimensions=[4]")))
    assert shape(found) == [(4, "truncation", 16), (12, "truncation", 48)]


def test_many_queries_are_measured_by_some_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimensions_module, "QUERIES", 10)
    full = dimensions(evaluated())[-1]
    whole = evaluated()
    some = sample_rows(whole.queries, 10, 0)
    assert full["queries"] == 10
    assert full | measure_queries(some, whole.queries, same_table=True).means() == full


def test_both_tables_are_among_the_analyses() -> None:
    assert pkgutil.resolve_name(ANALYSES["ablations"]) is ablations
    assert pkgutil.resolve_name(ANALYSES["dimensions"]) is dimensions
