"""A CLIP tokenizer as a graph of stock TensorFlow operations, for a server that has no other."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras_hub
import tensorflow as tf

from export.text.byte_pairs import BytePairs
from trainer.models.tokenizer import CHARACTERS_PER_TOKEN, WHITE_SPACE, WORD

__all__ = ["GraphTokenizer"]

_NO_CHARACTER = "\ufdd0"
"""Unicode keeps it free for a program's own use."""


class GraphTokenizer(tf.Module):
    """Texts to token ids, the same as `trainer.models.tokenizer.tokenize_texts` gives, but for what no operation does:
    Unicode's normalisation form C, in which the texts are to come.

    Bytes that are no UTF-8 are read as U+FFFD. Letters that Unicode took in after version 13 may keep their case, or
    count as signs.

    Args:
        tokenizer: whose vocabulary and merges are taken.
        length: of the answer, L; what is too long is cut, the end token stays.
    """

    def __init__(self, tokenizer: keras_hub.tokenizers.CLIPTokenizer, length: int) -> None:
        super().__init__(name="tokenizer")
        self.length = length
        self._pairs = BytePairs(tokenizer)
        self._start, self._end = int(tokenizer.start_token_id), int(tokenizer.end_token_id)

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Tokenises; to be called while a `tf.function` is traced.

        Args:
            text: string `[B]`, UTF-8.

        Returns:
            int32 `[B, L]`: start, tokens, end, then 0.
        """
        batch, room = tf.shape(text, tf.int64)[0], self.length - 2
        words = self._words(text)[:, :room]
        ids, at = self._pairs(words.flat_values)
        tokens = tf.RaggedTensor.from_value_rowids(ids, tf.gather(words.value_rowids(), at), nrows=batch)
        edge = tf.ones((batch, 1), tf.int64)
        whole = tf.concat([edge * self._start, tokens[:, :room], edge * self._end], axis=1)
        return tf.cast(whole.to_tensor(shape=(None, self.length)), tf.int32)

    def _words(self, text: tf.Tensor) -> tf.RaggedTensor:
        """The words of texts, string `[B, (words)]`."""
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        text = tf.strings.substr(text, 0, CHARACTERS_PER_TOKEN * self.length, unit="UTF8_CHAR")
        text = _lower_case(tf.strings.regex_replace(text, WHITE_SPACE, " "))
        # In RE2 \s is not all white space; here it is spaces only.
        return tf.strings.split(tf.strings.regex_replace(text, f"({WORD})".replace(r"\s", " "), r"\1 "))


def _lower_case(text: tf.Tensor) -> tf.Tensor:
    # The operation for all of Unicode would end a text at a zero byte, and write I without a dot on a Turkish server.
    text = tf.strings.regex_replace(tf.strings.lower(text), r"\x00", _NO_CHARACTER)
    text = tf.strings.regex_replace(text, "İ", "i̇")
    return tf.strings.regex_replace(tf.strings.lower(text, encoding="utf-8"), _NO_CHARACTER, b"\x00")
