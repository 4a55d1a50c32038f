"""Whatever a caller hands over by mistake is a `BadInputError`, before anything is sent."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import PICTURE, D, FakeServer
from PIL import Image

from serving import BadInputError

HALF = "\ud800"  # a lone surrogate, which UTF-8 cannot hold


class Unreadable:
    def read(self) -> bytes:
        raise OSError("the disk is gone")


class PathOfBytes:
    def __init__(self, path: bytes) -> None:
        self.path = path

    def __fspath__(self) -> bytes:
        return self.path


class PathOfNumbers:
    def __fspath__(self) -> Any:
        return 5


def closed(file: Any) -> Any:
    file.close()
    return file


def released() -> memoryview:
    view = memoryview(PICTURE)
    view.release()
    return view


UNREADABLE: dict[str, Callable[[Path], Any]] = {
    "opened as text": lambda path: path.open(encoding="utf-8"),
    "opened for writing": lambda path: path.with_name("other").open("wb"),
    "closed": lambda path: closed(path.open("rb")),
    "broken": lambda path: Unreadable(),
    "empty PIL image": lambda path: Image.new("RGB", (0, 0)),
    "flat PIL image": lambda path: Image.new("RGB", (0, 5)),
    "released memoryview": lambda path: released(),
    "path of bytes to nowhere": lambda path: PathOfBytes(b"/nowhere.jpg"),
    "path of numbers": lambda path: PathOfNumbers(),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read(client: Any, server: FakeServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(PICTURE)
    picture = UNREADABLE[name](path)
    try:
        with pytest.raises(BadInputError, match="expected"):
            client.search(picture)
        with pytest.raises(BadInputError, match="picture 1: expected"):
            client.embed_many([PICTURE, picture])
    finally:
        if isinstance(picture, io.IOBase):
            picture.close()
    assert server.requests == []


def test_a_path_may_be_bytes_inside(client: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(PICTURE)
    assert client.search(PathOfBytes(os.fsencode(tmp_path / "photo.jpg")), k=1).ids


SEVERAL = [
    np.zeros((8, 6, 3), np.uint8),
    np.zeros((8, 6, 1), np.uint8),
    np.zeros((8, 6), np.uint8),
    np.array(5),
    Image.new("RGB", (4, 4)),
    5,
]


@pytest.mark.parametrize("pictures", SEVERAL, ids=lambda value: f"{type(value).__name__}{np.shape(value)}")
def test_one_picture_is_not_several(client: Any, server: FakeServer, pictures: Any) -> None:
    for ask in (client.search_many, client.embed_many, client.classify_many):
        with pytest.raises(BadInputError, match=r"several pictures.* in a list"):
            ask(pictures)
    assert server.requests == []


def test_stacks_of_pictures_are_several(client: Any) -> None:
    for shape in ((2, 8, 6, 3), (2, 8, 6, 1), (2, 8, 6)):
        assert len(client.embed_many(np.zeros(shape, np.uint8))) == 2
    assert len(client.embed_many(np.array([PICTURE, PICTURE + b"2"], dtype=object))) == 2


def test_nothing_is_not_several(make: Any, client: Any, server: FakeServer) -> None:
    for ask in (client.embed_many, client.classify_many, client.embed_texts, client.lookup_many):
        with pytest.raises(BadInputError, match="several"):
            ask(None)
    for ask in (client.embed_texts, lambda given: client.search_many(texts=given)):
        with pytest.raises(BadInputError, match="several texts"):
            ask(5)
    sharded = make([server.address], sharded=True)
    for given in (5, None):
        with pytest.raises(BadInputError, match="several vectors"):
            sharded.lookup_many(given)
    assert server.requests == []


@pytest.mark.parametrize(
    "filters",
    [{"gender": 5}, {"gender": None}, {"gender": HALF}, {"gender": ["Men", HALF]}, {"gender": b"Men"}, 5, [("a", "b")]],
    ids=ascii,
)
def test_filters(client: Any, server: FakeServer, filters: Any) -> None:
    for ask in (lambda: client.search(PICTURE, filters=filters), lambda: client.lookup([1.0] * D, filters=filters)):
        with pytest.raises(BadInputError, match="filter"):
            ask()
    assert server.requests == []


@pytest.mark.parametrize(
    "options",
    [{"label": HALF}, {"label": 5}, {"metadata": [("a", "b")]}, {"metadata": 5}, {"request_id": 5}, {"timeout": 9e9}],
    ids=ascii,
)
def test_options(make: Any, client: Any, server: FakeServer, options: Any) -> None:
    for each in (client, make([server.address], sharded=True)):
        with pytest.raises(BadInputError):
            each.lookup([1.0] * D, **options)
    assert server.requests == []


def test_no_metadata_is_none(client: Any, server: FakeServer) -> None:
    client.lookup([1.0] * D, metadata=None, request_id=None)
    assert len(server.requests[-1][2]["x-request-id"]) == 32


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": HALF},
        {"signature": HALF},
        {"inputs": {HALF: [1]}},
        {"inputs": {5: [1]}},
        {"inputs": {"": [1]}},
        {"inputs": {"a": [HALF]}},
        {"inputs": {"a": None}},
        {"outputs": [1]},
        {"outputs": [HALF]},
        {"outputs": None},
        {"outputs": 5},
    ],
    ids=ascii,
)
def test_predict(client: Any, server: FakeServer, arguments: Any) -> None:
    with pytest.raises(BadInputError):
        client.predict(**{"model": "m", "signature": "echo", "inputs": {"a": [1]}, **arguments})
    assert server.requests == []


@pytest.mark.parametrize("models", [[5], [HALF], [], 5, "fused_search"], ids=ascii)
def test_waiting_for_what_is_no_model(client: Any, server: FakeServer, models: Any) -> None:
    with pytest.raises(BadInputError, match="name"):
        client.wait_until_ready(1, models)
    assert server.requests == []


@pytest.mark.parametrize("vector", [[1e300] * D, np.full(D, -1e300), [10**400] * D], ids=["list", "array", "integers"])
def test_numbers_over_float32(client: Any, server: FakeServer, vector: Any) -> None:
    with pytest.raises(BadInputError, match=r"finite|real numbers"):  # and no warning, which would be an error here
        client.lookup(vector)
    with pytest.raises(BadInputError, match=r"finite|real numbers"):
        client.lookup_many([vector])
    assert server.requests == []


@pytest.mark.parametrize(
    "token", ["", " ", "secret\n", "secret\N{LATIN SMALL LETTER E WITH ACUTE}", None, b"secret", 5]
)
def test_a_token_that_cannot_be_sent(make: Any, server: FakeServer, token: Any) -> None:
    client = make(server.address, token=lambda: token)
    with pytest.raises(BadInputError, match="token") as caught:
        client.healthy()
    assert "secret" not in str(caught.value)
    if token is not None:
        with pytest.raises(BadInputError, match="token") as caught:
            make(server.address, token=token)
        assert "secret" not in str(caught.value)
    assert server.requests == []
