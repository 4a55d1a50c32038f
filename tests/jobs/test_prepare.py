"""From a catalogue to the items table, and all that may be wrong with a catalogue."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainer.config import Config
from trainer.data import picture_checks
from trainer.data.items import FIXED_COLUMNS, SOURCE_PATH, attribute_columns, read_items
from trainer.data.pickles import load_pickle
from trainer.errors import InputError
from trainer.jobs.prepare import REJECTED_FILE, REPORT_FILE, run
from trainer.plots import distribution

LABELS = ("shirts", "shoes", "tops")
PUBLISHED = ["Tshirts", "Shirts", "Watches", "Casual Shoes", "Sports Shoes", "Handbags", "Tops", "Kurtas", "Heels"]
PUBLISHED += ["Wallets"]


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(np.kron(blocks, np.ones((6, 6, 1), np.uint8))).save(path)


@pytest.fixture
def real_plots() -> None:
    """Asks for plots as they are; the other tests do without, which take long."""


@pytest.fixture(autouse=True)
def quick_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def plot(items: pd.DataFrame, path: Path, *, column: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{column}: {len(items)}", encoding="utf-8")

    if "real_plots" not in request.fixturenames:
        monkeypatch.setattr(distribution, "plot_distribution", plot)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalogue of 60 pictures of three labels, all different, as a CSV."""
    root = tmp_path / "shop"
    rows = [f"{number},p/{number}.png,{LABELS[number % 3]},{'red' if number % 2 else ''}" for number in range(60)]
    for number in range(60):
        draw(root / "p" / f"{number}.png", number)
    (root / "items.csv").write_text("\n".join(["id,image_path,label,colour", *rows]) + "\n", encoding="utf-8")
    return root


def config(root: Path | None, seed: int = 0, **data: Any) -> Config:
    return Config.model_validate(
        {
            "seed": seed,
            "data": {"source": "csv", "root": root and str(root), "workers": 1, "max_rejected_share": 0.2, **data},
            "model": {"names": ("resnet50",)},
        }
    )


