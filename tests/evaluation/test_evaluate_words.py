"""What the job `evaluate` makes of a model that has learnt words."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trainer.config import Config
from trainer.errors import InputError
from trainer.evaluation import bootstrap_interval
from trainer.evaluation.analyses import analysis_path
from trainer.jobs import evaluate
from trainer.retrieval import EmbeddingTable

LABELS = np.array(["shirt", "shoe", "bag"])


def embed_texts(texts: Sequence[str]) -> np.ndarray:
    """A point for each label; "bag" and "shoe" are told apart by the longer prompts only."""
    points = {"shirt": [1, 0, 0], "shoe": [0, 1, 0], "bag": [0, 1, 0], "a shirt": [1, 0, 0], "a bag": [0, 0, 1]}
    return np.array([points.get(text, [0.0, 1.0, 0.0]) for text in texts], np.float32)


def catalogue(items: int = 90) -> EmbeddingTable:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, items)
    attributes = {
        "label": LABELS[labels],
        "split": np.repeat(["train", "validation", "test"], items // 3),
        "predicted_label": LABELS[np.zeros(items, int)],
        "confidence": np.full(items, 0.5),
        "image_path": np.array([f"/{at}.jpg" for at in range(items)]),
        "title": np.array([f"title {at}" for at in range(items)]),
    }
    vectors = np.eye(3)[labels] + 0.2 * draw.normal(size=(items, 3))
    return EmbeddingTable(np.array([f"item {at}" for at in range(items)]), vectors, attributes)


def config(**settings: Any) -> Config:
    words = {"models": ("resnet50",), "texts": {"title": "title", "prompts": ("{label}", "a {label}")}}
    model = {"names": ["resnet50", "hub_vit"], "hub_vit": {"handle": "none"}}
    return Config.model_validate({"model": model, "words": words, "evaluate": settings})


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Runs the job, whose models all see the same; answers the rows that it wrote."""

    def run(**settings: Any) -> list[dict[str, Any]]:
        tables = [(name, catalogue) for name in ("resnet50", "hub_vit")]
        monkeypatch.setattr(evaluate, "_tables", lambda *_: iter(tables))
        monkeypatch.setattr(
            evaluate, "_embed_texts", lambda config, _, name, __: embed_texts if name == "resnet50" else None
        )
        evaluate.run(config(**settings), tmp_path)
        return json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))

    return run


def test_words_have_rows_of_their_own(job, tmp_path, capsys):
    rows = job(gallery=["split", "train"], resamples=50)
    names = ["resnet50", "resnet50 zero-shot"] * 4 + ["hub_vit"] * 4
    assert [row["model"] for row in rows] == names
    own, words = rows[4], rows[5]
    test = catalogue().select(catalogue().attributes["split"] == "test")
    nearest = LABELS[(test.vectors @ np.array([[1, 0, 0], [0, 1, 0], [0, 0.5**0.5, 0.5**0.5]]).T).argmax(axis=1)]
    right = (nearest == test.labels).astype(float)
    assert 0.7 < words["accuracy"] == pytest.approx(right.mean())
    assert words["intervals"]["accuracy"] == pytest.approx(bootstrap_interval(right, resamples=50))
    assert words["accuracy_macro"] != own["accuracy_macro"]
    told = ("model", "accuracy", "accuracy_macro", "intervals")
    assert {name: value for name, value in words.items() if name not in told} == {
        name: value for name, value in own.items() if name not in told
    }
    assert {**words["intervals"], "accuracy": None} == {**own["intervals"], "accuracy": None}
    assert "resnet50 zero-shot" in capsys.readouterr().out
    assert "tell labels by prompts alone" in (tmp_path / "comparison.md").read_text(encoding="utf-8")
    found = json.loads(analysis_path(tmp_path, "resnet50", "words").read_text(encoding="utf-8"))
    assert found["zero_shot"]["accuracy"] == words["accuracy"]
    assert not analysis_path(tmp_path, "hub_vit", "words").exists()


def test_words_need_no_resamples(job):
    rows = job(resamples=0)
    assert all("intervals" not in row for row in rows)


def checkpoint(path: Path, **record: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("progress.json", json.dumps(record))


PROGRESS = {"key": "the model", "best": [], "history": [], "sums": []}


def test_words_are_of_the_model_that_there_is(tmp_path, monkeypatch):
    encoder = SimpleNamespace(encode=embed_texts)
    monkeypatch.setattr("trainer.models.text_encoder.load_text_encoder", lambda path: encoder)
    folder = tmp_path / "checkpoints" / "resnet50"
    checkpoint(folder / "words.keras", image_model="the model")
    with pytest.raises(InputError, match=r"words for the model .*best\.keras.* run train again"):
        evaluate._embed_texts(config(), tmp_path, "resnet50", catalogue())
    checkpoint(folder / "best.keras", progress=PROGRESS)
    assert evaluate._embed_texts(config(), tmp_path, "resnet50", catalogue()) is embed_texts
    checkpoint(folder / "words.keras", image_model="another")
    with pytest.raises(InputError, match="run train again"):
        evaluate._embed_texts(config(), tmp_path, "resnet50", catalogue())
    assert evaluate._embed_texts(config(), tmp_path, "hub_vit", catalogue()) is None


def test_what_items_lack_is_refused_before_anything_is_loaded(tmp_path):
    plain = catalogue()
    columns = {name: values for name, values in plain.attributes.items() if name != "title"}
    with pytest.raises(InputError, match=r"words\.texts\.title"):
        evaluate._embed_texts(config(), tmp_path, "resnet50", EmbeddingTable(plain.ids, plain.vectors, columns))


def test_words_that_were_never_learnt_are_said(tmp_path):
    with pytest.raises(InputError, match="text encoder"):
        evaluate._embed_texts(config(), tmp_path, "resnet50", catalogue())
