"""Byte-pair encoding with stock TensorFlow operations, its tables in variables."""

from __future__ import annotations

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras_hub
import numpy as np
import tensorflow as tf

__all__ = ["BytePairs"]

_SUFFIX = "</w>"
_NONE = tf.int64.max


class BytePairs(tf.Module):
    """Words to their tokens, as the `tokenizers` library's BPE model has them: again and again the two neighbours that
    stand first in the list of merges become one, of equal ones the leftmost. A byte that the vocabulary lacks becomes
    the end token.

    Args:
        tokenizer: of CLIP: byte-level, the end of a word marked.

    Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016; over bytes,
    as GPT-2 does it.
    """

    def __init__(self, tokenizer: keras_hub.tokenizers.CLIPTokenizer) -> None:
        super().__init__(name="byte_pairs")
        vocabulary: dict[str, int] = dict(tokenizer.vocabulary)
        self._size = max(vocabulary.values()) + 1
        self._symbols = _table(_symbols(vocabulary, unknown=vocabulary[tokenizer.end_token]), "symbols")
        merges = [tuple(merge.split(" ")) for merge in tokenizer.merges if "#version:" not in merge]
        ranks = {
            vocabulary[first] * self._size + vocabulary[second]: rank for rank, (first, second) in enumerate(merges)
        }
        pairs = sorted(ranks)
        self._pairs = _table(pairs, "pairs")
        self._ranks = _table([ranks[pair] for pair in pairs], "ranks")
        self._merged = _table([vocabulary["".join(merge)] for merge in merges], "merged")

    def __call__(self, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokens of words; to be called while a `tf.function` is traced.

        Args:
            words: string `[W]`.

        Returns:
            Ids int64 `[T]` of all words' tokens in order, and of each the word that it is of, int64 `[T]`.
        """
        count = tf.size(words, tf.int64)
        owners = tf.repeat(tf.range(count), tf.strings.length(words))
        content = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8), tf.int64)
        is_last = tf.concat([owners[1:] != owners[:-1], [True]], axis=0)[: tf.size(content)]
        symbols = tf.gather(self._symbols, content + 256 * tf.cast(is_last, tf.int64))
        return self._merge(symbols, owners, count)

    def _merge(self, symbols: tf.Tensor, owners: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges one pair of each of so many words a turn, until there is none to merge."""

        def is_any_left(symbols: tf.Tensor, owners: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(order < _NONE)

        def step(symbols: tf.Tensor, owners: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            first = tf.gather(tf.math.unsorted_segment_min(order, owners[:-1], words), owners[:-1])
            chosen = (order == first) & (order < _NONE)
            places = tf.where(chosen)
            merged = tf.gather(self._merged, tf.gather_nd(order, places) // tf.size(symbols, tf.int64))
            kept = tf.concat([[True], ~chosen], axis=0)
            symbols = tf.boolean_mask(tf.tensor_scatter_nd_update(symbols, places, merged), kept)
            owners = tf.boolean_mask(owners, kept)
            return symbols, owners, self._order(symbols, owners)

        vector = tf.TensorShape([None])
        state = (symbols, owners, self._order(symbols, owners))
        return tf.while_loop(is_any_left, step, state, shape_invariants=(vector, vector, vector))[:2]

    def _order(self, symbols: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
        """In which order neighbours are to be merged: by rank, then from left to right."""
        pairs = symbols[:-1] * self._size + symbols[1:]
        place = tf.minimum(tf.searchsorted(self._pairs, pairs), self._pairs.shape[0] - 1)
        mergeable = (tf.gather(self._pairs, place) == pairs) & (owners[:-1] == owners[1:])
        count = tf.size(symbols, tf.int64)
        order = tf.gather(self._ranks, place) * count + tf.range(tf.maximum(count - 1, 0))
        return tf.where(mergeable, order, _NONE)


def _symbols(vocabulary: dict[str, int], unknown: int) -> list[int]:
    """Ids of the 256 bytes within a word, then of the same as the last of one."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = [chr(byte) if byte in printed else chr(256 + others.index(byte)) for byte in range(256)]
    return [vocabulary.get(letter + suffix, unknown) for suffix in ("", _SUFFIX) for letter in letters]


def _table(values: list[int], name: str) -> tf.Variable:
    return tf.Variable(np.array(values, np.int64), trainable=False, name=name)
