"""Texts about items: their titles, and templates filled with their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trainer.config.words import TextsConfig, template_attributes
from trainer.data.items import LABEL, attribute_columns
from trainer.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["ItemTexts", "fill"]


def fill(template: str, attributes: Mapping[str, str]) -> str | None:
    """A template such as `a photo of {baseColour} {label}` with an item's values in their places.

    Returns:
        The text; `None` where the item lacks one of the attributes, or has it empty.
    """
    if all(attributes.get(name) for name in template_attributes(template)):
        return template.format_map(attributes)
    return None


class ItemTexts:
    """The texts that there are about each item.

    Args:
        items: with the columns that the configuration names.
        texts: see `TextsConfig`.

    Raises:
        InputError: the items lack such a column.
    """

    def __init__(self, items: pd.DataFrame, texts: TextsConfig) -> None:
        known = [LABEL, *attribute_columns(items)]
        for key, names in _wanted(texts):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError(
                    f"words.texts.{key}: expected attributes of the items ({', '.join(known)}), received "
                    f"{', '.join(unknown)}"
                )
        self._share = texts.title_share
        items = items[known].astype(object).where(items[known].notna(), "")  # a missing value is no text
        self._titles = [None] * len(items) if texts.title is None else [text or None for text in items[texts.title]]
        self._filled = []
        for values in items[known].itertuples(index=False, name=None):
            attributes = dict(zip(known, values, strict=True))
            filled = (fill(template, attributes) for template in texts.templates)
            self._filled.append([text for text in filled if text is not None])
        self._labels = items[LABEL].tolist()

    def title(self, row: int) -> str | None:
        """The title of the item at that place, `None` where it has none."""
        return self._titles[row]

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
        """One text for each of the items at the places int64 `[n]`, the same for the same generator.

        Of an item that has both it is the title as often as `title_share` says, otherwise one of its filled templates,
        each as likely; of an item that has neither, its label.
        """
        draws = rng.random((len(rows), 2))
        return [self._pick(int(row), *draw) for row, draw in zip(rows, draws.tolist(), strict=True)]

    def _pick(self, row: int, kind: float, place: float) -> str:
        title, filled = self._titles[row], self._filled[row]
        if title is not None and (not filled or kind < self._share):
            return title
        return filled[int(place * len(filled))] if filled else self._labels[row]

    def all_texts(self) -> Iterator[str]:
        """Every text of every item, so often as it comes."""
        for title, filled, label in zip(self._titles, self._filled, self._labels, strict=True):
            texts = filled if title is None else [title, *filled]
            yield from texts or [label]


def _wanted(texts: TextsConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    if texts.title is not None:
        yield "title", (texts.title,)
    for key in ("templates", "queries"):
        for template in getattr(texts, key):
            yield key, template_attributes(template)