def prepared(root: Path | None, workdir: Path, **settings: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    run(config(root, **settings), workdir)
    return read_items(workdir), json.loads((workdir / REPORT_FILE).read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def append(root: Path, *lines: str) -> None:
    with open(root / "items.csv", "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def test_a_sound_catalogue(shop: Path, tmp_path: Path, real_plots: None, capsys: pytest.CaptureFixture[str]) -> None:
    items, report = prepared(shop, tmp_path / "run")
    assert items.columns.tolist() == [*FIXED_COLUMNS, SOURCE_PATH, "colour"]
    assert attribute_columns(items) == ["colour"]
    assert items["id"].tolist() == [str(number) for number in range(60)]
    assert items["image_path"].tolist() == [str(shop / "p" / f"{number}.png") for number in range(60)]
    assert items["image_path"].tolist() == items[SOURCE_PATH].tolist()
    first = (shop / "p" / "0.png").stat()
    assert items.loc[0, ["picture_size", "picture_mtime_ns"]].tolist() == [first.st_size, first.st_mtime_ns]
    assert report["splits"] == {"train": 36, "validation": 12, "test": 12}
    assert report["labels"] == {label: {"train": 12, "validation": 4, "test": 4} for label in LABELS}
    assert report["rows_read"] == report["usable"] == 60
    assert report["near_duplicates"]["groups"] == report["near_duplicates"]["items_moved"] == 0
    assert report["seconds"] > 0
    assert load_pickle(tmp_path / "run" / "items.pkl").equals(items)
    assert (tmp_path / "run" / REJECTED_FILE).read_text(encoding="utf-8") == "id,image_path,label,reason\n"
    plots = sorted(path.name for path in (tmp_path / "run" / "plots").iterdir())
    assert plots == ["distribution_colour.png", "distribution_label.png", "distribution_split.png"]
    assert "usable                  60  of 3 labels" in capsys.readouterr().out


def test_the_seed_decides_the_split_and_nothing_else(shop: Path, tmp_path: Path) -> None:
    items = [prepared(shop, tmp_path / str(n), seed=n)[0] for n in (0, 0, 1)]
    assert items[0].equals(items[1])
    assert not items[0].equals(items[2])
    assert items[0].drop(columns="split").equals(items[2].drop(columns="split"))
    assert prepared(shop, tmp_path / "x", seed=1, splits={"seed": 0})[0].equals(items[0])


def test_a_second_run_opens_and_writes_nothing(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepared(shop, tmp_path / "run")
    before = contents(tmp_path / "run")
    rejected = str(tmp_path / "run" / REJECTED_FILE)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("opened a picture again")

    monkeypatch.setattr(picture_checks, "check_pictures", forbidden)
    caplog.set_level(logging.INFO)
    prepared(shop, tmp_path / "run")
    after = contents(tmp_path / "run")
    assert after.keys() == before.keys()
    assert after[rejected][0] == before.pop(rejected)[0]
    assert {path: after[path] for path in before} == before
    assert "nothing has changed" in caplog.text


@pytest.mark.parametrize("lost", ["items.parquet", "items.pkl", "plots/distribution_label.png", REPORT_FILE])
def test_a_lost_output_is_written_again(shop: Path, tmp_path: Path, lost: str) -> None:
    prepared(shop, tmp_path / "run")
    before = contents(tmp_path / "run")
    (tmp_path / "run" / lost).unlink()
    prepared(shop, tmp_path / "run")
    path = str(tmp_path / "run" / lost)
    if lost != REPORT_FILE:
        assert contents(tmp_path / "run")[path][0] == before[path][0]
    assert Path(path).is_file()


def test_a_changed_picture_and_a_changed_row_reach_the_items(shop: Path, tmp_path: Path) -> None:
    before, _ = prepared(shop, tmp_path / "run")
    draw(shop / "p" / "7.png", 1000)
    append(shop, "60,p/60.png,tops,blue")
    draw(shop / "p" / "60.png", 60)
    after, _ = prepared(shop, tmp_path / "run")
    assert len(after) == 61
    changed = (after["picture_sha256"][:60] != before["picture_sha256"]).to_numpy()
    assert np.flatnonzero(changed).tolist() == [7]


def test_all_that_may_be_wrong_is_counted_and_the_run_goes_on(shop: Path, tmp_path: Path) -> None:
    pictures = shop / "p"
    (pictures / "0.png").write_bytes(b"")
    (pictures / "1.png").write_bytes((pictures / "1.png").read_bytes()[:80])
    (pictures / "2.png").write_bytes(b"<html>")
    (pictures / "3.png").unlink()
    (pictures / "3.png").mkdir()
    (pictures / "4.png").unlink()
    Image.new("RGB", (200, 201)).save(pictures / "5.png")
    with Image.open(pictures / "6.png") as image:
        image.save(pictures / "6.webp", lossless=True)
    os.replace(pictures / "6.webp", pictures / "6.png")
    append(shop, "7,p/8.png,tops,", ",p/9.png,tops,", "61,p/9.png,,", "62,p/none.png,tops,", "63,,tops,", "64,p/9.png")
    items, report = prepared(shop, tmp_path / "run", max_pixels=40_000)
    assert {key: report[key] for key in ("rows_read", "duplicate_ids", "empty_ids", "empty_labels")} == {
        "rows_read": 65,
        "duplicate_ids": 1,
        "empty_ids": 1,
        "empty_labels": 1,
    }
    assert report["malformed_lines"] == {"count": 1, "lines": [67]}
    assert report["without_picture"] == 2
    assert report["rejected"] == {
        "empty": 1,
        "not_a_file": 2,
        "not_a_picture": 1,
        "too_many_pixels": 1,
        "truncated": 1,
    }
    assert report["converted"] == {"WEBP RGB": 1}
    assert report["usable"] == len(items) == 54
    rejected = pd.read_csv(tmp_path / "run" / REJECTED_FILE, dtype=str)
    assert rejected["id"].tolist() == ["0", "1", "2", "3", "5", "63"]
    assert rejected["reason"].tolist()[:3] == ["empty", "truncated", "not_a_picture"]
    converted = items[items["image_path"] != items[SOURCE_PATH]]
    assert converted["id"].tolist() == ["6"]
    sha256 = converted["picture_sha256"].iloc[0]
    assert converted["image_path"].iloc[0] == str(tmp_path / "run" / "pictures" / f"{sha256}.png")
    assert converted["picture_size"].iloc[0] == (pictures / "6.png").stat().st_size


def test_too_many_broken_pictures_end_the_run(shop: Path, tmp_path: Path) -> None:
    for number in range(4):
        (shop / "p" / f"{number}.png").write_bytes(b"")
    (shop / "p" / "4.png").write_bytes(b"<html>")
    (shop / "p" / "5.png").unlink()
    with pytest.raises(InputError) as raised:
        prepared(shop, tmp_path / "run", max_rejected_share=0.05)
    message = str(raised.value)
    assert message.startswith("8.5% of the pictures (5 of 59) cannot be used, most often: empty (4)")
    assert "data.max_rejected_share=0.05" in message
    assert str(tmp_path / "run" / REJECTED_FILE) in message
    assert len(pd.read_csv(tmp_path / "run" / REJECTED_FILE)) == 5
    assert not (tmp_path / "run" / "items.parquet").exists()
    prepared(shop, tmp_path / "run", max_rejected_share=0.0848)


def test_no_usable_picture_at_all(shop: Path, tmp_path: Path) -> None:
    for path in (shop / "p").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="all 60 are rejected"):
        prepared(shop, tmp_path / "run", max_rejected_share=1.0)


def test_no_picture_is_there(shop: Path, tmp_path: Path) -> None:
    os.rename(shop / "p", shop / "elsewhere")
    with pytest.raises(InputError, match=r"none of 60 is there; first looked for .*p/0\.png"):
        prepared(shop, tmp_path / "run")


def test_no_rows(shop: Path, tmp_path: Path) -> None:
    (shop / "items.csv").write_text("id,image_path,label\n,a.png,tops\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match="received 1 rows of which none has both, and 1 malformed lines"):
        prepared(shop, tmp_path / "run")


def test_selection_in_its_order(shop: Path, tmp_path: Path) -> None:
    items, report = prepared(shop, tmp_path / "a", selection={"first_rows": 45, "labels": ("tops", "shirts")})
    assert set(items["label"]) == {"tops", "shirts"}
    assert len(items) == report["matching"] == 30
    assert items["id"].astype(int).max() == 44
    sample = {"n": 6, "per_label": True}
    items, report = prepared(shop, tmp_path / "b", selection={"most_frequent": 2, "sample": sample})
    assert items["label"].value_counts().to_dict() == {"shirts": 6, "shoes": 6}
    assert (report["matching"], report["chosen"]) == (60, 12)
    append(shop, "60,p/1.png,rare,", "61,p/2.png,rare,")
    items, report = prepared(shop, tmp_path / "c")
    assert report["left_out_labels"] == {"rare": 2}
    assert len(items) == 60
    with pytest.raises(InputError, match=r"received 'Tops'.*the nearest is 'tops'"):
        prepared(shop, tmp_path / "d", selection={"labels": ("Tops",)})


@pytest.mark.parametrize("enabled", [True, False])
def test_copies_are_on_one_side(shop: Path, tmp_path: Path, enabled: bool) -> None:
    for number in range(0, 30, 3):  # equal files of one label; then pictures saved again, of a known pair each
        (shop / "p" / f"{number}.png").write_bytes((shop / "p" / "0.png").read_bytes())
    for number in range(30, 50, 2):
        with Image.open(shop / "p" / f"{number}.png") as image:
            image.resize((80, 64)).save(shop / "p" / f"{number + 1}.png")
    items, report = prepared(shop, tmp_path / "run", near_duplicates={"enabled": enabled})
    split = dict(zip(items["id"].astype(int), items["split"], strict=True))
    assert len({split[number] for number in range(0, 30, 3)}) == 1
    torn = [number for number in range(30, 50, 2) if split[number] != split[number + 1]]
    assert bool(torn) is not enabled
    counts = report["near_duplicates"]
    assert counts["groups"] == (11 if enabled else 1)
    assert counts["largest_group"] == 10
    assert counts["items_moved"] > 0
    assert counts["groups_with_several_labels"] == (10 if enabled else 0)
    assert report["splits"] == {"train": 36, "validation": 12, "test": 12}


def test_the_sources_split(shop: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(shop / "items.csv", dtype=str, keep_default_na=False)
    rows["set"] = np.repeat(["train", "val", "test"], [36, 12, 12])
    rows.to_csv(shop / "items.csv", index=False)
    (shop / "p" / "0.png").write_bytes((shop / "p" / "59.png").read_bytes())
    items, report = prepared(shop, tmp_path / "run", csv={"split": "set"}, splits={"by": "source"})
    assert report["splits"] == {"train": 35, "validation": 12, "test": 13}
    assert items["split"][0] == "test"
    assert report["near_duplicates"]["items_moved"] == 1


def test_too_few_to_split(shop: Path, tmp_path: Path) -> None:
    append(shop, "60,p/1.png,rare,", "61,p/2.png,rare,")
    with pytest.raises(InputError, match=r"received 2 of 'rare'; raise data\.selection\.min_per_label"):
        prepared(shop, tmp_path / "run", selection={"min_per_label": 1})


def test_an_old_table_of_another_kind_is_replaced(shop: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    for name in ("items.parquet", "items.pkl", REPORT_FILE):
        (run_folder / name).write_bytes(b"[]")
    assert len(prepared(shop, run_folder)[0]) == 60


def test_the_demo_catalogue(tmp_path: Path) -> None:
    demo = {"items_per_type": 5, "image_size": 48}
    items, report = prepared(None, tmp_path / "run", source="demo", demo=demo)
    assert report["usable"] == len(items) == 5 * items["label"].nunique()
    assert {"gender", "colour"} <= set(attribute_columns(items))
    assert report["near_duplicates"]["groups"] == 0


def test_the_published_protocol(shared_root: Path, tmp_path: Path) -> None:
    data = {
        "source": "fashion_products",
        "workers": 2,
        "selection": {"first_rows": 20_000, "labels": PUBLISHED},
    }
    items, report = prepared(shared_root / "data" / "fashion-products", tmp_path / "run", **data)
    assert len(items) == 2630
    assert report["splits"] == {"train": 1578, "validation": 526, "test": 526}
    assert set(items["label"]) == set(PUBLISHED)
    assert report["rejected"] == report["converted"] == {}
    same = items.groupby("picture_sha256")["split"].nunique()
    assert same.max() == 1
    assert report["near_duplicates"]["groups"] >= (items["picture_sha256"].value_counts() > 1).sum() > 0
    share = items.groupby("label")["split"].value_counts(normalize=True).unstack()
    assert np.allclose(share[["train", "validation", "test"]], [0.6, 0.2, 0.2], atol=0.02)
