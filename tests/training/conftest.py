"""A tiny model for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


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
