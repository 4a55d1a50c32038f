"""CLIP's image tower as a backbone: pictures to the space that CLIP shares between pictures and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.config import ClipConfig, ModelConfig
from trainer.errors import InputError
from trainer.models.clip_preset import load_clip_preset
from trainer.models.preprocessing import Coarsening

if TYPE_CHECKING:
    from keras_hub.models import CLIPVisionEncoder

__all__ = ["ClipTower", "build_clip"]

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels, from 0 to 1, that CLIP was trained on, by channel. Source: https://github.com/openai/CLIP"""


@keras.saving.register_keras_serializable("shoppin")
class ClipTower(keras.layers.Layer):
    """CLIP's vision transformer and the projection of its class token.

    Args:
        encoder: of keras-hub.
        projection_dim: P.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        images: float `[B, S, S, 3]`, normalised, of the encoder's size.

    Returns:
        float32 `[B, P]`, not of unit length.
    """

    def __init__(self, encoder: CLIPVisionEncoder, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.projection_dim = projection_dim
        self.projection = keras.layers.Dense(projection_dim, use_bias=False, dtype="float32", name="projection")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.projection.build((None, self.encoder.hidden_dim))
        super().build(input_shape)

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.projection(self.encoder({"images": images}, training=training)[:, 0])

    def compute_output_spec(self, images: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor((images.shape[0], self.projection_dim), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {**super().get_config(), "encoder": encoder, "projection_dim": self.projection_dim}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClipTower:
        import keras_hub  # noqa: F401  (registers the encoder's class)

        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})


def build_clip(model: ModelConfig) -> keras.Model:
    """CLIP's own image tower with its preprocessing, as a model that can be fine-tuned.

    Args:
        model: see `ClipConfig`; pictures are of its `image_size`, and `coarsened_to` is heeded.

    Returns:
        A model from uint8 `[B, image_size, image_size, 3]` to float32 `[B, P]`, the shared space: P is
        `clip.projection_dim`, or the preset's.

    Raises:
        InputError: the preset cannot be had, or expects pictures of another size; or the size from scratch is no
            multiple of the patches'.

    Paper: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    https://arxiv.org/abs/2103.00020
    """
    size, config = model.image_size, model.clip
    tower = _from_scratch(config, size) if config.preset is None else _from_preset(config.preset, size)
    images = keras.Input((size, size, 3), dtype="uint8", name="image")
    seen = images
    if model.coarsened_to is not None:
        seen = Coarsening(model.coarsened_to, dtype="float32", name="coarsening")(images)
    pixels = keras.layers.Normalization(
        mean=[255.0 * value for value in _MEAN],
        variance=[(255.0 * value) ** 2 for value in _DEVIATION],
        dtype="float32",
        name="preprocessing",
    )(seen)
    return keras.Model(images, tower(pixels), name="clip")


def _from_scratch(config: ClipConfig, size: int) -> ClipTower:
    from keras_hub.models import CLIPVisionEncoder

    if size % config.patch_size:
        raise InputError(
            f"model.clip.patch_size: expected a divisor of model.image_size ({size}), received {config.patch_size}"
        )
    encoder = CLIPVisionEncoder(
        patch_size=config.patch_size,
        hidden_dim=config.width,
        num_layers=config.layers,
        num_heads=config.heads,
        intermediate_dim=4 * config.width,
        image_shape=(size, size, 3),
        name="encoder",
    )
    # keras-hub leaves them 0, to be loaded with a preset's weights: all patches would have one place.
    places = encoder.embedding.position_ids
    places.assign(np.arange(places.shape[1])[None])
    return ClipTower(encoder, config.projection_dim, name="tower")


def _from_preset(preset: str, size: int) -> ClipTower:
    from keras_hub.models import CLIPBackbone

    key = "model.clip.preset"
    clip = load_clip_preset(CLIPBackbone, preset, key)
    encoder = clip.vision_encoder
    if tuple(encoder.image_shape) != (size, size, 3):
        raise InputError(
            f"{key}: {preset!r} takes pictures of {encoder.image_shape[0]} pixels a side, received {size}; set "
            "model.image_size to what it takes"
        )
    tower = ClipTower(encoder, clip.projection_dim, name="tower")
    tower.build((None, size, size, 3))
    tower.projection.set_weights(clip.vision_projection.get_weights())
    return tower
