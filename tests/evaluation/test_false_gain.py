"""A gain that is none shows: shuffled labels score at chance, and a query's duplicate cannot lie across the split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import hypergeom

from trainer.config import Config
from trainer.data.demo import draw_catalogue
from trainer.data.items import read_items
from trainer.jobs import prepare
from trainer.models.head import build_head
from trainer.models.posterior_head import build_posterior_head
from trainer.plots import distribution
from trainer.retrieval import EmbeddingTable, measure_queries
from trainer.training.features import FeatureRows
from trainer.training.head_features import HeadFeatures
from trainer.training.head_start import start_head

SIZES = (180, 150, 120, 75, 45, 30)
WIDTH, TRAIN, KS = 48, 360, (1, 5, 10)


class Features(NamedTuple):
    rows: np.ndarray
    classes: np.ndarray


@pytest.fixture(scope="module")
def features() -> Features:
    """600 items of 6 classes, unevenly spread, that features tell apart about as well as a real backbone's do."""
    random = np.random.default_rng(0)
    classes = random.permutation(np.repeat(np.arange(6), SIZES))
    rows = 1.2 * random.normal(size=(6, WIDTH))[classes] + random.normal(size=(600, WIDTH)) * np.linspace(0.3, 3, WIDTH)
    return Features(rows.astype(np.float32), classes.astype(np.int32))


def table(vectors: np.ndarray, classes: np.ndarray) -> EmbeddingTable:
    ids = np.array([str(row) for row in range(len(classes))])
    return EmbeddingTable(ids, vectors, {"label": np.array([f"class {number}" for number in classes])})


def figures(vectors: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    found = table(vectors, classes)
    means = measure_queries(found, found, KS, same_table=True).means()
    return {name: float(value or 0) for name, value in means.items() if not name.startswith("queries")}


def chance(classes: np.ndarray) -> dict[str, float]:
    """The expected figures of any ranking of the others whose labels are dealt out at random."""
    others = len(classes) - 1
    expected: dict[str, list[float]] = {}
    for size in np.bincount(classes)[classes]:
        right = size - 1
        ranks = np.arange(1, others + 1)
        at_rank = right / others * (1 + (ranks - 1) * (right - 1) / (others - 1)) / ranks  # of rel_i * precision@i
        none_before = hypergeom.pmf(0, others, right, ranks - 1)
        values = {"r_precision": right / others, "map@r": at_rank[:right].mean()}
        values["mrr"] = (none_before * right / np.maximum(others - ranks + 1, right) / ranks).sum()
        for k in KS:
            discounts = 1 / np.log2(np.arange(2, k + 2))
            values |= {f"hit_rate@{k}": 1 - hypergeom.pmf(0, others, right, k), f"precision@{k}": right / others}
            values |= {f"recall@{k}": k / others}
            values |= {f"ndcg@{k}": right / others * discounts.sum() / discounts[:right].sum()}
        for name, value in values.items():
            expected.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in expected.items()}


def assert_chance(found: list[dict[str, float]], expected: dict[str, float], queries: int) -> None:
    """Means of several shuffles lie within four standard errors.

    A value in [0, 1] with mean m varies by m (1 - m) at most; nearest neighbours of each other share their luck, which
    may double it.
    """
    assert found[0].keys() == expected.keys()
    for name, mean in expected.items():
        error = np.sqrt(2 * mean * (1 - mean) / (queries * len(found)))
        assert np.mean([row[name] for row in found]) == pytest.approx(mean, abs=4 * error), name


def test_a_good_embedding_with_shuffled_labels_scores_at_chance(features: Features) -> None:
    expected = chance(features.classes)
    honest = figures(*features)
    assert all(honest[name] > expected[name] + 0.2 for name in ("hit_rate@1", "precision@10", "r_precision", "map@r"))
    random = np.random.default_rng(1)
    shuffled = [figures(features.rows, random.permutation(features.classes)) for _ in range(10)]
    assert_chance(shuffled, expected, len(features.classes))


