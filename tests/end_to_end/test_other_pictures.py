"""A finished run asked with other pictures: its own, spoilt; and those of another catalogue."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

CONFIG = """
data: {{source: demo, root: {root}/catalogue, demo: {{items_per_type: 10, image_size: 32}}, workers: 1}}
model: {{names: [hub_vit], image_size: 32, embedding_dim: 16, hub_vit: {{handle: {vit}}}}}
evaluate:
  tsne: none
  splits: [test]
  resamples: 200
  robustness: {{corruptions: [crop, background]}}
  cross_domain:
    data:
      source: csv
      root: {root}/catalogue
      csv: {{file: {root}/photos.csv}}
      workers: 1
    labels: {root}/labels.csv
    gallery: all
"""

# What a photo shows, by the demo's label. Shoes are mapped to both of their labels, clocks to a wrong one.
PHOTOS = {"Boots": "Shoe", "Heels": "Shoe", "Watches": "Clock", "Handbags": "Unmapped"}
LABELS = "query_label,gallery_label\nShoe,Boots\nShoe,Heels\nClock,Hats\nNobody's,Shirts\n"

# Several commands in one process, since most of the time of a small one goes into importing TensorFlow.
COMMANDS = """
import json, os, sys
from pathlib import Path
from trainer.__main__ import main
for name, *arguments in json.loads(sys.argv[1]):
    if name == "remove":
        [path] = Path(arguments[0]).glob(arguments[1])
        path.unlink()
    elif main([name, *arguments]):
        sys.exit(name)
    times = {str(p): p.stat().st_mtime_ns for p in Path(os.environ["RUN"]).rglob("*") if p.suffix != ".lock"}
    print("written:", json.dumps(times))
