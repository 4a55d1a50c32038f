"""Answers that are not what the contract says, and such as say it shorter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_server import FakeServer

from serving import BadAnswerError, wire


def response(**outputs: Any) -> Any:
    made = wire.PredictResponse()
    made.model_spec.name, made.model_spec.version.value = "fused_lookup", 1
    good = {
        "ids": [["a", "b"]],
        "scores": np.array([[0.9, 0.8]], np.float32),
        "fingerprint": ["encoder-1"],
        "table_fingerprint": ["table-1"],
    }
    for name, value in {**good, **outputs}.items():
        if value is not None:
            wire.fill_tensor(made.outputs[name], value)
    return made


BAD = {
    "no ids": lambda: response(ids=None),
    "no scores": lambda: response(scores=None),
    "no fingerprint": lambda: response(fingerprint=None),
    "numbers as ids": lambda: response(ids=np.zeros((1, 2), np.float32)),
    "too many ids": lambda: response(ids=[["a", "b", "c"]]),
    "too many rows": lambda: response(scores=np.zeros((2, 2), np.float32)),
    "double scores": lambda: response(scores=np.zeros((1, 2))),
    "flat scores": lambda: response(scores=np.zeros(2, np.float32)),
    "no text": lambda: response(ids=[[b"\xff", b"b"]]),
    "attribute of another size": lambda: response(colour=[["a", "b"], ["c", "d"]]),
    "threshold of another size": lambda: response(no_match_threshold=np.zeros(2, np.float32)),
    "threshold as text": lambda: response(no_match_threshold=["low"]),
    "nothing": wire.PredictResponse,
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_answer_is_told_apart(client: Any, server: FakeServer, name: str) -> None:
    build: Callable[[], Any] = BAD[name]
    server.before = lambda request, context: build()
    with pytest.raises(BadAnswerError, match="expected") as caught:
        client.lookup([1, 2, 3, 4], k=1)
    assert caught.value.model == "fused_lookup"


def test_whether_the_best_match_is_a_good_one(client: Any, server: FakeServer) -> None:
    assert client.lookup([1, 2, 3, 4], k=1).no_match is None
    for threshold, no_match in ((0.95, True), (0.85, False)):
        server.before = lambda request, context, threshold=threshold: response(
            no_match_threshold=np.float32([threshold])
        )
        result = client.lookup([1, 2, 3, 4], k=1)
        assert result.no_match is no_match
        assert result.no_match_threshold == pytest.approx(threshold)
        assert not result.matches[0].attributes


def test_values_left_out_equal_the_last(client: Any, server: FakeServer) -> None:
    def shorter(request: Any, context: Any) -> Any:
        made = response(colour=[["red", "red"]])
        del made.outputs["colour"].string_val[1:]
        return made

    server.before = shorter
    assert [match.attributes["colour"] for match in client.lookup([1, 2, 3, 4], k=2).matches] == ["red", "red"]


def test_tensor_content_is_read_too(client: Any, server: FakeServer) -> None:
    server.before = lambda request, context: response()
    result = client.lookup([1, 2, 3, 4], k=2)
    assert result.ids == ("a", "b")
    assert result.scores.tolist() == pytest.approx([0.9, 0.8])
    assert result.matches[0].attributes == {}