def trained(
    build: Callable[..., Any], features: Features, classes: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and predicted classes of all items by a head made in closed form of some of them."""
    head = build({"backbone": WIDTH}, 6, 32)
    start_head(
        head,
        HeadFeatures({"backbone": [FeatureRows(features.rows, known)]}, classes[known]),
        6,
        discriminant=True,
    )
    answer = head({"backbone": features.rows})
    return np.asarray(answer["embedding"]), np.asarray(answer["logits"]).argmax(axis=1)


@pytest.mark.parametrize("build", [build_head, build_posterior_head])
def test_a_head_trained_on_shuffled_labels_scores_at_chance(build: Callable[..., Any], features: Features) -> None:
    train, test = np.arange(TRAIN), np.arange(TRAIN, 600)
    embeddings, predicted = trained(build, features, features.classes, train)
    assert (predicted == features.classes)[test].mean() > 0.8
    assert figures(embeddings[test], features.classes[test])["precision@10"] > 0.6
    random = np.random.default_rng(2)
    found, expected, leaked = [], [], []
    for _ in range(4):
        classes = random.permutation(features.classes)
        embeddings, predicted = trained(build, features, classes, train)
        right = predicted == classes
        assert right[train].mean() > 0.35  # it did learn them by heart
        found.append({"accuracy": right[test].mean(), **figures(embeddings[test], classes[test])})
        share = np.bincount(classes[test], minlength=6)[predicted[test]].mean() / len(test)
        expected.append({"accuracy": share, **chance(classes[test])})
        leaked.append((trained(build, features, classes, np.arange(600))[1] == classes)[test].mean())
    mean = {name: float(np.mean([row[name] for row in expected])) for name in expected[0]}
    assert_chance(found, mean, len(test))
    with pytest.raises(AssertionError, match="accuracy"):  # so it would show if test pictures had been learned from
        assert_chance([{**row, "accuracy": value} for row, value in zip(found, leaked, strict=True)], mean, len(test))


COPIES: dict[str, Callable[[Path, Path], object]] = {
    "same file": lambda source, to: to.write_bytes(source.read_bytes()),
    "saved again": lambda source, to: Image.open(source).save(to, quality=50),
    "half the size": lambda source, to: Image.open(source).resize((48, 48)).save(to, quality=90),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A catalogue whose own split has five pictures of each type; of some test pictures it has copies in train."""
    root = tmp_path_factory.mktemp("shop")
    rows = pd.read_csv(draw_catalogue(root, items_per_type=5, image_size=96, workers=1), dtype=str)
    rows["split"] = np.repeat(["train", "train", "train", "validation", "test"], len(rows) // 5)
    rows["copy_of"], rows["kind"] = "", ""
    originals = rows[rows["split"] == "test"].iloc[: 2 * len(COPIES)]
    copies = originals.assign(split="train", copy_of=originals["id"], kind=[*COPIES] * 2)
    copies["id"] = "copy-" + originals["id"]
    copies["image_path"] = "images/" + copies["id"] + ".jpg"
    for kind, path, copy in zip(copies["kind"], originals["image_path"], copies["image_path"], strict=True):
        COPIES[kind](root / path, root / copy)
    rows = pd.concat([rows, copies])
    rows.to_csv(root / "items.csv", index=False)
    return rows.assign(root=str(root))


def sides(shop: pd.DataFrame, workdir: Path, monkeypatch: pytest.MonkeyPatch, seed: int = 0, **data: Any) -> pd.Series:
    """The split of every item, by id, as `prepare` divides them."""
    monkeypatch.setattr(distribution, "plot_distribution", lambda *_, **__: None)
    source = {"source": "csv", "root": shop["root"].iloc[0], "csv": {"split": "split"}, "workers": 1}
    model = {"names": ["resnet50"]}
    prepare.run(Config.model_validate({"seed": seed, "data": {**source, **data}, "model": model}), workdir)
    return read_items(workdir).set_index("id")["split"]


def torn(shop: pd.DataFrame, split: pd.Series) -> list[str]:
    """Kinds of the copies that lie on another side than their original."""
    copies = shop[shop["copy_of"] != ""]
    apart = split[copies["id"]].to_numpy() != split[copies["copy_of"]].to_numpy()
    return sorted(set(copies["kind"][apart]))


def test_a_copy_of_a_test_picture_never_stays_in_train(
    shop: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told(workdir: Path) -> int:
        report = json.loads((workdir / "prepare_report.json").read_text())
        return int(report["near_duplicates"]["groups_across_splits"])

    splits = {"by": "source"}
    split = sides(shop, tmp_path / "on", monkeypatch, splits=splits)
    assert torn(shop, split) == []
    assert (split[shop["id"][shop["copy_of"] != ""]] == "test").all()
    assert told(tmp_path / "on") == 0
    assert "several splits" not in caplog.text
    without = sides(shop, tmp_path / "off", monkeypatch, splits=splits, near_duplicates={"enabled": False})
    assert torn(shop, without) == ["half the size", "saved again"]
    assert told(tmp_path / "off") == 4
    assert "4 groups of near copies have items in several splits" in caplog.text


def test_copies_stay_together_however_the_items_are_divided(
    shop: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def apart(near: bool, seed: int) -> list[str]:
        options = {"near_duplicates": {"enabled": near}}
        return torn(shop, sides(shop, tmp_path / f"{near} {seed}", monkeypatch, seed, **options))

    assert [apart(True, seed) for seed in range(3)] == [[]] * 3
    without = [apart(False, seed) for seed in range(3)]
    assert any(without)
    assert all("same file" not in kinds for kinds in without)
