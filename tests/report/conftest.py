"""A small run with everything that a report can show, its files written by hand; and a browser to look at the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainer.config import Config, as_yaml, load_config
from trainer.data.items import write_items
from trainer.report import write_report
from trainer.retrieval import EmbeddingTable

LABELS = ("Tops & <b>Tees</b>", "Shoes", "Bags")
SPLITS = ("test", "test", "test", "test", "train", "train", "train", "validation", "validation", "test")
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
MODELS = ("resnet50", "hub_vit")


def run_config(folder: Path, **changes: Any) -> Config:
    """Two models and ten nearest; written to the run's `config.yaml`."""
    path = folder / "config.yaml"
    path.write_text('model: {names: [resnet50, hub_vit], hub_vit: {handle: "none"}}\n', encoding="utf-8")
    config = load_config(path, [f"{key}={value}" for key, value in changes.items()])
    path.write_text(as_yaml(config), encoding="utf-8")
    return config


def write_catalogue(folder: Path, per_label: int = 10) -> pd.DataFrame:
    """`per_label` pictures of each of `LABELS`, the first with a hostile name, as a run's items table."""
    rows = []
    for at in range(len(LABELS) * per_label):
        label, split = at % len(LABELS), SPLITS[at // len(LABELS) % len(SPLITS)]
        path = folder / "pictures" / f"{at}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = [40, 40, 40]
        colour[label] = 120 + at % 100
        Image.new("RGB", (40, 30), tuple(colour)).save(path)
        rows.append(
            {
                "id": f"p{at}",
                "image_path": str(path),
                "label": LABELS[label],
                "split": split,
                "picture_sha256": f"{at:064x}",
                "picture_size": path.stat().st_size,
                "picture_mtime_ns": 0,
                "gender": ("Men", "Women")[at % 2],
                "productDisplayName": HOSTILE if at == 0 else f"Product number {at}",
            }
        )
    items = pd.DataFrame(rows)
    write_items(folder, items)
    return items


def write_embeddings(folder: Path, items: pd.DataFrame, model: str, seed: int) -> EmbeddingTable:
    """Classes apart from each other; the first picture lies among the second class and is taken for it."""
    random = np.random.default_rng(seed)
    classes = items["label"].map({label: at for at, label in enumerate(LABELS)}).to_numpy()
    lies = np.where(np.arange(len(items)) == 0, 1, classes)
    vectors = np.eye(8)[lies] + 0.05 * random.normal(size=(len(items), 8))
    attributes = {name: items[name].to_numpy() for name in ("label", "split", "image_path", "gender")}
    attributes |= {"predicted_label": np.array(LABELS)[lies], "confidence": np.full(len(items), 0.9)}
    table = EmbeddingTable(items["id"].to_numpy(), vectors, attributes)
    table.write_parquet(folder / "embeddings" / f"{model}.parquet")
    return table


def metrics_row(model: str, split: str, accuracy: float) -> dict[str, Any]:
    """A row of `metrics.json`."""
    values = {"accuracy": accuracy, "hit_rate@1": 0.9, "hit_rate@10": 1.0, "precision@1": 0.9, "precision@10": 0.8}
    intervals = {name: [value - 0.05, min(value + 0.05, 1.0)] for name, value in values.items()}
    macro = {"hit_rate@1": 0.88}
    head = {"model": model, "split": split, "gallery": split, "queries": 15, "queries_without_match": 0}
    return {**head, **values, "map@r": None, "macro": macro, "intervals": intervals}


def words_of(items: pd.DataFrame) -> dict[str, Any]:
    """What `words.json` holds."""

    def example(kind: str, text: str, *found: int) -> dict[str, Any]:
        neighbours = [
            {
                **{name: str(items[name][at]) for name in ("id", "label", "image_path")},
                "score": 0.5,
                "values": {"gender": str(items["gender"][at]), "label": str(items["label"][at])},
                "right": at % 2 == 0,
            }
            for at in found
        ]
        return {"kind": kind, "text": text, "matches": 2, "precision": 0.5, "neighbours": neighbours}

    measured = {"precision@1": 0.8, "precision@10": 0.5, "ceiling@1": 1.0, "ceiling@10": 0.6, "by_item@10": 0.7}
    intervals = {"precision@1": [0.7, 0.9], "precision@10": [0.4, 0.6]}
    recall = {"recall@1": 0.2, "recall@10": 0.6, "median_rank": 7, "intervals": {"recall@1": [0.1, 0.3]}}
    return {
        "zero_shot": {
            "labels": 3,
            "prompts": ["{label}"],
            "queries": 15,
            "accuracy": 0.87,
            "accuracy_macro": 0.85,
            "intervals": {"accuracy": [0.8, 0.9]},
            "confused": [{"label": LABELS[0], "predicted": LABELS[1], "count": 2, "share": 0.4}],
        },
        "titles": {
            "attribute": "productDisplayName",
            "queries": 15,
            "gallery": 16,
            "shared": 4,
            "rows": [{"right": "item", **recall}, {"right": "same title", **recall}],
        },
        "queries": [
            {"template": "{gender} {label}", "attribute": name, "queries": 6, **measured, "intervals": intervals}
            for name in ("gender", "label", "(all)")
        ],
        "composed": [
            {"text": text, "attribute": "gender", "weight": weight, "queries": 15, "k": 10}
            | {"label": 1 - weight, "asked": weight, "both": 0.3, "ceiling": 0.9}
            for text in ("{gender}", "{gender} {label}")
            for weight in (0.0, 0.5, 1.0)
        ],
        "examples": [
            example("best", HOSTILE, 0, 3),
            example("worst", "Men's Shoes", 1, 4),
            example("random", "Bags", 1),
        ],
    }


def write_evaluation(folder: Path, items: pd.DataFrame, model: str) -> None:
    """Every file below `evaluation/<model>/`."""

    def item(at: int) -> dict[str, Any]:
        return {name: str(items[name][at]) for name in ("id", "label", "image_path")}

    found = [{**item(at), "score": 0.9 - at / 100} for at in (1, 4, 10)]
    metrics = {"queries": 15, "accuracy": 0.9, "hit_rate@1": 0.8, "precision@10": 0.7}
    intervals = {"hit_rate@1": [0.7, 0.9], "precision@10": [0.6, 0.8]}
    changed = {
        "change": {"hit_rate@1": -0.1, "precision@10": 0.0},
        "change_intervals": {"hit_rate@1": [-0.2, -0.05]},
        "p_value": {"hit_rate@1": 0.0004, "precision@10": 0.5},
    }
    files: dict[str, Any] = {
        "per_class": [{"label": label, **metrics, "precision@10": at / 3} for at, label in enumerate(LABELS)],
        "curve": [{"k": k, "hit_rate": 0.9, "precision": 0.9 / k, "recall": k / 50, "ndcg": None} for k in (1, 2, 3)],
        "slices": [
            {"attribute": "gender", "value": "Men", **metrics, "intervals": intervals},
            {"attribute": "gender", "value": "(other)", "values": 2, **metrics, "intervals": intervals},
        ],
        "findings": {
            "worst_queries": [{**item(0), "precision": 0.0, "neighbours": found}],
            "confused_pairs": [{"label": LABELS[0], "found": LABELS[1], "count": 1, "share": 0.2}],
            "label_errors": [{**item(0), "suggested": LABELS[1], "score": 0.95, "split": "test"}],
        },
        "robustness": [
            {"corruption": "none", "strength": 0, **metrics, "intervals": intervals},
            {"corruption": "low_light", "strength": 1, **metrics, "intervals": intervals, **changed},
        ],
        "dimensions": [
            {"dimension": 4, "method": "truncation", "bytes": 16, "hit_rate@1": 0.8},
            {"dimension": 8, "method": "truncation", "bytes": 32, "hit_rate@1": 0.9},
        ],
        "ablations": [{"method": "plain", "hit_rate@1": 0.8, "milliseconds": 0.5, "bytes": 32}],
        "no_match": {
            "threshold": 0.75,
            "target": "f1",
            "calibrated_on": "validation",
            "on": {"test": {"precision": 0.9, "recall": 0.8}},
            "curve": [{"threshold": t, "precision": t, "recall": 1 - t} for t in (0.5, 0.75, 1.0)],
        },
    }
    files["words"] = words_of(items)
    for name, value in files.items():
        path = folder / "evaluation" / model / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")


def write_run(folder: Path) -> Config:
    """All files of a run that a report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    items = write_catalogue(folder)
    for seed, model in enumerate(MODELS):
        write_embeddings(folder, items, model, seed)
        write_evaluation(folder, items, model)
        history = folder / "checkpoints" / model / "head" / "history.csv"
        history.parent.mkdir(parents=True)
        history.write_text("epoch,loss,val_loss,learning_rate\n1,2.0,2.1,0.001\n2,1.0,1.2,0.0001\n", encoding="utf-8")
    rows = [
        metrics_row(model, split, 0.9 - at / 10) for at, model in enumerate(MODELS) for split in ("validation", "test")
    ]
    (folder / "metrics.json").write_text(json.dumps(rows), encoding="utf-8")
    facts = {"command": ["python", "-m", "trainer", "run"], "seed": 0, "versions": {"numpy": "2.0", "gone": None}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return run_config(folder)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with everything; not to be written to."""
    folder = tmp_path_factory.mktemp("report") / "run"
    write_run(folder)
    return folder


@pytest.fixture(scope="session")
def page(finished_run: Path) -> Path:
    """The report on it."""
    return write_report(load_config(finished_run / "config.yaml"), finished_run, finished_run / "report.html")


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
