"""What `evaluate` writes about each model beside its metrics."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.config import Config
from trainer.evaluation import analyses
from trainer.evaluation.analyses import ANALYSES, analysis_path, write_analyses
from trainer.jobs import evaluate
from trainer.retrieval import EmbeddingTable, measure_queries


def table(items: int = 90, **more: object) -> EmbeddingTable:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, items)
    vectors = np.eye(3)[labels] + 0.4 * draw.normal(size=(items, 3))
    names = np.array(["a", "b", "c"])
    attributes = {
        "label": names[labels],
        "split": np.repeat(["train", "validation", "test"], items // 3),
        "predicted_label": names[vectors.argmax(axis=1)],
        "confidence": np.full(items, 0.9),
        "image_path": np.array([f"/{at}.jpg" for at in range(items)]),
        "gender": np.where(np.arange(items) % 2, "Men", "Women"),
        **more,
    }
    return EmbeddingTable(np.array([f"item {at}" for at in range(items)]), vectors, attributes)


def first(_: object) -> list[int]:
    return [1]


def nothing(_: object) -> None:
    return None


def test_what_is_asked_for_is_written_and_the_rest_is_gone(evaluated, monkeypatch):
    here = SimpleNamespace(first=first, nothing=nothing)
    monkeypatch.setitem(sys.modules, "some_analyses", here)
    monkeypatch.setattr(analyses, "ANALYSES", {"one": "some_analyses:first", "two": "some_analyses:nothing"})
    model = evaluated(table())
    stale = analysis_path(model.workdir, "resnet50", "two")
    stale.parent.mkdir(parents=True)
    stale.write_text("[]", encoding="utf-8")
    path = analysis_path(model.workdir, "resnet50", "one")
    assert path == model.workdir / "evaluation" / "resnet50" / "one.json"
    assert write_analyses(model) == (path,)
    assert json.loads(path.read_text(encoding="utf-8")) == [1]
    assert not stale.exists()


def test_every_analysis_answers_json(evaluated):
    model = evaluated(table(), {"slices": ["gender"], "ablations": "none"})
    written = {path.stem for path in write_analyses(model)}
    assert {"per_class", "slices", "curve", "findings"} <= written <= set(ANALYSES)
    for name in written:
        text = analysis_path(model.workdir, "resnet50", name).read_text(encoding="utf-8")
        assert "NaN" not in text
        assert "Infinity" not in text
        assert json.loads(text)


def test_neighbours_are_searched_once_and_leave_the_query_out(evaluated):
    model = evaluated(table())
    assert model.neighbours is model.neighbours
    assert model.neighbours.rows.shape == (30, 29)
    assert not (model.neighbours.rows == np.arange(30)[:, None]).any()
    assert evaluated(table(180)).neighbours.rows.shape == (60, analyses.DEPTH)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The job `evaluate` over a given table, and the rows that it wrote."""

    def run(given: EmbeddingTable, **settings: object) -> list[dict]:
        config = Config.model_validate({"model": {"names": ["resnet50"]}, "evaluate": settings})
        plain = given.select(np.arange(len(given)))
        columns = {name: plain.attributes[name] for name in ("label", "split", "image_path")}
        baseline = EmbeddingTable(plain.ids, plain.vectors, columns)
        tables = [("raw_pixels", lambda: baseline), ("resnet50", lambda *view: given)]
        monkeypatch.setattr(evaluate, "_tables", lambda *_: iter(tables))
        evaluate.run(config, tmp_path)
        return json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))

    return run


def test_a_row_says_how_sure_it_is(job, tmp_path, capsys):
    rows = job(table(), gallery=["split", "train"])
    assert [(row["model"], row["split"], row["gallery"]) for row in rows[4:]] == [
        *(("resnet50", "validation", gallery) for gallery in ("validation", "train")),
        *(("resnet50", "test", gallery) for gallery in ("test", "train")),
    ]
    test = table().select(table().attributes["split"] == "test")
    measured = measure_queries(test, test, same_table=True)
    row = rows[6]
    assert row["macro"] == pytest.approx(measured.macro())
    assert set(row["intervals"]) == {"accuracy", *measured.values}
    for name, (low, high) in row["intervals"].items():
        assert 0 <= low <= row[name] <= high <= 1
    assert set(rows[2]["intervals"]) == set(measured.values)
    assert "±" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == {"resnet50"}
    per_class = json.loads((tmp_path / "evaluation" / "resnet50" / "per_class.json").read_text(encoding="utf-8"))
    assert sum(entry["queries"] for entry in per_class) == len(test)


def test_without_resamples_there_are_no_intervals(job, capsys):
    rows = job(table(), resamples=0)
    assert all("intervals" not in row and "macro" in row for row in rows)
    assert "±" not in capsys.readouterr().out


def test_analyses_go_by_the_own_split_even_where_the_gallery_is_another(job, tmp_path):
    job(table(), gallery=["train"])
    rows = json.loads((tmp_path / "evaluation" / "resnet50" / "per_class.json").read_text(encoding="utf-8"))
    test = table().select(table().attributes["split"] == "test")
    expected = measure_queries(test, test, same_table=True).per_class()
    assert [row["map@r"] for row in rows] == pytest.approx([row["map@r"] for row in expected])


def test_a_lone_query_is_counted_and_leaves_no_hole(job):
    given = table()
    labels = given.labels.copy()
    labels[-1] = "rare"
    rows = job(EmbeddingTable(given.ids, given.vectors, {**given.attributes, "label": labels}))
    assert rows[-1]["queries_without_match"] == 1
    assert rows[-1]["queries"] == 30
