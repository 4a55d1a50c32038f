"""Texts to numbers: CLIP's byte-pair encoding, its vocabulary from a preset or learned from the catalogue's texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np

from trainer.errors import InputError
from trainer.models.clip_preset import load_clip_preset

if TYPE_CHECKING:
    from keras_hub.tokenizers import CLIPTokenizer

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "SPECIAL_TOKENS",
    "WHITE_SPACE",
    "WORD",
    "load_tokenizer",
    "normalise_text",
    "tokenize_texts",
    "train_tokenizer",
]

SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")
"""The last two of a vocabulary, in this order: the text encoder finds the end by its number, which is the highest."""

WHITE_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""Unicode's property White_Space. What a regular expression's `\\s` means differs between Python, RE2 and Oniguruma."""

WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""What is encoded on its own, after normalisation: letters, a digit, or other characters in a row."""

CHARACTERS_PER_TOKEN = 32
"""Of a text that is to give L tokens so many times L characters are read: words are shorter, and it bounds the work."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_WHITE_SPACE = re.compile(WHITE_SPACE)
_SPECIAL = re.compile(r"<\|(?=(?:start|end)oftext\|>)")
_END_OF_WORD = "</w>"


def normalise_text(text: str) -> str:
    """What a text is read as: Unicode NFC, runs of white space as one space and none at the ends, lower case.

    A lone surrogate, which no text in UTF-8 can have, becomes U+FFFD.
    """
    composed = unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", text))
    return _WHITE_SPACE.sub(" ", composed).strip(" ").lower()


def tokenize_texts(tokenizer: CLIPTokenizer, texts: Sequence[str], length: int) -> np.ndarray:
    """Token numbers of texts: start, tokens, end, then 0.

    Every text has some: what is not in the vocabulary is read byte by byte, whatever its script, and an empty text is a
    start and an end. No text can hold a special token: `<|endoftext|>` in it is read as `<|`, `endoftext` and `|>`.

    Args:
        tokenizer: of keras-hub, used as the `tokenizers` library's.
        texts: N of them. Only the first `CHARACTERS_PER_TOKEN * length` characters of each are read, and of their
            tokens the first `length - 2`.
        length: L, at least 2.

    Returns:
        int32 `[N, L]`.
    """
    limit = CHARACTERS_PER_TOKEN * length
    # The space parts what would be parted anyway, and keeps the tokenizer from seeing its special token.
    read = [_SPECIAL.sub("<| ", normalise_text(text[:limit])) for text in texts]
    tokens = np.zeros((len(read), length), np.int32)
    for row, found in zip(tokens, tokenizer.tokenize(read), strict=True):
        found = [tokenizer.start_token_id, *found[: length - 2], tokenizer.end_token_id]
        row[: len(found)] = found
    return tokens


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> CLIPTokenizer:
    """Learns a vocabulary: all bytes, inside of a word and at its end, then the most frequent pairs.

    Args:
        texts: how often they come counts. Order does not.
        vocabulary_size: V, at most; above 514. `SPECIAL_TOKENS` have the last two numbers.

    Returns:
        The same for the same texts.

    Raises:
        InputError: the texts have no word of two characters.

    Paper: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016),
    https://arxiv.org/abs/1508.07909
    """
    import json

    from keras_hub.tokenizers import CLIPTokenizer
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        # The library would number the ends of words as it meets them, and leave out those it does not meet.
        special_tokens=[symbol + _END_OF_WORD for symbol in alphabet],
        end_of_word_suffix=_END_OF_WORD,
        show_progress=False,
    )
    learned.train_from_iterator(map(normalise_text, texts), trainer)
    model = json.loads(learned.to_str())["model"]
    if not model["merges"]:
        raise InputError("expected texts to learn a vocabulary from, received none with a word of two characters")
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    numbers = {token: number for number, token in enumerate((*vocabulary, *SPECIAL_TOKENS))}
    return CLIPTokenizer(vocabulary=numbers, merges=[" ".join(merge) for merge in model["merges"]])


def load_tokenizer(preset: str, key: str = "words.tokenizer.preset") -> CLIPTokenizer:
    """The tokenizer of a CLIP preset: a keras-hub name, such as `clip_vit_base_patch32`, or a folder.

    Raises:
        InputError: there is none, it cannot be downloaded, or it numbers its special tokens otherwise.
    """
    from keras_hub.tokenizers import CLIPTokenizer

    tokenizer = load_clip_preset(CLIPTokenizer, preset, key)
    last = (tokenizer.vocabulary_size() - 2, tokenizer.vocabulary_size() - 1)
    received = (tokenizer.start_token_id, tokenizer.end_token_id)
    if received != last:
        raise InputError(
            f"{key}: expected the start and the end of a text as the last two of {preset!r}, {last[0]} and {last[1]}; "
            f"received {received[0]} and {received[1]}"
        )
    return tokenizer
