"""Words, over both clients: what goes out, what comes back, and what is refused before anything is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import fake_server
import numpy as np
import pytest
from fake_server import FINGERPRINT, PICTURE, FakeServer

from serving import (
    BadInputError,
    Limits,
    MixedFingerprintsError,
    TooLargeError,
    UnknownSignatureError,
)
from serving.wire import to_array


def sent(server: FakeServer) -> tuple[str, dict[str, list[Any]]]:
    """The last request's signature, and its inputs but for the pictures' bytes."""
    request = server.asked()[-1]
    inputs = {name: to_array(tensor).tolist() for name, tensor in request.inputs.items()}
    return request.model_spec.signature_name, inputs


def test_words_alone(client: Any, server: FakeServer) -> None:
    result = client.search(text="navy shirt", k=2)
    assert result.ids == ("item-0", "item-1")
    assert (result.model, result.fingerprint) == ("fused_search", FINGERPRINT)
    assert sent(server) == ("search_texts", {"text": [b"navy shirt"]})
    women = client.search(text="navy shirt", filters={"gender": "Women"})
    assert {match.attributes["gender"] for match in women.matches} == {"Women"}
    assert sent(server) == ("search_texts_filtered", {"text": [b"navy shirt"], "gender": [b"Women"]})


def test_a_picture_changed_by_words(client: Any, server: FakeServer) -> None:
    both = {"image_bytes": [PICTURE], "text": [b"in red"]}
    client.search(PICTURE, 1, text="in red")
    assert sent(server) == ("search_images_and_texts", {**both, "weight": [0.5]})
    for weight in (0, 1, 0.25, np.float32(0.25)):
        client.search(PICTURE, 1, {"gender": "Men"}, text="in red", weight=weight)
        filtered = {**both, "gender": [b"Men"], "weight": [weight]}
        assert sent(server) == ("search_images_and_texts_filtered", filtered)
    assert to_array(server.asked()[-1].inputs["weight"]).dtype == np.float32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blue", "blue"),
        (" \tNavy  Blue\n", " \tNavy  Blue\n"),  # white space and case are the model's
        ("cafe\N{COMBINING ACUTE ACCENT}", "café"),
        ("नीली शर्ट 👕🏽 蓝色衬衫", "नीली शर्ट 👕🏽 蓝色衬衫"),
        ("a\0b\x1b", "a\0b\x1b"),
        ("x" * 10_000, "x" * 10_000),
    ],
    ids=["plain", "as it is", "composed", "scripts", "control characters", "long"],
)
def test_what_goes_out_is_normalised(client: Any, server: FakeServer, text: str, expected: str) -> None:
    client.embed_text(text)
    assert sent(server) == ("embed_texts", {"text": [expected.encode()]})


def test_an_embedded_text_can_be_looked_up(client: Any, server: FakeServer) -> None:
    embedding = client.embed_text("blue")
    assert np.array_equal(embedding.vector, FakeServer.vector(b"blue"))
    assert (embedding.model, embedding.fingerprint) == ("fused_encoder", FINGERPRINT)
    assert client.lookup(embedding, k=1).ids == ("item-0",)
    server.fingerprint = "encoder-2"
    with pytest.raises(MixedFingerprintsError):
        client.lookup(embedding)


def test_many_texts_are_split_and_answered_in_order(make: Any, server: FakeServer) -> None:
    client = make(server.address, limits=Limits(batch=3))
    texts = [f"text {'x' * place}" for place in range(7)]
    vectors = [FakeServer.vector(text.encode()) for text in texts]
    assert np.array_equal(np.stack(client.embed_texts(iter(texts))), np.stack(vectors))
    assert sorted(len(request.inputs["text"].string_val) for request in server.asked()) == [1, 3, 3]
    assert len(client.search_many(texts=texts, k=1)) == 7
    pictures = [PICTURE + bytes([place]) for place in range(7)]
    server.requests.clear()
    assert len(client.search_many(iter(pictures), 1, texts=iter(texts), weight=0.25)) == 7
    pairs = [
        pair
        for request in server.asked()
        for pair in zip(request.inputs["image_bytes"].string_val, request.inputs["text"].string_val, strict=True)
    ]
    assert sorted(pairs) == sorted(zip(pictures, (text.encode() for text in texts), strict=True))
    assert {value for request in server.asked() for value in to_array(request.inputs["weight"]).tolist()} == {0.25}
    assert client.search_many(texts=[]) == client.search_many([], texts=[]) == client.embed_texts([]) == []


NOT_TEXTS: dict[str, tuple[Any, str]] = {
    "empty": ("", "an empty one"),
    "white space": (" \n\u3000", "an empty one"),
    "bytes": (b"blue", "expected a text, received bytes"),
    "number": (3, "expected a text, received int"),
    "path": (Path("blue"), "expected a text, received"),
    "surrogate": ("blue \ud83d", "character 5 is a lone surrogate"),
    "too long": ("x" * 10_001, "at most 10,000 characters, received 10,001"),
}


@pytest.mark.parametrize("name", NOT_TEXTS)
def test_not_a_text(client: Any, server: FakeServer, name: str) -> None:
    value, told = NOT_TEXTS[name]
    kind = TooLargeError if name == "too long" else BadInputError
    for ask in (
        client.embed_text,
        lambda text: client.search(text=text),
        lambda text: client.search(PICTURE, text=text),
    ):
        with pytest.raises(kind, match=told):
            ask(value)
    for several in (client.embed_texts, lambda texts: client.search_many(texts=texts)):
        with pytest.raises(kind, match=f"text 1: .*{told}"):
            several(["blue", value])
    assert server.requests == []


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan, math.inf, True, "0.5", Decimal("0.5"), [0.5]], ids=str)
def test_weights(client: Any, server: FakeServer, weight: Any) -> None:
    with pytest.raises(BadInputError, match="a weight from 0"):
        client.search(PICTURE, text="in red", weight=weight)
    with pytest.raises(BadInputError, match="a weight from 0"):
        client.search_many([PICTURE], texts=["in red"], weight=weight)
    assert server.requests == []


def test_questions_that_are_none(client: Any, server: FakeServer) -> None:
    asked: list[tuple[Any, dict[str, Any], str]] = [
        (client.search, {}, "received neither"),
        (client.search_many, {}, "received neither"),
        (client.search, {"image": PICTURE, "weight": 0.5}, "a weight only with"),
        (client.search, {"text": "blue", "weight": 0.5}, "a weight only with"),
        (client.search_many, {"texts": ["blue"], "weight": 0.5}, "a weight only with"),
        (client.search_many, {"images": [PICTURE] * 2, "texts": ["blue"]}, "received 2 and 1"),
        (client.search_many, {"texts": "blue"}, "several texts"),
        (client.embed_texts, {"texts": "blue"}, "several texts"),
        (client.search, {"text": "blue", "k": 0}, "k as an integer"),
    ]
    for ask, arguments, told in asked:
        with pytest.raises(BadInputError, match=told):
            ask(**arguments)
    assert server.requests == []


def test_words_and_weights_are_no_filters(client: Any, server: FakeServer) -> None:
    for name in ("text", "weight", "image_bytes"):
        with pytest.raises(BadInputError, match=f"expected filters by gender; received '{name}'"):
            client.search(PICTURE, text="in red", filters={name: "x"})
    assert server.asked() == []


def test_a_model_without_words_says_so(client: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in ("fused_search", "fused_encoder"):
        signatures = fake_server.SIGNATURES[model]
        kept = {name: value for name, value in signatures.items() if "texts" not in name}
        monkeypatch.setitem(fake_server.SIGNATURES, model, kept)
    for ask, arguments in (
        (client.search, {"text": "blue"}),
        (client.search, {"text": "blue", "filters": {"gender": "Men"}}),
        (client.search, {"image": PICTURE, "text": "blue"}),
        (client.embed_text, {"text": "blue"}),
    ):
        with pytest.raises(UnknownSignatureError, match=r"has learnt words, version 1 has not; .*`words:`"):
            ask(**arguments)
    assert server.asked() == []
    assert client.search(PICTURE, k=1).ids == ("item-0",)


def test_a_model_with_words_and_nothing_to_filter_by(
    client: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    signatures = fake_server.SIGNATURES["fused_search"]
    plain = {name: value for name, value in signatures.items() if not name.endswith("filtered")}
    monkeypatch.setitem(fake_server.SIGNATURES, "fused_search", plain)
    with pytest.raises(UnknownSignatureError, match="with attributes to filter by, version 1 has none"):
        client.search(text="blue", filters={"gender": "Men"})
    assert client.search(text="blue", k=1).ids == ("item-0",)


def test_shards_are_asked_in_words(make: Any) -> None:
    servers = [FakeServer(), FakeServer()]
    servers[1].first_item = 100
    try:
        client = make([each.address for each in servers], sharded=True)
        found = ("item-0", "item-100", "item-1")
        assert client.search(text="cafe\N{COMBINING ACUTE ACCENT}", k=3).ids == found
        assert [sent(each) for each in servers] == [("search_texts", {"text": ["café".encode()]})] * 2
        assert client.search(PICTURE, 3, text="in red", weight=0.25).ids == found
        assert [sent(each)[1]["weight"] for each in servers] == [[0.25]] * 2
        assert [row.ids for row in client.search_many(iter([PICTURE] * 2), 3, texts=iter("ab"))] == [found] * 2
        with pytest.raises(BadInputError, match="neither"):
            client.search()
    finally:
        for each in servers:
            each.stop()