"""


class Finished:
    """What the commands left."""

    def __init__(self, root: Path, vit: Path) -> None:
        from trainer.data.demo import draw_catalogue

        self.workdir = root / "run"
        (root / "config.yaml").write_text(CONFIG.format(root=root, vit=vit), encoding="utf-8")
        (root / "labels.csv").write_text(LABELS, encoding="utf-8")
        table = draw_catalogue(root / "catalogue", items_per_type=10, image_size=32, seed=0, workers=1)
        rows = pd.read_csv(table, dtype=str)
        photos = rows[rows["label"].isin(PHOTOS.keys())]
        photos = photos.assign(id="photo" + photos["id"], label=photos["label"].map(PHOTOS))
        # One clock is enough: a catalogue of queries needs no second picture of a label.
        photos = photos[(photos["label"] != "Clock") | ~photos["label"].duplicated()]
        photos[["id", "image_path", "label"]].to_csv(root / "photos.csv", index=False, quoting=csv.QUOTE_ALL)
        self.photos = photos
        common = ["--config", str(root / "config.yaml"), "--workdir", str(self.workdir)]
        commands = [
            *[[name, *common] for name in ("prepare", "train", "evaluate", "robustness")],
            ["remove", str(self.workdir / "robustness" / "hub_vit"), "crop-2-*.parquet"],
            ["robustness", *common],
            ["cross-domain", *common],
            ["cross-domain", *common],
        ]
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            env={"RUN": str(self.workdir), "CUDA_VISIBLE_DEVICES": "-1", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        self.out, self.err = done.stdout, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("written:")]
        self.written = [json.loads(line.partition(":")[2]) for line in lines]

    def json(self, *parts: str) -> Any:
        return json.loads(self.workdir.joinpath(*parts).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_vit: Path) -> Finished:
    return Finished(tmp_path_factory.mktemp("other"), tiny_vit)


def test_clean_queries_score_what_evaluate_says(finished: Finished) -> None:
    clean, *spoilt = finished.json("evaluation", "hub_vit", "robustness.json")
    [evaluated] = finished.json("metrics.json")
    assert (clean["corruption"], clean["strength"], clean["queries"]) == ("none", 0, 24)
    for name in ("accuracy", "hit_rate@1", "precision@10", "map@r", "mrr"):
        assert clean[name] == evaluated[name], name
    assert [(row["corruption"], row["strength"]) for row in spoilt][:2] == [("crop", 1), ("crop", 2)]
    for row in spoilt:
        assert 0 < row["queries"] <= 24
        assert set(row["p_value"]) == set(row["change"])
    assert spoilt[0]["change"]["mrr"] == pytest.approx(spoilt[0]["mrr"] - clean["mrr"])
    assert spoilt[0]["change"]["mrr"] != 0


def test_a_corruption_that_applies_to_some_pictures_is_measured_on_those(finished: Finished) -> None:
    rows = {row["corruption"]: row for row in finished.json("evaluation", "hub_vit", "robustness.json")}
    applied = rows["background"]["queries"] if "background" in rows else 0
    assert 0 < applied < 24
    assert f"background applies to {applied} of 24 pictures" in finished.err


def test_finished_corruptions_are_kept(finished: Finished) -> None:
    first, removed, second = finished.written[3:6]
    kept = [path for path in first if "/robustness/" in path and path.endswith(".parquet")]
    assert len(kept) == 4
    changed = {Path(path).name[:6] for path in kept if first[path] != second[path]}
    assert changed == {"crop-2"}
    assert sum(path in removed for path in kept) == 3


def test_the_sheet_is_drawn(finished: Finished) -> None:
    assert (finished.workdir / "plots" / "robustness.png").is_file()


def test_photos_find_their_own_pictures_and_the_mapping_says_whether_they_are_right(finished: Finished) -> None:
    [row] = finished.json("cross_domain", "metrics.json")
    shoes, unmapped = ((finished.photos["label"] == label).sum() for label in ("Shoe", "Unmapped"))
    assert (row["model"], row["gallery"]) == ("hub_vit", "all")
    assert (row["queries"], row["queries_unmapped"], row["queries_without_match"]) == (shoes + 1, unmapped, 0)
    assert row["queries_in_gallery"] == shoes + 1
    # Every photo is a picture of the gallery: that picture is found first. Right for shoes, wrong for the one clock.
    assert row["hit_rate@1"] == pytest.approx(shoes / (shoes + 1))
    assert row["macro"]["hit_rate@1"] == 0.5
    assert 0.0 <= row["intervals"]["hit_rate@1"][0] < row["intervals"]["hit_rate@1"][1] <= 1.0
    assert f"{unmapped} queries have a label without a row and are left out: Unmapped ({unmapped})" in finished.err
    assert 'no query has the label "Nobody\'s"' in finished.err
    assert f"{shoes + 1} of {shoes + 1} queries are pictures of the gallery" in finished.err


def test_the_embeddings_of_photos_are_those_of_the_same_pictures(finished: Finished) -> None:
    from trainer.retrieval import EmbeddingTable

    photos = EmbeddingTable.read_parquet(finished.workdir / "cross_domain" / "embeddings" / "hub_vit.parquet")
    items = EmbeddingTable.read_parquet(finished.workdir / "embeddings" / "hub_vit.parquet")
    rows = {identity: row for row, identity in enumerate(items.ids.tolist())}
    same = [rows[identity.removeprefix("photo")] for identity in photos.ids.tolist()]
    np.testing.assert_allclose(photos.vectors, items.vectors[same], rtol=1e-4, atol=1e-5)
    [row] = finished.json("cross_domain", "metrics.json")
    predicted = photos.attributes["predicted_label"]
    shoe, clock = photos.labels == "Shoe", photos.labels == "Clock"
    right = (shoe & np.isin(predicted, ["Boots", "Heels"])) | (clock & (predicted == "Hats"))
    assert row["accuracy"] == pytest.approx(right.mean())


def test_a_second_call_extracts_nothing(finished: Finished) -> None:
    first, second = finished.written[6:8]
    features = [path for path in first if "/cross_domain/features/" in path]
    assert features
    assert all(first[path] == second[path] for path in features)
