"""A tokenizer and a published CLIP model, as small as they come, for all tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def catalogue_texts() -> tuple[str, ...]:
    """Texts of a catalogue of four items."""
    return ("Red Shirt", "Blue shirt for men", "red dress for women", "Women's blue dress")


@pytest.fixture(scope="session")
def tokenizer(catalogue_texts: tuple[str, ...]) -> Any:
    """Learned from these."""
    from trainer.models.tokenizer import train_tokenizer

    return train_tokenizer(catalogue_texts, 600)


@pytest.fixture(scope="session")
def clip_preset(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a CLIP model of one layer: pictures of 32 pixels and texts of 16 tokens in one space of 8 numbers."""
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import keras
    import keras_hub
    import numpy as np

    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "intermediate_dim": 32}
    pictures = keras_hub.models.CLIPVisionEncoder(patch_size=16, image_shape=(32, 32, 3), **sizes)
    pictures.embedding.position_ids.assign(np.arange(5)[None])
    texts = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=tokenizer.vocabulary_size(), embedding_dim=16, max_sequence_length=16, **sizes
    )
    clip = keras_hub.models.CLIPBackbone(pictures, texts, 8)
    clip.clip_head.logit_scale.assign(3.0)
    folder = tmp_path_factory.mktemp("presets") / "clip"
    clip.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder
