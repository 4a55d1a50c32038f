"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

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
