"""`--text` of `search`, `embed` and `load` against the embedded server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving import Client


@pytest.fixture
def server(small_server: Any) -> list[str]:
    return ["--server", small_server.address]


def ids_of(line: Any) -> list[str]:
    return [match["id"] for match in line["matches"]]


def test_search_by_words(run: Any, server: list[str], small_server: Any) -> None:
    with Client(small_server.address) as client:
        expected = client.search_many(texts=["navy shirt", "red shoes"], k=5)
    ran = run("search", "--text", "navy shirt", "--text", "red shoes", "--k", 5, "--json", *server)
    assert (ran.code, ran.err) == (0, "")
    assert [line["text"] for line in ran.lines] == ["navy shirt", "red shoes"]
    assert ["photo" in line for line in ran.lines] == [False, False]
    assert [ids_of(line) for line in ran.lines] == [list(each.ids) for each in expected]
    title, _, *rows = run("search", "--text", "navy shirt", "--k", 5, *server).out.splitlines()
    assert title == '"navy shirt": fused_search version 1'
    assert [row.split()[1] for row in rows[:5]] == list(expected[0].ids)
    (line,) = run("search", "--text", "navy shirt", "--filter", "gender=Men", "--json", *server).lines
    assert {match["attributes"]["gender"] for match in line["matches"]} == {"Men"}


def test_photos_changed_by_words(run: Any, server: list[str], photos: list[Path]) -> None:
    def found(*arguments: object) -> list[list[str]]:
        ran = run("search", *photos, "--k", 5, "--json", *arguments, *server)
        assert ran.code == 0, ran.err
        assert [line["photo"] for line in ran.lines] == [str(photo) for photo in photos]
        return [ids_of(line) for line in ran.lines]

    (words,) = run("search", "--text", "red", "--k", 5, "--json", *server).lines
    assert found("--text", "red", "--weight", 0) == found()
    assert found("--text", "red", "--weight", 1) == [ids_of(words)] * 2
    assert found("--text", "red") == found("--text", "red", "--weight", 0.5) != found("--text", "red", "--weight", 0.1)
    ran = run("search", photos[0], "--text", "red", *server)
    assert ran.out.splitlines()[0] == f'{photos[0]} + "red": fused_search version 1'


def test_embedded_words_can_be_looked_up(run: Any, server: list[str], photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "lines").write_text(run("embed", photos[0], "--text", "navy shirt", "--json", *server).out)
    lines = run("lookup", tmp_path / "lines", "--k", 5, "--json", *server).lines
    assert [line.get("photo") for line in lines] == [str(photos[0]), None]
    assert [line.get("text") for line in lines] == [None, "navy shirt"]
    (searched,) = run("search", "--text", "navy shirt", "--k", 5, "--json", *server).lines
    assert ids_of(lines[1]) == ids_of(searched)
    out = tmp_path / "vectors.npy"
    ran = run("embed", "--text", "navy shirt", "--text", "red", "--out", out, *server)
    assert ran.out.splitlines()[1].startswith('"red": fused_encoder version 1, 16 numbers: ')
    assert np.load(out).shape == (2, 16)


@pytest.mark.parametrize(
    ("ask", "photo"), [("search", False), ("search", True), ("embed", False)], ids=["texts", "both", "embed"]
)
def test_load(run: Any, server: list[str], photos: list[Path], ask: str, photo: bool) -> None:
    asked = [*photos, "--weight", "0.3"] if photo else []
    load = ["--ask", ask, "--requests", 20, "--concurrency", 4, "--json"]
    (report,) = run("load", *asked, "--text", "navy shirt", "--text", "red", *load, *server).lines
    assert (report["ask"], report["answered"], report["errors"]) == (ask, 20, {})


def test_the_grid_shows_the_words(run: Any, server: list[str], photos: list[Path], tmp_path: Path) -> None:
    def drawn(*arguments: object) -> Image.Image:
        ran = run("search", *arguments, "--k", 2, "--show", tmp_path / "grid.png", "--pictures", tmp_path, *server)
        assert ran.code == 0, ran.err
        with Image.open(tmp_path / "grid.png") as grid:
            return grid.convert("L")

    def ink(grid: Image.Image, place: int) -> int:
        """Dark pixels where a tile's picture would be."""
        cropped = np.asarray(grid.crop((place * 176 + 12, 12, place * 176 + 160, 160)))
        return int((cropped < 100).sum())

    short, long = drawn("--text", "navy"), drawn("--text", "navy blue shirt 👕 " * 500)
    assert short.width == long.width == 3 * 176
    assert 20 < ink(short, 0) < 400 < ink(long, 0)
    both = drawn(photos[0], "--text", "navy")
    assert both.width == 4 * 176
    assert ink(both, 1) == ink(short, 0)
