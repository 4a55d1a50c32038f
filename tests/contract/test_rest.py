"""The REST API: TensorFlow Serving's paths, JSON and status codes."""

from __future__ import annotations

import base64
import http.client
import json
import time
from typing import Any

import pytest
from requests_of_tests import TIMEOUT, predict_request


class Rest:
    """Asks, and gives the status code and what the JSON says."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method or ("GET" if body is None else "POST"), path, content)
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers["Content-Type"].startswith("application/json")
            return response.status, json.loads(text) if is_json else text
        finally:
            connection.close()


@pytest.fixture(scope="module")
def rest(rest_address: str) -> Rest:
    return Rest(rest_address)


ROW = {"a": [1.0, 2.0], "b": [10, 20]}


def test_predict_by_rows(rest: Rest) -> None:
    found = rest("/v1/models/pair:predict", {"instances": [ROW, ROW]})
    row = {"sum": [11.0, 22.0], "difference": [-9.0, -18.0], "version": 2}
    assert found == (200, {"predictions": [row, row]})


def test_predict_by_columns(rest: Rest) -> None:
    columns = {"a": [[1.0, 2.0]], "b": [[0.1, 0.2]]}
    found = rest("/v1/models/pair/versions/1:predict", {"inputs": columns})
    assert found == (200, {"outputs": {"sum": [[1.1, 2.2]], "difference": [[0.9, 1.8]], "version": [1]}})


@pytest.mark.parametrize(("path", "version"), [("labels/stable", 1), ("labels/canary", 2), ("versions/2", 2)])
def test_predict_of_a_version(rest: Rest, path: str, version: int) -> None:
    code, answer = rest(f"/v1/models/pair/{path}:predict", {"instances": [ROW]})
    assert (code, answer["predictions"][0]["version"]) == (200, version)


def test_one_input_needs_no_name_and_bytes_are_base64(rest: Rest) -> None:
    texts = ["Größe", {"b64": base64.b64encode(b"\xff\x00").decode()}]
    body = {"signature_name": "length", "instances": texts}
    code, answer = rest("/v1/models/pair:predict", body)
    assert (code, [row["lengths"] for row in answer["predictions"]]) == (200, [7, 2])


def test_texts_and_numbers(rest: Rest) -> None:
    rows = [{"text": "größe 👕", "weight": 0.25}, {"text": "", "weight": 1}]
    answers = [{"upper": "GRÖSSE 👕", "weighed": 1.75, "rows": 2}, {"upper": "", "weighed": 0.0, "rows": 2}]
    assert rest("/v1/models/words:predict", {"instances": rows}) == (200, {"predictions": answers})
    columns = {name: [row[name] for row in rows] for name in ("text", "weight")}
    expected = {name: [answer[name] for answer in answers] for name in ("upper", "weighed", "rows")}
    assert rest("/v1/models/words:predict", {"inputs": columns}) == (200, {"outputs": expected})
    code, answer = rest("/v1/models/words:predict", {"instances": [{"text": 3, "weight": 1}]})
    assert (code, "is not of expected type: string" in answer["error"]) == (400, True)


def test_one_output_needs_no_name(rest: Rest) -> None:
    assert rest("/v1/models/slow:predict", {"instances": [[1.0, 2.0]]}) == (200, {"predictions": [[2.0, 4.0]]})
    assert rest("/v1/models/slow:predict", {"inputs": [[1.0, 2.0]]}) == (200, {"outputs": [[2.0, 4.0]]})


@pytest.mark.parametrize(
    ("path", "body", "code", "told"),
    [
        ("pair:predict", b"{", 400, "JSON Parse error"),
        ("pair:predict", b"", 400, "JSON Parse error: The document is empty"),
        ("pair:predict", b"[" * 5000, 400, "JSON Parse error"),
        ("pair:predict", [1], 400, "Is not object"),
        ("pair:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("pair:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("pair:predict", {"instances": [1.0]}, 400, "instances is a plain list, but expecting list of objects"),
        ("pair:predict", {"instances": [{"a": [1.0, 2.0]}]}, 400, "keys must be equal to: a,b"),
        ("pair:predict", {"instances": [{"a": ["x", "y"], "b": [1, 2]}]}, 400, "is not of expected type: float"),
        ("pair:predict", {"instances": [{"a": [True, 1], "b": [1, 2]}]}, 400, "is not of expected type: float"),
        ("pair:predict", {"instances": [{"a": [16777217, 1], "b": [1, 2]}]}, 400, "without loss of precision"),
        ("pair:predict", {"instances": [{"a": [[1, 2], [3]], "b": [1, 2]}]}, 400, "Encountered list at unexpected"),
        ("pair:predict", {"inputs": {"a": [[1, 2]]}}, 400, "Missing named input: b in 'inputs' object."),
        ("pair:predict", {"signature_name": 1, "instances": [ROW]}, 400, "'signature_name' key must be a string"),
        ("pair:predict", {"signature_name": "no", "instances": [ROW]}, 400, 'Serving signature name: "no" not found'),
        ("pair/labels/x:predict", {"instances": [ROW]}, 400, "Unrecognized servable version label: x"),
        ("nobody:predict", {"instances": [ROW]}, 404, "Servable not found for request: Latest(nobody)"),
        ("pair/versions/9:predict", {"instances": [ROW]}, 404, "Servable not found for request: Specific(pair, 9)"),
        ("slow:predict", {"instances": [[1.0]] * 5}, 400, "Task size 5 is larger than maximum input batch size 4"),
        ("pair:foresee", {"instances": [ROW]}, 400, "Malformed request: POST /v1/models/pair:foresee"),
    ],
)
def test_refusals(rest: Rest, path: str, body: Any, code: int, told: str) -> None:
    found, answer = rest(f"/v1/models/{path}", body)
    assert found == code
    assert told in answer["error"]


def test_status(rest: Rest) -> None:
    code, answer = rest("/v1/models/pair/versions/1")
    fine = {"error_code": "OK", "error_message": ""}
    assert (code, answer) == (200, {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]})
    assert len(rest("/v1/models/pair")[1]["model_version_status"]) == 2
    assert rest("/v1/models/nobody")[0] == 404


def test_metadata(rest: Rest) -> None:
    code, answer = rest("/v1/models/pair/metadata")
    assert code == 200
    assert answer["model_spec"]["name"] == "pair"
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["a"]["dtype"] == "DT_FLOAT"


def test_classify_and_regress(rest: Rest) -> None:
    body = {"examples": [{"x": [1.0, 1.0]}], "signature_name": "classify"}
    assert rest("/v1/models/examples:classify", body) == (200, {"results": [[["left", 0.5], ["right", 0.5]]]})
    body = {"context": {"x": [1.5, 1.0]}, "examples": [{}], "signature_name": "regress"}
    assert rest("/v1/models/examples:regress", body) == (200, {"results": [2.5]})
    assert rest("/v1/models/examples:regress", {"examples": [], "signature_name": "regress"})[0] == 400


def test_time_that_passes_in_the_queue(rest: Rest, prediction: Any) -> None:
    busy = prediction.Predict.future(predict_request("slow", x=[[60000.0]] * 4), timeout=TIMEOUT)
    time.sleep(0.1)
    code, answer = rest("/v1/models/slow:predict", {"instances": [[1.0]]})
    if busy.done() and code != 429:
        pytest.skip("this machine is too fast for the queue to hold anybody up for a second")
    assert (code, answer) == (429, {"error": "Run() timeout exceeded while waiting in batching queue"})
    assert busy.code().name == "OK"


def test_metrics(rest: Rest) -> None:
    rest("/v1/models/slow:predict", {"instances": [[1.0]]})
    code, page = rest("/monitoring/prometheus/metrics")
    assert code == 200
    lines = page.splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    assert any(line.startswith(':tensorflow:serving:request_count{model_name="slow",status="OK"} ') for line in lines)
    assert any(line.startswith(":tensorflow:serving:batching_session:processed_batch_size_count{") for line in lines)
