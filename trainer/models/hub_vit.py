"""The hub ViT backbone: any TF2 reusable SavedModel that answers a feature vector."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.models.hub_layer import HubLayer
from trainer.models.preprocessing import Coarsening, ValueRange

__all__ = ["build_hub_vit"]


def build_hub_vit(
    handle: str,
    image_size: int = 224,
    value_range: tuple[float, float] = (0.0, 1.0),
    coarsened_to: int | None = None,
    name: str = "hub_vit",
) -> keras.Model:
    """A hub module with its preprocessing, as a model that can be fine-tuned.

    Args:
        handle: see `HubLayer`.
        image_size: height and width of the pictures in pixels; must be what the module expects.
        value_range: what the module expects pixel values 0 and 255 to become. Default (0, 1).
        coarsened_to: see `Coarsening`; None for pictures as they are.
        name: of the model.

    Returns:
        A model from uint8 `[B, image_size, image_size, 3]` to float32 `[B, F]`, F being the module's.

    Raises:
        InputError: see `HubLayer`.

    Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", https://arxiv.org/abs/2010.11929
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    seen = images if coarsened_to is None else Coarsening(coarsened_to, dtype="float32", name="coarsening")(images)
    pixels = ValueRange(*value_range, dtype="float32", name="preprocessing")(seen)
    return keras.Model(images, HubLayer(handle, name="module")(pixels), name=name)
