"""What is searched for: pictures, words, or pictures changed by words."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.client.errors import BadInputError
from serving.client.pictures import Picture, picture_bytes, pictures_bytes
from serving.client.texts import checked_text, checked_texts
from serving.contract import (
    IMAGE_BYTES,
    SEARCH_IMAGES,
    SEARCH_IMAGES_AND_TEXTS,
    SEARCH_IMAGES_AND_TEXTS_FILTERED,
    SEARCH_IMAGES_FILTERED,
    SEARCH_TEXTS,
    SEARCH_TEXTS_FILTERED,
    TEXT,
    WEIGHT,
)
from serving.wire import fill_strings, fill_tensor

__all__ = ["Sought"]

_HALF = 0.5
_NOTHING = "expected a picture, a text, or both; received neither"


@dataclass(frozen=True, slots=True)
class Sought:
    """Several questions of one kind, a row each.

    Attributes:
        files: pictures; None where only words are asked with.
        texts: words; None where only pictures are asked with.
        weight: how much the words count beside the pictures; None unless there are both.
    """

    files: list[bytes] | None
    texts: list[str] | None
    weight: float | None

    @classmethod
    def one(cls, image: Picture | None, text: str | None, weight: float | None) -> Sought:
        """One question.

        Raises:
            BadInputError: there is nothing to search for, or it cannot be asked with.
        """
        if image is None and text is None:
            raise BadInputError(_NOTHING)
        checked = _checked_weight(weight, image is not None and text is not None)
        files = None if image is None else [picture_bytes(image)]
        return cls(files, None if text is None else [checked_text(text)], checked)

    @classmethod
    def several(cls, images: Iterable[Picture] | None, texts: Iterable[str] | None, weight: float | None) -> Sought:
        """Several questions; the first picture belongs to the first text.

        Raises:
            BadInputError: there is nothing to search for, or one cannot be asked with.
        """
        if images is None and texts is None:
            raise BadInputError(_NOTHING)
        checked = _checked_weight(weight, images is not None and texts is not None)
        files = None if images is None else pictures_bytes(images)
        words = None if texts is None else checked_texts(texts)
        if files is not None and words is not None and len(files) != len(words):
            raise BadInputError(f"expected a text for every picture, received {len(files)} and {len(words)}")
        return cls(files, words, checked)

    def signature(self, *, filtered: bool) -> str:
        """Name of the one that answers."""
        if self.texts is None:
            return SEARCH_IMAGES_FILTERED if filtered else SEARCH_IMAGES
        if self.files is None:
            return SEARCH_TEXTS_FILTERED if filtered else SEARCH_TEXTS
        return SEARCH_IMAGES_AND_TEXTS_FILTERED if filtered else SEARCH_IMAGES_AND_TEXTS

    @property
    def sizes(self) -> list[int]:
        """Bytes of each row, about."""
        files = [len(file) for file in self.files or ()]
        texts = [len(text.encode()) for text in self.texts or ()]
        if files and texts:
            return [file + text for file, text in zip(files, texts, strict=True)]
        return files or texts

    def __len__(self) -> int:
        return len(self.files if self.files is not None else self.texts or ())

    def __getitem__(self, part: slice) -> Sought:
        return Sought(self.files and self.files[part], self.texts and self.texts[part], self.weight)

    def fill(self, inputs: Mapping[str, Any]) -> None:
        """Puts the rows into a request's inputs."""
        for name, values in ((IMAGE_BYTES, self.files), (TEXT, self.texts)):
            if values is not None:
                fill_strings(inputs[name], values, (len(values),))
        if self.files is not None and self.weight is not None:
            fill_tensor(inputs[WEIGHT], np.full(len(self.files), self.weight, np.float32))


def _checked_weight(weight: float | None, both: bool) -> float | None:
    if not both:
        if weight is not None:
            raise BadInputError("expected a weight only with a picture and a text, received it with one of them")
        return None
    if weight is None:
        return _HALF
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not 0 <= weight <= 1:
        raise BadInputError(f"expected a weight from 0 (the picture alone) to 1 (the words alone), received {weight!r}")
    return float(weight)
