"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def shared_root() -> Path:
    """The folder with the real catalogue and weights, named by SHOPPIN_SHARED; without it such tests are skipped."""
    value = os.environ.get("SHOPPIN_SHARED")
    if not value:
        pytest.skip("SHOPPIN_SHARED does not name a folder with the real catalogue and weights")
    root = Path(value)
    if not (root / "data" / "fashion-products" / "styles.csv").is_file():
        pytest.fail(f"SHOPPIN_SHARED={value} holds no data/fashion-products/styles.csv")
    return root


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ViT of one layer as a reusable SavedModel: pictures of 32 pixels in, 16 features out."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import keras_hub

    from trainer.jobs.hub_vit import write_hub_vit

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        dropout_rate=0.0,
        attention_dropout=0.0,
    )
    folder = tmp_path_factory.mktemp("hub") / "vit"
    write_hub_vit(backbone, folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests are skipped where none is installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra [dev], is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser to look at the page: none of {', '.join(names)} is installed")
    with api.sync_playwright() as playwright:
        # a sandbox cannot be made by root, as whom containers run tests; the camera is one that draws itself
        camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *camera])
        yield started
        started.close()
