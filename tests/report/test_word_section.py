"""The section of words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.config import load_config
from trainer.report import write_report
from trainer.report.charts import composed_chart


def section(page: Path, name: str = "resnet50-words") -> str:
    text = page.read_text(encoding="utf-8")
    start = text.index(f'<section id="{name}"')
    return text[start : text.index("</section>", start)]


def test_questions_stand_beside_what_they_find(page: Path) -> None:
    said = section(page)
    assert re.findall(r"<h3>([^<]+)</h3>", said) == ["By chance, in words", "Worst, in words", "Best, in words"]
    assert '<p class="words">Men&#39;s Shoes</p>' in said
    assert "<script" not in said
    assert "&lt;/script&gt;&lt;script&gt;window.hacked = 1" in said
    grid = said[said.index("Best, in words") :]
    assert grid.count('class="picture right"') == 1
    assert grid.count('class="picture wrong"') == 1
    assert '<span class="line">Men</span>' in grid


def test_tables_tell_all_that_was_measured(page: Path) -> None:
    said = section(page)
    captions = re.findall(r"<caption[^>]*><span>([^<]+)</span>", said)
    assert captions == [
        "“{gender} {label}”, for all values there are: what is right",
        "Products by productDisplayName, among 16 pictures; 4 of the titles name another product, too",
        "Labels told by words, out of 3",
        "Labels that words confuse",
        "A picture and another value in words: shares of the 10 nearest",
    ]
    heads = [re.findall(r'<button type="button">([^<]+)</button>', table) for table in said.split("<table>")[1:]]
    assert heads == [
        ["attribute", "queries", "precision@1", "precision@10", "ceiling@10", "by item@10"],
        ["right is", "titles", "median rank", "recall@1", "recall@10"],
        ["told by", "pictures", "accuracy", "accuracy, macro"],
        ["label", "told by words", "pictures", "share"],
        ["words", "weight", "queries", "label", "asked", "both", "ceiling"],
    ]
    told = said[said.index("Labels told by words") : said.index("Labels that words confuse")]
    assert [told.count(number) for number in (">0.870<", ">0.850<", "0.800–0.900")] == [1, 1, 1]
    assert told.count(">the classifier<") == 1
    assert 'data-chart="resnet50-composed"' in said


def test_a_line_for_each_form_of_words() -> None:
    rows: list[dict[str, Any]] = [
        {"text": text, "weight": weight, "label": 0.5, "asked": weight, "both": None}
        for text in ("{a}", "{a} {b}")
        for weight in (1.0, 0.0)
    ]
    chart = composed_chart("m", rows)
    assert chart is not None
    lines = chart.figure["data"]
    assert [line["name"] for line in lines] == [
        f"{name}, {text}" for name in ("label", "asked", "both") for text in ("{a}", "{a} {b}")
    ]
    assert list(lines[2]["x"]) == list(lines[2]["y"]) == [0.0, 1.0]
    assert composed_chart("m", rows[:1]) is None


def test_little_is_said_as_little(own_run: Path) -> None:
    path = own_run / "evaluation" / "resnet50" / "words.json"
    path.write_text(json.dumps({"titles": None, "queries": [{"template": "{label}", "precision@x": 1}]}), "utf-8")
    said = section(write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html"))
    assert "“{label}”" in said
    path.unlink()
    said = section(write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html"))
    assert "has learnt no words" in said


@pytest.mark.parametrize("damaged", ["[]", '{"examples": 3}', '{"zero_shot": {"confused": 1}}'])
def test_a_damaged_file_is_named(damaged: str, own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_run / "evaluation" / "resnet50" / "words.json"
    path.write_text(damaged, encoding="utf-8")
    assert main(["report", "--workdir", str(own_run)]) == 2
    assert str(path) in capsys.readouterr().err
