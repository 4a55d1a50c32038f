"""`search`, `embed`, `lookup` and `classify` against the embedded server."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from serving import Client


@pytest.fixture
def server(small_server: Any) -> list[str]:
    return ["--server", small_server.address]


@pytest.fixture
def asked(small_server: Any, photos: list[Path]) -> Any:
    """What the client answers for the photos."""
    with Client(small_server.address) as client:
        return client.search_many(photos, 5)


def test_search_prints_what_the_client_finds(run: Any, server: list[str], photos: list[Path], asked: Any) -> None:
    ran = run("search", *photos, "--k", 5, "--json", *server)
    assert (ran.code, ran.err) == (0, "")
    for line, photo, result in zip(ran.lines, photos, asked, strict=True):
        assert line["photo"] == str(photo)
        assert [match["id"] for match in line["matches"]] == list(result.ids)
        assert np.array_equal(np.array([match["score"] for match in line["matches"]], np.float32), result.scores)
        assert line["matches"][0]["attributes"] == dict(result.matches[0].attributes)
        assert (line["model"], line["version"]) == ("fused_search", 1)
        assert (line["fingerprint"], line["table_fingerprint"]) == ("encoder-a", "table-a")


def test_search_prints_a_table(run: Any, server: list[str], photos: list[Path], asked: Any) -> None:
    ran = run("search", photos[0], "--k", 5, *server)
    title, header, *rows = ran.out.splitlines()
    assert title == f"{photos[0]}: fused_search version 1"
    assert header.split() == ["#", "id", "score", *asked[0].matches[0].attributes]
    assert [row.split()[1] for row in rows[:5]] == list(asked[0].ids)
    assert rows[0].split()[2] == f"{asked[0].scores[0]:.4f}"


def test_filters_admit_any_of_an_attributes_values(run: Any, server: list[str], photos: list[Path]) -> None:
    def genders(*filters: str) -> set[str]:
        given = [part for each in filters for part in ("--filter", each)]
        (line,) = run("search", photos[0], "--k", 20, "--json", *given, *server).lines
        return {match["attributes"]["gender"] for match in line["matches"]}

    assert genders() == {"Women", "Men", "Unisex"}
    assert genders("gender=Women") == {"Women"}
    assert genders("gender=Women", "gender=Men") == {"Women", "Men"}
    assert "no item matches" in run("search", photos[0], "--filter", "gender=x", *server).out


def test_a_photo_from_standard_input(
    run: Any, server: list[str], photos: list[Path], asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photos[1].read_bytes())))
    (line,) = run("search", "-", "--k", 5, "--json", *server).lines
    assert [match["id"] for match in line["matches"]] == list(asked[1].ids)


def test_what_embed_prints_lookup_reads(
    run: Any, server: list[str], photos: list[Path], asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run("embed", *photos, "--json", *server).out
    monkeypatch.setattr(sys, "stdin", io.StringIO(printed))
    (tmp_path / "embeddings.jsonl").write_text(printed)
    for source in ("-", tmp_path / "embeddings.jsonl"):
        lines = run("lookup", source, "--k", 5, "--json", *server).lines
        assert [[match["id"] for match in line["matches"]] for line in lines] == [list(each.ids) for each in asked]
        assert [line["photo"] for line in lines] == [str(photo) for photo in photos]
    other = printed.replace("encoder-a", "encoder-b")
    (tmp_path / "other.jsonl").write_text(other)
    ran = run("lookup", tmp_path / "other.jsonl", *server)
    assert ran.code == 2
    assert "embed pictures and texts anew" in ran.err


def test_what_embed_writes_lookup_reads(
    run: Any, server: list[str], photos: list[Path], asked: Any, tmp_path: Path
) -> None:
    out = tmp_path / "vectors.npy"
    ran = run("embed", *photos, "--out", out, *server)
    assert ran.code == 0
    assert f"{photos[0]}: fused_encoder version 1, 16 numbers: " in ran.out
    assert np.load(out).shape == (2, 16)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npy"]
    ran = run("lookup", out, "--k", 5, *server)
    assert [line.split()[1] for line in ran.out.splitlines()[2:7]] == list(asked[0].ids)
    np.save(tmp_path / "one.npy", np.ones(16))
    (line,) = run("lookup", tmp_path / "one.npy", "--k", 3, "--filter", "gender=Men", "--json", *server).lines
    assert {match["attributes"]["gender"] for match in line["matches"]} == {"Men"}


def test_classify(run: Any, server: list[str], photos: list[Path], small_server: Any) -> None:
    with Client(small_server.address) as client:
        expected = client.classify_many(photos, 3)
    lines = run("classify", *photos, "--k", 3, "--json", *server).lines
    names = [[label["name"] for label in line["labels"]] for line in lines]
    assert names == [[label.name for label in each.labels] for each in expected]
    rows = run("classify", *photos, *server).out.splitlines()[1:]
    assert [row.split()[1] for row in rows] == [each.labels[0].name for each in expected]
    assert rows[0].split()[2] == f"{expected[0].scores[0]:.4f}"


def test_the_grid_shows_the_query_and_its_matches(
    run: Any, server: list[str], photos: list[Path], asked: Any, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shown = asked[0].ids[:2]
    for name, colour in zip(shown, ("#ff0000", "#00ff00"), strict=True):
        Image.new("RGB", (20, 20), colour).save(pictures / f"{name}.png")
    (pictures / f"{asked[0].ids[2]}.jpg").write_bytes(b"broken")
    out = tmp_path / "grid.png"
    ran = run("search", *photos, "--k", 5, "--show", out, "--pictures", pictures, *server)
    assert ran.code == 0
    found = {*asked[0].ids, *asked[1].ids}
    without = len(found - {*asked[0].ids[:3]})
    assert ran.out.splitlines()[-1] == f"{out} ({without} of {len(found)} items have no picture there)"
    with Image.open(out) as grid:
        tile = grid.width // 6
        row = grid.height // 2
        centres = [grid.getpixel((tile * place + tile // 2, row // 2 - 10)) for place in (1, 2)]
        assert centres == [(255, 0, 0), (0, 255, 0)]
        grey = grid.getpixel((tile * 3 + 20, 20))
        assert grey == grid.getpixel((tile * 4 + 20, 20)) == (228, 228, 228)
    items = tmp_path / "items.parquet"
    paths = [str(pictures / f"{name}.png") for name in shown]
    pq.write_table(pa.table({"id": list(shown), "image_path": paths, "label": ["", ""]}), items)
    again = tmp_path / "again.png"
    ran = run("search", *photos, "--k", 5, "--show", again, "--items", items, *server)
    assert ran.code == 0
    assert again.read_bytes() == out.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.png", "grid.png", "items.parquet", "pictures"]


def test_scores_are_whole_floats(run: Any, server: list[str], photos: list[Path]) -> None:
    """No digits that a float32 does not have."""
    assert max(len(number) for number in _numbers(run("embed", photos[0], "--json", *server).out)) <= 14


def _numbers(line: str) -> list[str]:
    found: list[str] = []
    json.loads(line, parse_float=lambda text: found.append(text) or 0.0)
    assert len(found) == 16
    return found
