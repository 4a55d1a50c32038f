"""What is written, of what, and what is said of what is not there."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.config import load_config
from trainer.report import class_charts, write_report
from trainer.report.products import Products
from trainer.report.results import read_run


def products_in(page: str) -> dict[str, dict[str, str]]:
    found = re.search(r'<script type="application/json" id="products">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def charts_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def section(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}"')
    return page[start : page.index("</section>", start)]


def test_every_section_is_there_and_every_picture_once(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = re.findall(r'<section id="([^"]+)"', text)
    assert len(names) == len(set(names)) == 2 * 11 + 3
    assert 'class="missing"' not in text.replace('<noscript><p class="missing">', "")
    products = products_in(text)
    assert text.count("data:image/webp;base64,") == len(products) == 15 + len({"p4", "p10"} - set(products))
    assert all(product["picture"].startswith("data:image/webp") for product in products.values())


def test_the_same_run_gives_the_same_file(page: Path, finished_run: Path, tmp_path: Path) -> None:
    again = write_report(load_config(finished_run / "config.yaml"), finished_run, tmp_path / "again.html")
    assert again.read_bytes() == page.read_bytes()


def test_the_command_needs_only_the_folder_and_leaves_the_run_alone(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in own_run.rglob("*") if path.name != "report.html"}

    (own_run / "report.html").unlink(missing_ok=True)
    before = state()
    assert main(["report", "--workdir", str(own_run)]) == 0
    assert capsys.readouterr().out.startswith(f"report: {own_run / 'report.html'} (")
    assert (own_run / "report.html").is_file()
    assert {**state(), str(own_run): 0} == {**before, str(own_run): 0}


def test_the_command_takes_a_configuration_and_a_place(own_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "page.html"
    command = ["report", "--workdir", str(own_run), "--config", str(own_run / "config.yaml"), "--out", str(out)]
    assert main([*command, "--set", "model.names=[hub_vit]"]) == 0
    text = out.read_text(encoding="utf-8")
    assert 'id="hub_vit-map-section"' in text
    assert 'id="resnet50-map-section"' not in text
    assert '<select id="model"' not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --workdir or --config, received neither"),
        (["--workdir", "/nowhere/at/all"], "expected the folder of a run, /nowhere/at/all is none"),
        (["--workdir", "{empty}"], "expected a configuration at {empty}/config.yaml, there is none"),
        (["--workdir", "{empty}", "--config", "{run}/config.yaml"], "run prepare with this --workdir first"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], said: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"empty": str(tmp_path), "run": str(finished_run)}
    assert main(["report", *(option.format(**places) for option in options)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said.format(**places) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", "[{"),
        ("run.json", "[]"),
        ("evaluation/hub_vit/curve.json", '{"k": 1}'),
        ("evaluation/hub_vit/findings.json", '{"worst_queries": [{"label": "no id"}]}'),
        ("evaluation/hub_vit/no_match.json", '{"threshold": "high"}'),
        ("checkpoints/hub_vit/head/history.csv", ""),
        ("embeddings/hub_vit.parquet", "no table"),
    ],
)
def test_a_damaged_file_is_named(file: str, content: str, own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_run / file).write_text(content, encoding="utf-8")
    assert main(["report", "--workdir", str(own_run)]) == 2
    error = capsys.readouterr().err
    assert str(own_run / file) in error
    assert error.count("\n") == 1


def remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def test_what_is_not_there_is_said_with_the_command_that_makes_it(own_run: Path) -> None:
    remove(own_run, "metrics.json", "embeddings/*", "evaluation/*/*", "checkpoints/*/*/*", "run.json")
    text = write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html").read_text("utf-8")
    jobs = {"robustness-": "robustness", "training": "train", "summary": "run"}
    missing = [name for name in re.findall(r'<section id="([^"]+)"', text) if name != "run"]
    assert len(missing) == 2 * 11 + 2
    for name in missing:
        job = next((job for part, job in jobs.items() if part in f"{name}-"), "evaluate")
        said = section(text, name)
        assert 'class="missing"' in said
        assert f"python -m trainer {job} --config {own_run}/config.yaml --workdir {own_run}" in said


def test_missing_keys_leave_out_their_columns(own_run: Path) -> None:
    rows = [{"model": "resnet50", "hit_rate@1": 0.5}, {"hit_rate@1": None}]
    (own_run / "metrics.json").write_text(json.dumps(rows), encoding="utf-8")
    folder = own_run / "evaluation" / "resnet50"
    (folder / "robustness.json").write_text('[{"corruption": "blur", "hit_rate@1": NaN, "accuracy": 0.5}]', "utf-8")
    (folder / "slices.json").write_text('[{"value": "Men"}]', "utf-8")
    (folder / "findings.json").write_text('{"label_errors": [{"id": "unknown"}]}', "utf-8")
    (folder / "no_match.json").write_text("{}", "utf-8")
    text = write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html").read_text("utf-8")
    heads = re.findall(r'<button type="button">([^<]+)</button>', section(text, "resnet50-robustness"))
    assert heads == ["corruption", "accuracy"]
    assert re.findall(r'<button type="button">([^<]+)</button>', section(text, "resnet50-slices")) == ["value"]
    assert 'class="missing"' in section(text, "resnet50-no-match-section")


def test_pictures_that_are_gone_are_counted_and_the_page_is_written(
    own_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = read_run(load_config(own_run / "config.yaml"), own_run).items
    gone = Path(items.at["p0", "image_path"])
    content = gone.read_bytes()
    gone.unlink()
    try:
        with caplog.at_level(logging.WARNING):
            text = write_report(load_config(own_run / "config.yaml"), own_run, own_run / "page.html").read_text("utf-8")
    finally:
        gone.write_bytes(content)
    assert products_in(text)["p0"]["picture"] == ""
    assert re.search(r"1 of \d+ pictures cannot be read, such as .*0\.jpg", caplog.text)


def test_published_results_are_shown_only_under_their_protocol(own_run: Path) -> None:
    def summary(*changes: str) -> str:
        config = load_config(own_run / "config.yaml", changes)
        text = write_report(config, own_run, own_run / "report.html").read_text("utf-8")
        return text[text.index('<div class="tiles"') : text.index("</section>")]

    assert "published" not in summary()
    with_them = summary("evaluate.published=true")
    assert with_them.count(">published: ") == 4
    assert "published best 0.893" in with_them
    assert "published" not in summary("evaluate.published=true", "evaluate.splits=[validation]")


def test_of_many_pictures_a_sample_is_shown_and_said(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_charts, "MOST_POINTS", 8)
    text = write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html").read_text("utf-8")
    assert "t-SNE of 8 of 15 pictures, drawn by chance" in section(text, "resnet50-map-section")
    maps = [charts_in(text)[f"{model}-map"]["data"] for model in ("resnet50", "hub_vit")]
    shown = [{point[0] for trace in traces for point in trace.get("customdata", ())} for traces in maps]
    assert len(shown[0]) == 8
    assert shown[0] == shown[1]


def test_pca_is_used_where_no_tsne_is_wanted(own_run: Path) -> None:
    config = load_config(own_run / "config.yaml", ["evaluate.tsne=none"])
    text = write_report(config, own_run, own_run / "report.html").read_text("utf-8")
    assert "PCA of 15 pictures" in section(text, "resnet50-map-section")
    assert re.search(
        r"component 1 \(\d+% of variance\)", charts_in(text)["resnet50-map"]["layout"]["xaxis"]["title"]["text"]
    )


def test_a_picture_is_made_small_and_told(own_run: Path) -> None:
    items = read_run(load_config(own_run / "config.yaml"), own_run).items
    products = Products(items)
    products.add("p3", "Tops", items.at["p3", "image_path"])
    products.add("p3", "Tops", items.at["p3", "image_path"])
    made = products.embedded()
    assert list(made) == ["p3"]
    assert made["p3"]["about"] == "Women · Product number 3"
    assert len(made["p3"]["picture"]) < 2_000


def test_the_model_with_the_best_last_main_metric_is_shown_first(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(change: Callable[[list[dict[str, Any]]], None]) -> str:
        rows = json.loads((own_run / "metrics.json").read_text("utf-8"))
        change(rows)
        (own_run / "metrics.json").write_text(json.dumps(rows), "utf-8")
        text = write_report(load_config(own_run / "config.yaml"), own_run, own_run / "report.html").read_text("utf-8")
        found = re.search(r'<option value="(\w+)" selected', text)
        assert found
        return found[1]

    def better_vit(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["model"] == "hub_vit" and row["split"] == "test")["precision@10"] = 0.9

    assert first(lambda rows: None) == "resnet50"
    assert first(better_vit) == "hub_vit"
    assert first(list.clear) == "hub_vit"
