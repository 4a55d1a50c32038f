"""One tiny ViT and what is built on it, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


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


@pytest.fixture(scope="session")
def tiny_model(tiny_vit: Path) -> Callable[[], Any]:
    """Makes a model of three classes over that ViT, the same each time."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras

    from trainer.models.head import build_head, compose
    from trainer.models.hub_vit import build_hub_vit

    def make() -> Any:
        keras.utils.set_random_seed(1)
        return compose({"hub_vit": build_hub_vit(str(tiny_vit), 32)}, build_head({"hub_vit": 16}, 3, 8), 32, "hub_vit")

    return make
