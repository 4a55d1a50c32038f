"""What cannot be answered is refused before anything is sent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from fake_server import PICTURE, D, FakeServer

from serving import BadInputError, Client, Limits, ServingError, TooLargeError, UnknownSignatureError
from serving.client.settings import TLS, Breaker, Hedging, Keepalive, Retries

NOT_PICTURES: dict[str, Any] = {
    "empty": b"",
    "text": b"hello",
    "sound": b"RIFF\0\0\0\0WAVEfmt ",
    "missing": "/nowhere/photo.jpg",
    "folder": "/",
    "nul": "a\0b",
    "text file": io.StringIO("x"),
    "empty file": io.BytesIO(b""),
    "float array": np.zeros((4, 4, 3)),
    "batch of arrays": np.zeros((1, 4, 4, 3), np.uint8),
    "empty array": np.zeros((0, 4, 3), np.uint8),
    "number": 3,
    "nothing": None,
}


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_not_a_picture(client: Any, server: FakeServer, name: str) -> None:
    for method in (client.search, client.embed, client.classify):
        with pytest.raises(BadInputError, match="expected"):
            method(NOT_PICTURES[name])
    with pytest.raises(BadInputError, match="picture 1"):
        client.embed_many([PICTURE, NOT_PICTURES[name]])
    assert server.requests == []


@pytest.mark.parametrize("pictures", [PICTURE, "photo.jpg", io.BytesIO(PICTURE)])
def test_one_where_several_are_expected(client: Any, server: FakeServer, pictures: Any) -> None:
    with pytest.raises(BadInputError, match="several"):
        client.search_many(pictures)
    assert server.requests == []


@pytest.mark.parametrize(
    "vector",
    [
        [np.nan, 0, 0, 1],
        [np.inf, 0, 0, 1],
        [0, 0, 0, 0],
        [],
        "text",
        ["a", "b"],
        [1j, 0, 0, 0],
        [True, True, True, True],
        3.0,
        np.ones((2, D)),
        [[1, 2], [3]],
    ],
    ids=str,
)
def test_not_a_vector(client: Any, server: FakeServer, vector: Any) -> None:
    with pytest.raises(BadInputError):
        client.lookup(vector)
    assert server.requests == []


def test_not_vectors(client: Any, server: FakeServer) -> None:
    bad: list[Any] = [np.ones(D), np.full((2, D), np.nan), [[1, 2, 3, 4], [1, 2]], 7]
    for vectors in bad:
        with pytest.raises(BadInputError):
            client.lookup_many(vectors)
    assert server.requests == []


def test_a_vector_whose_squares_overflow_is_one(client: Any) -> None:
    assert client.lookup(np.full(D, 1e30, np.float32), k=1).ids


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_k(client: Any, server: FakeServer, k: Any) -> None:
    for ask in (client.search, client.classify):
        with pytest.raises(BadInputError, match="k "):
            ask(PICTURE, k=k)
    with pytest.raises(BadInputError, match="k "):
        client.lookup([1] * D, k=k)
    assert server.requests == []


@pytest.mark.parametrize(
    "filters", [{"gender": ""}, {"gender": []}, {"gender": 3}, {"gender": "a\nb"}, {"gender": ["a", 1]}, [("a", "b")]]
)
def test_filters(client: Any, server: FakeServer, filters: Any) -> None:
    with pytest.raises((BadInputError, TypeError)):
        client.search(PICTURE, filters=filters)
    assert server.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"version": -1},
        {"version": "1"},
        {"label": ""},
        {"version": 1, "label": "stable"},
        {"metadata": {"Upper": "x"}},
        {"metadata": {"a b": "x"}},
        {"metadata": {"grpc-x": "x"}},
        {"metadata": {"a": "line\nfeed"}},
        {"request_id": "ü"},
    ],
    ids=str,
)
def test_options(client: Any, server: FakeServer, options: Any) -> None:
    for ask in (client.search, client.embed, client.classify):
        with pytest.raises(BadInputError):
            ask(PICTURE, **options)
    assert server.requests == []


def test_an_unknown_option_is_a_type_error(client: Any, server: FakeServer) -> None:
    with pytest.raises(TypeError, match="timout"):
        client.search(PICTURE, timout=3)
    assert server.requests == []


def test_what_the_models_signature_does_not_take_is_not_asked(client: Any, server: FakeServer) -> None:
    with pytest.raises(BadInputError, match=f"{D} numbers, received 5"):
        client.lookup([1.0] * 5)
    with pytest.raises(BadInputError, match="from 1 to 12"):
        client.lookup([1.0] * D, k=13)
    with pytest.raises(BadInputError, match="did you mean gender"):
        client.search(PICTURE, filters={"gendre": "Women"})
    assert server.asked() == []
    with pytest.raises(BadInputError, match="at most; received 13"):  # its signature leaves K open: the answer tells
        client.search(PICTURE, k=13)


def test_a_replaced_model_is_looked_at_again(client: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_server

    from serving.client import requests

    monkeypatch.setattr(requests, "_TRUSTED_FOR", 0.0)
    client.lookup([1.0] * D, k=1)
    wider = {"lookup": ({"embedding": (1, [-1, 5])}, {"scores": (1, [-1, 6])})}
    monkeypatch.setitem(fake_server.SIGNATURES, "fused_lookup", wider)
    assert len(client.lookup([1.0] * 5, k=1).matches) == 1
    with pytest.raises(UnknownSignatureError, match="attributes to filter by"):
        client.lookup([1.0] * 5, k=1, filters={"gender": "Men"})


def test_a_picture_over_the_limit_is_too_large(make: Any, server: FakeServer) -> None:
    client = make(server.address, limits=Limits(message_bytes=10_000))
    with pytest.raises(TooLargeError, match="message_bytes"):
        client.search(PICTURE + bytes(10_000))
    with pytest.raises(TooLargeError, match="message_bytes"):
        client.predict("fused_search", "echo", {"a": np.zeros(10_000, np.uint8)})
    assert server.asked() == []


def test_predict_says_which_input(client: Any, server: FakeServer) -> None:
    bad: list[Any] = [[[1], [1, 2]], [object()], np.array(["2020"], "datetime64[D]"), [["a"], ["b", "c"]]]
    for value in bad:
        with pytest.raises(BadInputError, match="input numbers"):
            client.predict("fused_search", "echo", {"numbers": value})
    for arguments in (("", "echo", {}), ("m", "", {}), ("m", "s", [1])):
        with pytest.raises(BadInputError):
            client.predict(*arguments)
    with pytest.raises(BadInputError, match="in a list"):
        client.predict("m", "s", {}, outputs="ids")
    assert server.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"addresses": []},
        {"addresses": ["a:1", "a:1"]},
        {"addresses": "http://a:1"},
        {"addresses": "a:x"},
        {"addresses": "a:70000"},
        {"addresses": ":1"},
        {"addresses": ""},
        {"model": ""},
        {"timeout": 0},
        {"version": 1, "label": "stable"},
        {"metadata": {"A": "b"}},
        {"addresses": "shop.example:8500", "token": "secret"},
        {"tls": TLS(ca="/nowhere/ca.pem")},
    ],
    ids=str,
)
def test_settings_of_a_client(settings: Any) -> None:
    with pytest.raises(BadInputError):
        Client(**settings)


@pytest.mark.parametrize(
    "build",
    [
        lambda: TLS(certificate=b"x"),
        lambda: Retries(attempts=0),
        lambda: Retries(initial_backoff=2.0),
        lambda: Hedging(percentile=100),
        lambda: Breaker(failures=0),
        lambda: Limits(batch=0),
        lambda: Limits(message_bytes=2**31),
        lambda: Keepalive(interval=1),
    ],
)
def test_settings_themselves(build: Any) -> None:
    with pytest.raises(BadInputError):
        build()


def test_secrets_are_not_shown() -> None:
    with pytest.raises(ServingError) as caught:
        Client(token="sec\nret")  # noqa: S106
    assert "sec" not in str(caught.value).replace("expected", "")
    assert "key" not in repr(TLS(certificate=b"public", key=b"key"))
