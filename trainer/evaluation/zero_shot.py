"""Classifying pictures by words alone: the label whose prompts lie nearest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainer.data.items import LABEL
from trainer.retrieval import EmbeddingTable, find_neighbours

__all__ = ["ZERO_SHOT", "EmbedTexts", "zero_shot_labels"]

EmbedTexts = Callable[[Sequence[str]], np.ndarray]
"""N texts to `[N, D]` float32 of unit length, where the pictures are."""

ZERO_SHOT = " zero-shot"
"""What follows a model's name in the rows of metrics that are about classifying by words."""


def zero_shot_labels(
    table: EmbeddingTable, labels: Sequence[str], prompts: Sequence[str], embed_texts: EmbedTexts
) -> np.ndarray:
    """The label of each picture by words: A. Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision" (ICML 2021), section 3.1.4.

    A label stands where the mean of its filled prompts, brought to unit length, points; the nearest by cosine wins, the
    first of equals.

    Args:
        table: N pictures.
        labels: C that are to choose from, each once, none empty.
        prompts: templates of `{label}`, at least one.
        embed_texts: see `EmbedTexts`.

    Returns:
        `[N]` strings of `labels`.

    Raises:
        InputError: texts and pictures are not in one space: their dimensions differ.
    """
    texts = [prompt.format(label=label) for label in labels for prompt in prompts]
    means = embed_texts(texts).reshape(len(labels), len(prompts), -1).mean(axis=1)
    names = np.asarray(labels, dtype=np.str_)
    nearest = find_neighbours(table, EmbeddingTable(names, means, {LABEL: names}), 1)
    return names[nearest.rows[:, 0]]
