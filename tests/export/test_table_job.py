"""`python -m export table`: a catalogue changed with nothing but an exported encoder."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf
from stand_in_encoder import DIMENSION, HEAD, catalogue_csv, picture, write_csv, write_encoder

import export.release
from export.__main__ import main
from export.catalogue import UNKNOWN_PICTURE, read_catalogue, write_catalogue
from export.exported_encoder import ExportedEncoder
from export.manifest import read_manifest
from export.model_config import labelled_versions
from export.table_rows import TableRows


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exports = tmp_path_factory.mktemp("encoder")
    write_encoder(exports / "fused_encoder" / "1")
    return exports


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fresh process, which one test here and others elsewhere start."""
    monkeypatch.setattr(export.release, "verify_versions", lambda folders, pictures=None: [])


@pytest.fixture(scope="module")
def published(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Exports with a table of five items, and the folder of their pictures."""
    exports, shop = tmp_path_factory.mktemp("exports"), tmp_path_factory.mktemp("shop")
    shutil.copytree(encoder, exports, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.release, "verify_versions", lambda folders, pictures=None: [])
        changes = ("index.candidates=3", "top_k=4", "filterable=[colour]")
        assert table(exports, "--catalogue", catalogue_csv(shop), "--set", *changes) == 0
    yield exports, shop


@pytest.fixture
def shop(published: tuple[Path, Path], tmp_path: Path, unverified: None) -> tuple[Path, Path]:
    for source, name in zip(published, ("exports", "shop"), strict=True):
        shutil.copytree(source, tmp_path / name)
    return tmp_path / "exports", tmp_path / "shop"


def table(exports: Path, *arguments: object) -> int:
    return main(["table", "--out", str(exports), *map(str, arguments)])


def rows_of(folder: Path) -> dict[str, tuple[np.ndarray, dict[str, str], bytes]]:
    """Id to vector, attributes and picture's digest, in the table's order."""
    return {
        name: (chunk.vectors[row], {key: values[row] for key, values in chunk.attributes.items()}, digests[row])
        for chunk, digests in read_catalogue(folder).parts()
        for row, name in enumerate(chunk.ids)
    }


def embedded(exports: Path, *paths: Path) -> np.ndarray:
    contents = tf.constant([path.read_bytes() for path in paths])
    return ExportedEncoder(exports / "fused_encoder" / "1").embed(contents).numpy()


def versions(exports: Path, kind: str = "lookup") -> list[str]:
    return sorted(path.name for path in (exports / f"fused_{kind}").glob("[0-9]*"))


def test_a_new_catalogue_is_embedded_verified_and_found_again(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, shop = tmp_path / "exports", tmp_path / "shop"
    shop.mkdir()
    shutil.copytree(encoder, exports)
    out = tmp_path / "out.parquet"
    assert table(exports, "--catalogue", catalogue_csv(shop), "--embeddings", out, "--set", "top_k=4") == 0
    said = capsys.readouterr().out
    assert "added 5, replaced 0, removed 0; 5 pictures embedded; 5 items" in said
    assert "golden requests" in said and f"published {exports}/fused_search/2" in said
    assert "5 of 5 queries with the identical 5 ids" in said or "5 of 5 queries with the identical 4 ids" in said
    pictures = [shop / f"{n}.png" for n in range(5)]
    search = tf.saved_model.load(str(exports / "fused_search" / "2"))
    answer = search.signatures["search_images"](image_bytes=tf.constant([path.read_bytes() for path in pictures]))
    assert answer["ids"].numpy()[:, 0].tolist() == [b"p0", b"p1", b"p2", b"p3", b"p4"]
    assert answer["ids"].shape == (5, 4)
    assert answer["colour"].numpy()[:, 0].tolist() == [b"red", b"green", b"blue", b"red", b"green"]
    assert answer["fingerprint"].numpy()[0] == b"abc"
    rows = TableRows.from_parquet(out, ["label", "colour"])
    (chunk,) = rows.chunks()
    np.testing.assert_allclose(chunk.vectors, embedded(exports, *pictures), atol=1e-6)
    manifest = read_manifest(exports / "fused_search" / "2")
    assert (manifest.item_count, manifest.top_k, manifest.table_fingerprint) == (5, 4, rows.fingerprint())
    assert not (exports / ".table-fused" / "vectors").exists()


def test_items_are_added_replaced_and_removed(
    shop: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, pictures = shop
    former = rows_of(exports / "fused_lookup" / "2")
    new, other = picture(pictures, "new.png", 50), picture(pictures, "other.png", 51)
    add = write_csv(tmp_path / "a.csv", HEAD, ["n", new, "hat", "red"], ["m", "0.png", "hat", "green"])
    partly = write_csv(tmp_path / "r.csv", ["id", "image_path", "colour"], ["p1", other, "black"], ["p3", "", "grey"])
    remove = write_csv(tmp_path / "d.csv", ["id"], ["p2"])
    assert table(exports, "--add", add, "--replace", partly, "--remove", remove, "--pictures", pictures) == 0
    assert "added 2, replaced 2, removed 1; 2 pictures embedded; 6 items" in capsys.readouterr().out
    rows = rows_of(exports / "fused_lookup" / "3")
    assert list(rows) == ["p0", "p1", "p3", "p4", "n", "m"]
    assert [rows[name][1]["colour"] for name in rows] == ["red", "black", "grey", "green", "red", "green"]
    assert [rows[name][1]["label"] for name in rows] == ["shirt", "shoe", "shoe", "shirt", "hat", "hat"]
    for name in ("p0", "p3", "p4"):
        np.testing.assert_array_equal(rows[name][0], former[name][0])
        assert rows[name][2] == former[name][2]
    np.testing.assert_array_equal(rows["m"][0], former["p0"][0])
    fresh = embedded(exports, pictures / new, pictures / other)
    np.testing.assert_allclose([rows["n"][0], rows["p1"][0]], fresh, atol=1e-6)
    assert rows["p1"][2] != former["p1"][2]


def test_what_is_only_kept_beside_the_table_is_published_too(shop: tuple[Path, Path], tmp_path: Path) -> None:
    exports, _ = shop
    change = write_csv(tmp_path / "r.csv", ["id", "colour"], ["p1", "mauve"])
    assert table(exports, "--set", "attributes=[label]", "filterable=[label]") == 0
    assert table(exports, "--replace", change) == 0
    assert versions(exports)[-1] == "4"
    assert rows_of(exports / "fused_lookup" / "4")["p1"][1]["colour"] == "mauve"
    assert table(exports, "--replace", change) == 0
    assert versions(exports)[-1] == "4"


def test_settings_stay_unless_told(shop: tuple[Path, Path], tmp_path: Path) -> None:
    exports, _ = shop
    first = read_manifest(exports / "fused_lookup" / "2")
    remove = write_csv(tmp_path / "d.csv", ["id"], ["p2"])
    assert table(exports, "--remove", remove) == 0
    second = read_manifest(exports / "fused_lookup" / "3")
    assert (second.top_k, second.index, second.filterable) == (first.top_k, first.index, ("colour",))
    assert second.index["candidates"] == 3
    batching = (exports / "fused_search" / "3" / "batching_params.pbtxt").read_text()
    assert "batch_timeout_micros { value: 7 }" in batching and "allowed_batch_sizes: 3" in batching
    told = ("index.dtype=int8", "top_k=2", "attributes=[label]", "labels=[canary]")
    assert table(exports, "--keep", 1, "--set", *told) == 0
    third = read_manifest(exports / "fused_lookup" / "4")
    assert (third.top_k, third.precision, third.attributes, third.filterable) == (2, "int8", ("label",), ("label",))
    assert read_manifest(exports / "fused_search" / "4").precision == "float32"
    assert labelled_versions(exports)["fused_search"] == {"canary": 4}
    assert versions(exports) == versions(exports, "search") == ["4"]
    assert versions(exports, "encoder") == ["1"]
    assert "colour" in rows_of(exports / "fused_lookup" / "4")["p0"][1]  # may be served again


def test_a_catalogue_anew_embeds_only_what_is_new(shop: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    exports, pictures = shop
    file = catalogue_csv(pictures)
    assert table(exports, "--catalogue", file) == 0
    assert f"nothing has changed since {exports}/fused_lookup/2; nothing was published" in capsys.readouterr().out
    assert versions(exports) == ["2"]
    picture(pictures, "1.png", 77)
    assert table(exports, "--catalogue", file) == 0
    assert "; 1 pictures embedded; 5 items" in capsys.readouterr().out
    assert versions(exports) == ["2", "3"]


def test_pictures_that_cannot_be_used(
    shop: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, pictures = shop
    former = rows_of(exports / "fused_lookup" / "2")
    (pictures / "torn.png").write_bytes((pictures / "0.png").read_bytes()[:80])
    new = [[f"n{n}", picture(pictures, f"n{n}.png", 100 + n), "hat", "red"] for n in range(3)]
    add = write_csv(tmp_path / "a.csv", HEAD, *new, ["torn", "torn.png", "hat", "red"], ["gone", "no.png", "hat", ""])
    replace = write_csv(tmp_path / "r.csv", ["id", "image_path", "colour"], ["p0", "torn.png", "black"])
    changes = ("--add", add, "--replace", replace, "--pictures", pictures)
    assert table(exports, *changes) == 2
    captured = capsys.readouterr()
    assert "error: 40.0% of the pictures (2 of 5) cannot be used, most often: truncated (2)" in captured.err
    assert versions(exports) == ["2"]
    assert table(exports, *changes, "--max-rejected-share", 0.5) == 0
    assert "3 pictures cannot be used (2 truncated, 1 missing)" in capsys.readouterr().out
    rows = rows_of(exports / "fused_lookup" / "3")
    assert list(rows) == [*former, "n0", "n1", "n2"]
    assert rows["p0"][1]["colour"] == "red"
    with (exports / ".table-fused" / "rejected.csv").open(encoding="utf-8") as stream:
        rejected = {row["id"]: row["reason"] for row in csv.DictReader(stream)}
    assert rejected == {"torn": "truncated", "gone": "missing", "p0": "truncated"}
    nowhere = write_csv(tmp_path / "b.csv", HEAD, ["x", "no.png", "hat", ""])
    assert table(exports, "--add", nowhere) == 2
    assert "expected the pictures, none of 1 is there" in capsys.readouterr().err


def test_an_interrupted_command_goes_on_where_it_was(
    encoder: Path, tmp_path: Path, unverified: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, shop = tmp_path / "exports", tmp_path / "shop"
    shop.mkdir()
    shutil.copytree(encoder, exports)
    arguments = ("--catalogue", catalogue_csv(shop, 7), "--batch-size", 2)
    embed, calls = ExportedEncoder.embed_contents, []

    def embed_twice(self: ExportedEncoder, contents: Sequence[bytes]) -> Any:
        calls.append(len(contents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(self, contents)

    with monkeypatch.context() as patch:
        patch.setattr(ExportedEncoder, "embed_contents", embed_twice)
        assert table(exports, *arguments) == 130
    assert versions(exports) == []
    assert table(exports, *arguments) == 0
    assert "added 7, replaced 0, removed 0; 3 pictures embedded; 7 items" in capsys.readouterr().out
    vectors = [row[0] for row in rows_of(exports / "fused_lookup" / "2").values()]
    np.testing.assert_allclose(vectors, embedded(exports, *(shop / f"{n}.png" for n in range(7))), atol=1e-6)


def test_embeddings_of_the_present_table(
    shop: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, _ = shop
    assert table(exports, "--embeddings", tmp_path / "out.parquet") == 0
    assert capsys.readouterr().out == f"wrote 5 embeddings to {tmp_path}/out.parquet\n"
    (chunk,) = TableRows.from_parquet(tmp_path / "out.parquet", ["colour"]).chunks()
    assert chunk.ids.tolist() == ["p0", "p1", "p2", "p3", "p4"]
    assert versions(exports) == ["2"]


def test_a_table_may_become_empty_and_be_filled_again(shop: tuple[Path, Path], tmp_path: Path) -> None:
    exports, pictures = shop
    remove = write_csv(tmp_path / "d.csv", ["id"], *([f"p{n}"] for n in range(5)))
    assert table(exports, "--remove", remove) == 0
    assert read_manifest(exports / "fused_lookup" / "3").item_count == 0
    add = write_csv(tmp_path / "a.csv", HEAD, ["p9", "0.png", "hat", "red"])
    assert table(exports, "--add", add, "--pictures", pictures) == 0
    assert list(rows_of(exports / "fused_lookup" / "4")) == ["p9"]


@pytest.mark.parametrize(
    ("option", "lines", "said"),
    [
        (
            "--add",
            [HEAD, ["p1", "0.png", "", ""]],
            "it has 1 of them, such as 'p1' in line 2; give those with --replace",
        ),
        (
            "--replace",
            [["id", "colour"], ["x", "red"]],
            "it lacks 1 of them, such as 'x' in line 2; give those with --add",
        ),
        ("--remove", [["id"], ["p1"], ["x"]], "it lacks 1 of them, such as 'x' in line 3; leave those out"),
        (
            "--remove",
            [["id"], ["p1"], ["p1"]],
            "line 3: expected every id once, received 'p1' again, which is in line 2",
        ),
        ("--remove", [["name"], ["p1"]], "expected the columns id, received name"),
        ("--add", [["id", "label"], ["x", "hat"]], "expected the columns id, image_path, received id, label"),
        ("--add", [HEAD, ["x", "", "", ""]], "line 2: expected an image_path, received none"),
        ("--add", [HEAD, ["", "0.png", "", ""]], "line 2: expected an id, received none"),
        ("--add", [HEAD, ["x", "0.png", "a", "b", "c"]], "line 2: expected 4 fields as in the header, received 5"),
        ("--add", [[*HEAD, "vector"]], "expected no column vector, which is where embeddings are kept"),
        ("--add", [["id", "id"]], "expected a header line with names that differ"),
    ],
)
def test_what_a_file_cannot_ask_for_is_said_in_one_line(
    option: str,
    lines: list[list[str]],
    said: str,
    shop: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert table(shop[0], option, write_csv(tmp_path / "file.csv", *lines)) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ") and said in captured and captured.count("\n") == 1
    assert versions(shop[0]) == ["2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected one of --add, --replace, --remove, --catalogue, --set or --embeddings"),
        (["--catalogue", "a.csv", "--add", "b.csv"], "--catalogue: expected alone"),
        (["--set", "precision=bfloat16"], "--set precision: expected one of attributes, batching"),
        (["--set", "attributes=[size]"], "attributes: expected columns of the table or of the files"),
        (["--remove", "none.csv"], "expected a readable CSV at none.csv: No such file"),
        (["--model", "other", "--remove", "a.csv"], "expected an exported encoder of other below"),
        (["--remove", "a.csv", "--pictures", "nowhere"], "--pictures: expected a folder"),
    ],
)
def test_options_that_cannot_be_meant(
    arguments: list[str], said: str, shop: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert table(shop[0], *arguments) == 2
    captured = capsys.readouterr().err
    assert said in captured and captured.count("\n") == 1


def test_the_table_of_another_encoder_is_embedded_anew(
    shop: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports, pictures = shop
    write_encoder(exports / "fused_encoder" / "3", fingerprint="def")
    remove = write_csv(tmp_path / "d.csv", ["id"], ["p2"])
    assert table(exports, "--remove", remove) == 2
    assert "embed the whole catalogue anew with --catalogue" in capsys.readouterr().err
    assert table(exports, "--catalogue", catalogue_csv(pictures)) == 0
    assert "; 5 pictures embedded; 5 items" in capsys.readouterr().out
    assert read_manifest(exports / "fused_search" / "4").fingerprint == "def"


def test_spoilt_pictures_do_not_spoil_their_batch(encoder: Path, tmp_path: Path) -> None:
    loaded = ExportedEncoder(encoder / "fused_encoder" / "1")
    good = (tmp_path / picture(tmp_path, "a.png", 1)).read_bytes()
    vectors, spoilt = loaded.embed_contents([good, b"no picture", good])
    assert spoilt == [1]
    np.testing.assert_allclose(vectors[[0, 2]], loaded.embed(tf.constant([good, good])).numpy(), atol=1e-6)
    assert loaded.embed_contents([])[0].shape == (0, DIMENSION)


def test_a_run_leaves_a_catalogue_that_can_be_changed(tmp_path: Path) -> None:
    rows = TableRows.from_arrays(["a", "b"], np.eye(2, dtype=np.float32), {"label": ["x", "y"]})
    write_catalogue(tmp_path, rows, {"b": "ff" * 32})
    found = rows_of(tmp_path)
    assert (found["a"][2], found["b"][2]) == (UNKNOWN_PICTURE, b"\xff" * 32)
    assert found["b"][1] == {"label": "y"}
