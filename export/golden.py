"""Golden requests: a few real pictures, texts and embeddings with the answers that the exporter got.

`assets.extra/golden.json` holds them for whoever wants to know whether a copy of a version, or a server, answers the
same. Pictures lie beside it as the files that they are. Its form:

    {"format_version": 1, "requests": [{
        "signature": "search_images",
        "inputs": {"image_bytes": {"files": ["golden/0.jpg"]}},
        "outputs": {"ids": [["17", "4"]], "scores": [[1.0, 0.9]], …},
        "trainer": {"embedding": […]}
    }]}

An input is a list of values, `{"files": […]}` for the bytes of files below `assets.extra`, or `{"pixels": […]}` for the
pixels of such files. `trainer`, where it is there, is what the trained model itself made of the picture or the text.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import tensorflow as tf

from export.arguments import signature_arguments
from serving.contract import (
    ASSETS_EXTRA,
    EMBED_PIXELS,
    EMBED_TEXTS,
    EMBEDDING,
    GOLDEN_FILE,
    IMAGE_BYTES,
    PIXELS,
    TEXT,
    WEIGHT,
)
from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT, TEST
from trainer.files import write_text

__all__ = ["GOLDEN_FOLDER", "GoldenQuery", "choose_golden", "read_golden_pictures", "write_golden"]

GOLDEN_FOLDER = "golden"
FORMAT_VERSION = 1
COUNT = 8
_QUESTIONS = (IMAGE_BYTES, TEXT, WEIGHT, EMBEDDING, PIXELS)
_WEIGHTS = (0.5, 0.2, 0.8)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoldenQuery:
    """A picture, and words, to ask with.

    Attributes:
        id: of its item.
        content: bytes of the picture file.
        suffix: of its name, such as `.jpg`.
        attributes: of its item, from which filters are made.
        vector: float32 `[D]`, the trainer's embedding of it; None where there is no trainer.
        text: about it.
        text_vector: float32 `[D]`, the trainer's embedding of the text, likewise.
    """

    id: str
    content: bytes
    suffix: str
    attributes: Mapping[str, str]
    vector: np.ndarray | None = None
    text: str = ""
    text_vector: np.ndarray | None = None


def choose_golden(
    items: pd.DataFrame, vectors: Mapping[str, np.ndarray], count: int = COUNT, *, text: str = LABEL
) -> list[GoldenQuery]:
    """Test items of as many labels as possible.

    Args:
        items: the run's items.
        vectors: id to embedding `[D]` of (some of) the test items.
        count: how many.
        text: attribute that is asked with in words; where an item lacks it, its label is.

    Returns:
        The queries, fewer than `count` where the test split is smaller. A picture that is gone is passed over.
    """
    tests = items[(items[SPLIT] == TEST) & items[ID].isin(list(vectors))]
    turns = tests.groupby(LABEL, sort=True).cumcount()  # every label's first item, then every label's second, …
    chosen: list[GoldenQuery] = []
    for _, item in tests.assign(_turn=turns).sort_values(["_turn", LABEL, ID], kind="stable").iterrows():
        if len(chosen) == count:
            break
        path = Path(item[IMAGE_PATH])
        try:
            content = path.read_bytes()
        except OSError as error:
            _log.warning("golden queries: %s cannot be read (%s); another is taken", path, error.strerror)
            continue
        attributes = {str(name): str(value) for name, value in item.items()}
        words = unicodedata.normalize("NFC", str(item[text] or item[LABEL]))
        chosen.append(GoldenQuery(item[ID], content, path.suffix.lower(), attributes, vectors[item[ID]], words))
    return chosen


def read_golden_pictures(folder: Path) -> list[GoldenQuery]:
    """The pictures among a version's golden requests, with their texts, for another version to be asked with.

    Args:
        folder: of an exported version of kind encoder or search.
    """
    record = json.loads((folder / GOLDEN_FILE).read_text(encoding="utf-8"))
    texts = {request["id"]: request["inputs"][TEXT][0] for request in record["requests"] if TEXT in request["inputs"]}
    found = {}
    for request in record["requests"]:
        for name in request["inputs"].get(IMAGE_BYTES, {}).get("files", ()):
            path = folder / ASSETS_EXTRA / name
            text = texts.get(request["id"], "")
            found[name] = GoldenQuery(request["id"], path.read_bytes(), path.suffix, {}, text=text)
    return list(found.values())


def write_golden(
    folder: Path,
    signatures: Mapping[str, Any],
    queries: Sequence[GoldenQuery],
    *,
    embed: Any = None,
    decode: Any = None,
) -> int:
    """Writes `assets.extra/golden.json` and its pictures.

    Args:
        folder: of the version.
        signatures: name to concrete function, as they are saved; each is asked with every query, filtered ones with the
            query's own value of each filterable attribute, one attribute after the other.
        queries: what to ask with.
        embed: for a lookup: bytes `[B]` to embeddings `[B, D]`, for queries without `vector`.
        decode: for an encoder: bytes `[B]` to pixels, for `embed_pixels`.

    Returns:
        The number of requests.
    """
    place = folder / ASSETS_EXTRA / GOLDEN_FOLDER
    requests = []
    for number, query in enumerate(queries):
        for signature, function in signatures.items():
            arguments = signature_arguments(function)
            if signature == EMBED_PIXELS and decode is None:
                continue
            filters = [name for name in arguments if name not in _QUESTIONS]
            given: dict[str, Any] = {name: [""] for name in filters}
            if filters:
                chosen = filters[number % len(filters)]
                given[chosen] = [query.attributes.get(chosen, "")]
            tensors = {name: tf.constant(value) for name, value in given.items()}
            for asked in (name for name in arguments if name in _QUESTIONS):
                given[asked], tensors[asked] = _asked(asked, place, number, query, embed, decode)
            answer = {name: value.numpy() for name, value in function(**tensors).items()}
            request = {"signature": signature, "id": query.id, "inputs": given, "outputs": _plain(answer)}
            vector = query.text_vector if signature == EMBED_TEXTS else query.vector
            if vector is not None and EMBEDDING in answer:
                request["trainer"] = {EMBEDDING: [vector.tolist()]}
            requests.append(request)
    write_text(folder / GOLDEN_FILE, json.dumps({"format_version": FORMAT_VERSION, "requests": requests}) + "\n")
    return len(requests)


def _asked(
    name: str, place: Path, number: int, query: GoldenQuery, embed: Any, decode: Any
) -> tuple[list[Any] | dict[str, list[str]], tf.Tensor]:
    """What to ask with, as it is written and as it is fed."""
    if name == TEXT:
        return [query.text], tf.constant([query.text])
    if name == WEIGHT:
        weight = [_WEIGHTS[number % len(_WEIGHTS)]]
        return list(weight), tf.constant(weight, tf.float32)
    if name == EMBEDDING:
        content = tf.constant([query.content])
        vector = embed(content).numpy() if query.vector is None else query.vector[None]
        return np.asarray(vector, np.float32).tolist(), tf.constant(vector, tf.float32)
    place.mkdir(parents=True, exist_ok=True)
    if name == PIXELS:
        pixels = decode(tf.constant([query.content]))
        file = f"{number}-pixels.png"
        (place / file).write_bytes(tf.io.encode_png(pixels[0]).numpy())
        return {"pixels": [f"{GOLDEN_FOLDER}/{file}"]}, pixels
    file = f"{number}{query.suffix}"
    (place / file).write_bytes(query.content)
    return {"files": [f"{GOLDEN_FOLDER}/{file}"]}, tf.constant([query.content])


def _plain(answer: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as lists; bytes as text."""

    def listed(values: np.ndarray) -> Any:
        return np.char.decode(values.astype(bytes), "utf-8").tolist() if values.dtype == object else values.tolist()

    return {name: listed(values) for name, values in answer.items()}
