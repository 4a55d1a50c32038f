"""The embeddings of a run's items, of the pictures as they are and mirrored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from trainer.config import load_config
from trainer.data.freshness import with_true_hashes
from trainer.training.checkpoint import HEAD_FILE, MODEL_FILE, save_checkpoint
from trainer.training.encoding import embedding_table
from trainer.training.features import MIRRORED, FeatureStores, backbone_digest, extraction_environment
from trainer.training.run_context import RunContext
from trainer.training.strategy import build_strategy

LABELS = ["boots", "hats", "shirts"]


def pictures(folder: Path, mirrored: bool) -> pd.DataFrame:
    random = np.random.default_rng(0)
    folder.mkdir()
    rows = []
    for number in range(6):
        picture = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        (ImageOps.mirror(picture) if mirrored else picture).save(folder / f"{number}.png")
        rows.append({"id": str(number), "image_path": str(folder / f"{number}.png"), "label": LABELS[number % 3]})
    unknown = {"split": "test", "picture_sha256": "", "picture_size": 0, "picture_mtime_ns": 0}
    return with_true_hashes(pd.DataFrame(rows).assign(**unknown))


@pytest.fixture
def run(tiny_model: Callable[[], Any], tmp_path: Path) -> RunContext:
    model = tiny_model()
    facts = {
        "labels": LABELS,
        "extraction": extraction_environment(),
        "backbones": {"hub_vit": backbone_digest(model.get_layer("hub_vit"))},
    }
    config = load_config(None, ["model.names=[hub_vit]", "model.hub_vit.handle=unused"])
    context = RunContext(config, tmp_path / "run", build_strategy("none"))
    save_checkpoint(model, context.checkpoints("hub_vit") / MODEL_FILE, facts=facts)
    save_checkpoint(model.get_layer("head"), context.checkpoints("hub_vit") / HEAD_FILE, facts=facts)
    vars(context)["items"] = pictures(tmp_path / "plain", mirrored=False)
    return context


def test_the_mirrored_view_is_that_of_mirrored_pictures(
    run: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, mirrored = embedding_table(run, "hub_vit"), embedding_table(run, "hub_vit", MIRRORED)
    vars(run)["items"] = pictures(tmp_path / "mirrored", mirrored=True)
    flipped = embedding_table(run, "hub_vit")
    np.testing.assert_allclose(mirrored.vectors, flipped.vectors, atol=1e-5)
    assert mirrored.attributes["predicted_label"].tolist() == flipped.attributes["predicted_label"].tolist()
    assert np.abs(plain.vectors - mirrored.vectors).max() > 1e-3
    assert plain.ids.tolist() == mirrored.ids.tolist()

    vars(run)["items"] = pictures(tmp_path / "again", mirrored=False)
    monkeypatch.setattr(FeatureStores, "features", lambda *_: pytest.fail("these features are on disk"))
    np.testing.assert_array_equal(embedding_table(run, "hub_vit", MIRRORED).vectors, mirrored.vectors)
    np.testing.assert_array_equal(embedding_table(run, "hub_vit").vectors, plain.vectors)
