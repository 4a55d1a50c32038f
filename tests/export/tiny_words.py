"""A small text encoder that has learnt nothing: enough to hold the exported one against."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
from keras_hub.tokenizers import CLIPTokenizer
from tiny_model import DIMENSION

from trainer.config import WordsConfig
from trainer.models.text_encoder import TextEncoder, build_text_encoder
from trainer.models.tokenizer import train_tokenizer

TEXTS = ("Navy Blue Men's Shirt", "red shoe", "a photo of a watch", "Puma women shirt", "red shirts, blue shoes") * 3


def tiny_tokenizer() -> CLIPTokenizer:
    return train_tokenizer(TEXTS, 640)


def tiny_words(dimension: int = DIMENSION, seed: int = 0) -> TextEncoder:
    keras.utils.set_random_seed(seed)
    config = WordsConfig.model_validate({"encoder": {"length": 12, "width": 16, "layers": 1, "heads": 2}})
    return build_text_encoder(config, dimension, tiny_tokenizer())
