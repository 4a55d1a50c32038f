"""An encoder that was exported keeps its words in the searches that are built of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_encoder import DIMENSION, write_encoder
from tiny_words import TEXTS, tiny_words

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import tensorflow as tf

from export.config import IndexConfig
from export.exported_encoder import ExportedEncoder
from export.index import build_index
from export.lookup import Lookup
from export.search import Search
from export.table_rows import TableRows
from trainer.errors import InputError


def make_lookup() -> Lookup:
    rows = TableRows.from_arrays(np.array(list("abcdef")), np.eye(DIMENSION, dtype=np.float32), {})
    index = build_index(IndexConfig())
    index.index(rows)
    return Lookup(rows, index, top_k=3, filterable=(), fingerprint="abc", table_fingerprint=rows.fingerprint())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedEncoder:
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder, words=tiny_words(DIMENSION))
    return ExportedEncoder(folder)


def test_a_new_search_reads_what_the_encoder_reads(exported: ExportedEncoder, tmp_path: Path) -> None:
    search = Search(exported, make_lookup())
    tf.saved_model.save(search, str(tmp_path), signatures=search.signatures())
    signatures: Any = tf.saved_model.load(str(tmp_path)).signatures
    assert set(signatures) == {"serving_default", "search_images", "search_texts", "search_images_and_texts"}
    scores = np.sort(tiny_words(DIMENSION).encode(TEXTS), axis=1)[:, :-4:-1]
    answer = signatures["search_texts"](text=tf.constant(TEXTS))
    np.testing.assert_allclose(answer["scores"].numpy(), scores, atol=1e-5)


def test_what_the_manifest_promises_is_to_be_there(exported: ExportedEncoder, tmp_path: Path) -> None:
    assert exported.reads_words
    write_encoder(tmp_path, signatures=("embed_images", "embed_texts"))
    with pytest.raises(InputError, match="cannot be loaded"):
        ExportedEncoder(tmp_path)
