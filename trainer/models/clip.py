"""A picture model and the text encoder that fits it, asked together: one unit-length space for pictures and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np

from trainer.config import ModelConfig, WordsConfig
from trainer.errors import InputError
from trainer.models.head import compose
from trainer.models.registry import build_backbone, build_model_head
from trainer.models.text_encoder import TextEncoder, build_text_encoder

if TYPE_CHECKING:
    from keras_hub.tokenizers import CLIPTokenizer

__all__ = ["ClipModel", "generate_clip_embeddings", "initialize_clip_model"]


@dataclass(frozen=True)
class ClipModel:
    """Both halves, made by `initialize_clip_model` or loaded from a finished run, whichever its picture model.

    Attributes:
        pictures: from uint8 `[B, S, S, 3]` to `{"embedding": float32 [B, D]` of unit length, …`}`.
        words: to the same D; `None` for a model that reads none.

    Example:
        >>> folder = "runs/fashion/checkpoints/fused"
        >>> clip = ClipModel(load_model(f"{folder}/best.keras"), load_text_encoder(f"{folder}/words.keras"))
        >>> pictures, texts = generate_clip_embeddings(clip, images, ["navy blue men's shirt", "a red handbag"])
        >>> best = (texts @ pictures.T).argmax(axis=1)  # the picture that fits each text best
    """

    pictures: keras.Model
    words: TextEncoder | None = None


def initialize_clip_model(
    model: ModelConfig, words: WordsConfig | None = None, tokenizer: CLIPTokenizer | None = None, num_classes: int = 1
) -> ClipModel:
    """The model `clip` as configured, as training begins with it: of presets, or with random weights.

    Args:
        model: `clip` says which tower sees the pictures; the other keys count as for any model.
        words: how texts are read; `None` for pictures only.
        tokenizer: of a text encoder from scratch, which needs one: see `train_tokenizer` and `load_tokenizer`.
        num_classes: of the classifier; 1 where only embeddings are wanted.

    Raises:
        InputError: a preset, a handle or weights cannot be had, or do not fit each other.

    Example:
        >>> preset = "clip_vit_base_patch32"
        >>> clip = initialize_clip_model(
        ...     ModelConfig(names=("clip",), clip=ClipConfig(preset=preset)),
        ...     WordsConfig(encoder=TextEncoderConfig(preset=preset, length=77)),
        ... )
        >>> pictures, texts = generate_clip_embeddings(clip, images, ["a photo of a shoe"])
    """
    backbones = {part: build_backbone(part, model) for part in model.parts_of("clip")}
    widths = {part: int(backbone.output_shape[-1]) for part, backbone in backbones.items()}
    head = build_model_head("clip", model, widths, num_classes)
    pictures = compose(backbones, head, model.image_size, "clip")
    if words is None:
        return ClipModel(pictures)
    return ClipModel(pictures, build_text_encoder(words, int(pictures.output["embedding"].shape[-1]), tokenizer))


def generate_clip_embeddings(
    clip: ClipModel, images: np.ndarray | Sequence[np.ndarray], texts: Sequence[str], batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of pictures and of texts; their scalar products are their cosines.

    Args:
        clip: see `ClipModel`.
        images: uint8 `[N, S, S, 3]` of the model's size (see `trainer.data.pipeline.resize_picture`); N may be 0.
        texts: M of them, normalised here; M may be 0.
        batch_size: pictures at a time. Default 64.

    Returns:
        float32 `[N, D]` and `[M, D]`, all of unit length.

    Raises:
        InputError: pictures of another size or type; texts for a model that reads none.
    """
    size = tuple(clip.pictures.input_shape[1:])
    pixels = np.asarray(images) if len(images) else np.empty((0, *size), np.uint8)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != size:
        raise InputError(
            f"expected images uint8 [N, {', '.join(map(str, size))}], received {pixels.dtype} {list(pixels.shape)}; "
            "bring them to that size"
        )
    if len(texts) and clip.words is None:
        raise InputError(f"expected no texts, since the model reads none, received {len(texts)}; configure words")
    width = int(clip.pictures.output["embedding"].shape[-1])
    seen = np.empty((len(pixels), width), np.float32)
    for start in range(0, len(pixels), batch_size):
        answer = clip.pictures(pixels[start : start + batch_size], training=False)
        seen[start : start + batch_size] = keras.ops.convert_to_numpy(answer["embedding"])
    return seen, np.empty((0, width), np.float32) if clip.words is None else clip.words.encode(texts)
