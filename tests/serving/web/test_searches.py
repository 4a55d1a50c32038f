"""What the page asks the search server, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from drawn_pictures import encoded, quarters

from serving import (
    BadAnswerError,
    BadInputError,
    DeadlineError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ServerError,
    TooLargeError,
    UnauthorizedError,
    UnknownSignatureError,
    UnreachableError,
)
from serving.web.application import PageSettings

PHOTO = encoded(quarters())


def search(page: Any, **fields: str) -> Any:
    return page.post("/api/search", files={name: (None, value) for name, value in fields.items()})


def test_words_and_both(page: Any, stub: Any) -> None:
    asked = page()
    search(asked, text=" navy shirt ", weight="0.9")
    asked.post("/api/search", files={"image": ("a", PHOTO), "text": (None, "but red"), "weight": (None, "0.25")})
    assert stub.asked == [
        {"k": 24, "image": None, "filters": None, "text": "navy shirt"},
        {"k": 24, "image": PHOTO, "filters": None, "text": "but red", "weight": 0.25},
    ]


def test_more_like_an_item_leaves_it_out(page: Any, stub: Any, shop: Any) -> None:
    answer = search(page(), item="item-1", k="4", filters='{"gender": ["Women", "Men"], "colour": []}').json()
    assert stub.asked[0]["image"] == (shop / "pictures/item-1.png").read_bytes()
    assert stub.asked[0]["filters"] == {"gender": ["Women", "Men"]}
    assert [match["id"] for match in answer["matches"]] == ["item-0", "item-2", "item-3"]


@pytest.mark.parametrize(
    ("model", "options"), [("", {}), ("fused", {}), ("fused:3", {"version": 3}), ("fused:stable", {"label": "stable"})]
)
def test_models_and_versions(page: Any, stub: Any, model: str, options: dict[str, Any]) -> None:
    assert search(page(), text="a", model=model).status_code == 200
    assert stub.asked == [{"k": 24, "image": None, "filters": None, "text": "a", **options}]


def test_what_can_be_asked(page: Any, stub: Any) -> None:
    answer = page(choices=("fused", "fused:stable")).get("/api/model").json()
    assert [each["model"] for each in answer["models"]] == ["fused", "fused:stable", "fused:7", "fused:6"]
    first = answer["models"][0]
    assert (first["version"], first["most"], first["words"]) == (7, 20, True)
    assert (first["attributes"], first["filters"]) == (["gender", "colour"], ["gender"])
    assert answer["values"] == {"gender": ["Men", "Unisex", "Women"]}
    assert answer["limits"] == {"bytes": 10 * 2**20, "pixels": 50_000_000}
    stub.words = False
    assert not page().get("/api/model").json()["models"][0]["words"]
    assert len(page().get("/api/examples").json()["examples"]) == 12


@pytest.mark.parametrize(
    ("settings", "threshold", "fields", "expected"),
    [
        (PageSettings(), None, {"item": "item-9"}, None),
        (PageSettings(), 0.95, {"item": "item-9"}, True),
        (PageSettings(), 0.5, {"item": "item-9"}, False),
        (PageSettings(no_match=0.95), None, {"text": "a"}, True),
        (PageSettings(no_match=0.5), 0.95, {"item": "item-9"}, False),
    ],
)
def test_no_good_match(
    page: Any, stub: Any, settings: PageSettings, threshold: float | None, fields: dict[str, str], expected: bool | None
) -> None:
    stub.threshold = threshold
    assert search(page(settings=settings), **fields).json()["no_match"] is expected


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (BadInputError("expected k from 1 to 20"), 400, "expected k from 1 to 20"),
        (BadInputError("/tensor/decode", code=grpc.StatusCode.INVALID_ARGUMENT), 400, "cannot read this photo"),
        (TooLargeError("x"), 413, "too large"),
        (UnknownSignatureError("x"), 400, "cannot answer"),
        (ModelNotFoundError("x"), 503, "does not have this model"),
        (NotReadyError("x"), 503, "not ready"),
        (UnreachableError("x", address="10.0.0.1:8500"), 503, "not ready"),
        (OverloadedError("x"), 503, "too much to do"),
        (DeadlineError("x"), 504, "in time"),
        (UnauthorizedError("x"), 502, "does not trust"),
        (BadAnswerError("x"), 502, "no sense"),
        (ServerError("x"), 502, "no sense"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_in_plain_words(page: Any, stub: Any, error: Exception, status: int, told: str) -> None:
    stub.error = error
    asked = page()
    answer = search(asked, text="a")
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "10.0.0.1" not in answer.text
    assert asked.get("/api/model").status_code == status
    health = asked.get("/health")
    assert (health.status_code, health.json()["server"]) == (503, "not ready")


def test_no_such_address(page: Any) -> None:
    asked = page()
    assert asked.get("/none").json()["error"] == "There is nothing at this address."
    assert asked.get("/api/search").status_code == 405


def test_whoever_leaves_is_not_searched_for(application: Any, stub: Any) -> None:
    stub.seconds = 20.0
    body = b'--b\r\ncontent-disposition: form-data; name="text"\r\n\r\na shirt\r\n--b--\r\n'
    sent: list[Any] = []

    async def leave() -> float:
        messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            while len(messages) == 1 and not stub.asked:
                await asyncio.sleep(0.01)
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b")]
        scope = {"type": "http", "method": "POST", "path": "/api/search", "query_string": b"", "headers": headers}
        started = time.perf_counter()
        await application()(scope, receive, send)
        return time.perf_counter() - started

    assert asyncio.run(leave()) < 5
    assert (len(stub.asked), stub.cancelled) == (1, 1)
    assert sent[0]["status"] == 499


def test_slow_searches_do_not_hold_each_other_up(application: Any, stub: Any) -> None:
    import httpx2

    stub.seconds, people = 0.3, 50

    async def crowd() -> float:
        transport = httpx2.ASGITransport(application())
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            started = time.perf_counter()
            files = {"image": ("a", PHOTO)}
            answers = await asyncio.gather(*[client.post("/api/search", files=files) for _ in range(people)])
            assert {answer.status_code for answer in answers} == {200}
            return time.perf_counter() - started

    assert asyncio.run(crowd()) < people * stub.seconds / 5
