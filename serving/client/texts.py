"""Whatever a caller asks for in words, as the models take it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from serving.client.errors import BadInputError, TooLargeError

__all__ = ["LONGEST_TEXT", "checked_text", "checked_texts"]

LONGEST_TEXT = 10_000
"""Characters of a text. The models read some dozens of words and no more."""


def checked_texts(texts: Iterable[str]) -> list[str]:
    """Several texts, each as `checked_text` has it.

    Raises:
        BadInputError: not several, or one cannot be asked with; it says which.
    """
    if isinstance(texts, str | bytes):
        raise BadInputError(f"expected several texts, received one {type(texts).__name__}; put it in a list")
    if not isinstance(texts, Iterable):
        raise BadInputError(f"expected several texts, received {type(texts).__name__}; put one in a list")
    checked = []
    for place, text in enumerate(texts):
        try:
            checked.append(checked_text(text))
        except BadInputError as error:
            raise type(error)(f"text {place}: {error.message}") from error
    return checked


def checked_text(text: str) -> str:
    """A text in Unicode's normalisation form C, which the models expect and cannot bring about themselves.

    Lower case and white space are theirs: whatever else is in the text stays as it is, control characters included.

    Raises:
        BadInputError: no text, nothing but white space, or half a character (a lone surrogate).
        TooLargeError: longer than `LONGEST_TEXT`.
    """
    if not isinstance(text, str):
        raise BadInputError(f"expected a text, received {type(text).__name__}")
    if len(text) > LONGEST_TEXT:
        raise TooLargeError(f"expected a text of at most {LONGEST_TEXT:,} characters, received {len(text):,}")
    if not text.strip():
        raise BadInputError("expected a text, received an empty one")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"expected a text in Unicode, character {error.start} is a lone surrogate") from None
    return unicodedata.normalize("NFC", text)
