"""What errors say of the question, and the request id by which it can be found again."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import PICTURE, D, FakeServer, failing

from serving import (
    BadInputError,
    Call,
    Limits,
    MixedFingerprintsError,
    ModelNotFoundError,
    Retries,
    ServerError,
    ServingError,
    ShardError,
    TooLargeError,
)

VECTOR = [1.0] * D
ID = "r-1"


def about(error: ServingError) -> tuple[str, str, str, str]:
    return error.address, error.model, error.signature, error.request_id


REFUSED: dict[str, tuple[Callable[[Any], Any], type[ServingError], tuple[str, str]]] = {
    "k": (lambda client: client.lookup(VECTOR, k=13, request_id=ID), BadInputError, ("fused_lookup", "lookup")),
    "dimension": (
        lambda client: client.lookup([1.0] * 5, request_id=ID),
        BadInputError,
        ("fused_lookup", "lookup"),
    ),
    "filter": (
        lambda client: client.search(PICTURE, filters={"gendre": "Men"}, request_id=ID),
        BadInputError,
        ("fused_search", "search_images_filtered"),
    ),
    "picture": (
        lambda client: client.embed(PICTURE + bytes(9000), request_id=ID),
        TooLargeError,
        ("fused_encoder", "embed_images"),
    ),
    "message": (
        lambda client: client.predict("m", "s", {"a": np.zeros(9000, np.uint8)}, request_id=ID),
        TooLargeError,
        ("m", "s"),
    ),
    "input": (lambda client: client.predict("m", "s", {"a": [[1], [1, 2]]}, request_id=ID), BadInputError, ("m", "s")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_here_tells_what_was_asked(make: Any, server: FakeServer, name: str) -> None:
    ask, kind, asked = REFUSED[name]
    with pytest.raises(kind) as caught:
        ask(make(server.address, limits=Limits(message_bytes=9000)))
    assert about(caught.value) == ("", *asked, ID)
    assert server.asked() == []


@pytest.mark.parametrize("options", [{"version": 9}, {"label": "nope"}], ids=str)
def test_an_unknown_version_tells_the_signature_that_was_asked_for(
    client: Any, server: FakeServer, options: Any
) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        client.search(PICTURE, request_id=ID, **options)
    assert about(caught.value) == (server.address, "fused_search", "search_images", ID)
    assert caught.value.code is not None


def test_another_encoders_answer_tells_where_it_came_from(make: Any, server: FakeServer) -> None:
    client = make(server.address, fingerprint="encoder-9")
    for ask, asked in (
        (lambda: client.search(PICTURE, request_id=ID), ("fused_search", "search_images")),
        (lambda: client.embed(PICTURE, request_id=ID), ("fused_encoder", "embed_images")),
        (lambda: client.classify(PICTURE, request_id=ID), ("fused_encoder", "classify_images")),
        (lambda: client.lookup(VECTOR, request_id=ID), ("fused_lookup", "lookup")),
    ):
        with pytest.raises(MixedFingerprintsError, match="encoder-9") as caught:
            ask()
        assert about(caught.value) == (server.address, *asked, ID)


def test_a_shards_failure_tells_what_all_have_in_common(make: Any) -> None:
    servers = [FakeServer(), FakeServer()]
    try:
        client = make([each.address for each in servers], sharded=True, retries=Retries(attempts=1))
        client.lookup(VECTOR)
        for each in servers:
            each.before = failing(grpc.StatusCode.INTERNAL, "boom")
        with pytest.raises(ShardError) as caught:
            client.lookup(VECTOR, request_id=ID)
        error = pickle.loads(pickle.dumps(caught.value))
        assert about(error) == ("", "fused_lookup", "lookup", ID)
        assert error.code is grpc.StatusCode.INTERNAL
        servers[1].before = None
        with pytest.raises(ShardError) as caught:
            client.lookup(VECTOR, request_id=ID)
        assert about(caught.value) == (servers[0].address, "fused_lookup", "lookup", ID)
        servers[0].before, servers[1].fingerprint = None, "encoder-2"
        with pytest.raises(MixedFingerprintsError) as caught:
            client.lookup(VECTOR, request_id=ID)
        assert about(caught.value) == ("", "fused_lookup", "", ID)
    finally:
        for each in servers:
            each.stop()


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({}, {"metadata": {"x-request-id": "mine"}}, "mine"),
        ({}, {"metadata": {"x-request-id": "mine"}, "request_id": "given"}, "given"),
        ({"metadata": {"x-request-id": "client"}}, {}, "client"),
        ({"metadata": {"x-request-id": "client"}}, {"metadata": {"a": "b"}}, "client"),
        ({"metadata": {"x-request-id": "client"}}, {"metadata": {"x-request-id": "mine"}}, "mine"),
        ({"metadata": {"x-request-id": "client"}}, {"request_id": "given"}, "given"),
        ({}, {"request_id": ""}, None),
        ({}, {"metadata": {"x-request-id": ""}}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("sharded", [False, True], ids=["one", "sharded"])
def test_there_is_one_request_id(
    make: Any, server: FakeServer, settings: Any, options: Any, expected: str | None, sharded: bool
) -> None:
    seen: list[tuple[str, list[str]]] = []

    @contextmanager
    def hook(call: Call) -> Iterator[None]:
        seen.append((call.request_id, [value for name, value in call.metadata if name == "x-request-id"]))
        yield

    client = make([server.address], sharded=sharded, hooks=[hook], **settings)
    server.before = failing(grpc.StatusCode.INTERNAL, "boom")
    with pytest.raises((ServerError, ShardError)) as caught:
        client.lookup(VECTOR, **options)
    expected = expected or caught.value.request_id
    assert len(expected) == 32 or expected in ("mine", "given", "client")
    assert seen == [(expected, [expected])] * 2
    assert caught.value.request_id == expected
    assert server.requests[-1][2]["x-request-id"] == expected
