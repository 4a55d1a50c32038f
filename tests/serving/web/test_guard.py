"""Who may ask, and what the answers tell the browser."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from serving.web.guard import Login

WORDS = {"text": (None, "a shirt")}
LOGIN = Login("shop", "sesame: open")


@pytest.mark.parametrize("path", ["/", "/api/model", "/pictures/item-1", "/pictures/none", "/static/lens.js", "/none"])
def test_every_answer_carries_the_headers(page: Any, path: str) -> None:
    headers = page().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers


def test_answers_about_uploads_are_not_kept(page: Any, stub: Any) -> None:
    asked = page()
    assert asked.post("/api/search", files=WORDS).headers["cache-control"] == "no-store"
    stub.error = RuntimeError("secret")
    answer = asked.post("/api/search", files=WORDS)
    assert (answer.status_code, answer.headers["cache-control"]) == (500, "no-store")
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "nosniff" in answer.headers["x-content-type-options"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://elsewhere"}, 403),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"origin": "null"}, 403),
    ],
    ids=str,
)
def test_only_the_page_itself_sends_searches(page: Any, stub: Any, headers: dict[str, str], status: int) -> None:
    assert page().post("/api/search", files=WORDS, headers=headers).status_code == status
    assert len(stub.asked) == (status == 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("127.0.0.1:8600", 200), ("[::1]:8600", 200), ("evil.example", 400), ("", 400)],
)
def test_names_under_which_it_is_asked(page: Any, host: str, status: int) -> None:
    asked = page(hosts=("127.0.0.1", "::1"))
    assert asked.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("", 401),
        ("Basic", 401),
        ("Basic !", 401),
        ("Bearer " + b64encode(b"shop:sesame: open").decode(), 401),
        ("Basic " + b64encode(b"shop:sesame").decode(), 401),
        ("Basic " + b64encode(b"shop:sesame: open").decode(), 200),
        ("basic " + b64encode(b"shop:sesame: open").decode(), 200),
    ],
    ids=["nothing", "scheme", "garbage", "bearer", "wrong", "right", "lower"],
)
def test_login(page: Any, given: str, status: int) -> None:
    asked = page(login=LOGIN)
    for path in ("/", "/api/model", "/static/lens.js", "/pictures/item-1"):
        answer = asked.get(path, headers={"authorization": given} if given else {})
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
    assert asked.get("/health").status_code == 200


def test_a_login_does_not_show_its_password() -> None:
    assert "sesame" not in repr(LOGIN)
