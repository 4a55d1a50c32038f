"""Requests that nobody means well with: each gets a code, and the server goes on."""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from lookups import Lookups
from tensorflow_serving.apis import predict_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def server(small_exports: Path, serve: Any) -> Iterator[Any]:
    with serve(small_exports, rest_port=0, max_message_bytes=1 << 20) as running:
        yield running


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as opened:
        yield opened
        assert Lookups(opened).lookup().outputs


def code_of(channel: grpc.Channel, content: bytes) -> grpc.StatusCode:
    try:
        channel.unary_unary(PREDICT)(content, timeout=30)
    except grpc.RpcError as error:
        return error.code()  # type: ignore[attr-defined, no-any-return]
    return grpc.StatusCode.OK


def lookup(**tensor: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "fused_lookup"
    for size in tensor.pop("shape", [1, 16]):
        request.inputs["embedding"].tensor_shape.dim.add(size=size)
    for name, value in {"dtype": 1, **tensor}.items():
        if isinstance(value, list):
            getattr(request.inputs["embedding"], name).extend(value)
        else:
            setattr(request.inputs["embedding"], name, value)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        lookup(shape=[1 << 40, 16]),
        lookup(shape=[1 << 17, 16], float_val=[1.0]),
        lookup(shape=[1, 15], float_val=[1.0]),
        lookup(shape=[16], float_val=[1.0]),
        lookup(shape=[], float_val=[1.0]),
        lookup(shape=[17, 16], float_val=[1.0]),
        lookup(dtype=7, string_val=[b"x" * 100_000]),
        lookup(dtype=20),
        lookup(dtype=14, half_val=[1]),
    ],
    ids=lambda request: str(request.inputs["embedding"])[:60],
)
def test_tensors_that_do_not_fit(channel: grpc.Channel, request_: Any) -> None:
    assert code_of(channel, request_.SerializeToString()) == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0" + b"\0" * 500])
def test_pictures_that_are_none(channel: grpc.Channel, content: bytes) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "fused_search"
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(content)
    assert code_of(channel, request.SerializeToString()) == grpc.StatusCode.INVALID_ARGUMENT


def test_picture_bombs(channel: grpc.Channel) -> None:
    side = 20_000
    rows = zlib.compress(b"\0" * (side * (1 + side // 8)), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "fused_search"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([bomb]))
    with pytest.raises(grpc.RpcError) as caught:
        Lookups(channel).prediction.Predict(request, timeout=30)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "expected pictures of at most 64000000 pixels, picture 0 has 400000000" in error.details()


def test_messages_that_are_too_large(channel: grpc.Channel, server: Any) -> None:
    large = lookup(tensor_content=b"\0" * (2 << 20)).SerializeToString()
    assert code_of(channel, large) == grpc.StatusCode.RESOURCE_EXHAUSTED
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
    connection.request("POST", "/v1/models/fused_lookup:predict", b"x" * (2 << 20))
    assert connection.getresponse().status == 413
    connection.close()


def test_fuzzed_messages(channel: grpc.Channel) -> None:
    draw = random.Random(3)
    good = lookup(float_val=[1.0] * 16).SerializeToString()
    codes = set()
    for _ in range(300):
        content = bytearray(good)
        for _ in range(draw.randrange(1, 6)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        codes.add(code_of(channel, bytes(content[: draw.randrange(1, len(content) + 1)])))
    expected = {"OK", "INVALID_ARGUMENT", "INTERNAL", "NOT_FOUND", "FAILED_PRECONDITION"}
    assert {code.name for code in codes} <= expected
    assert grpc.StatusCode.INTERNAL in codes


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"instances": ' + b'{"a":' * 5000,
        b'{"instances": [' + b"9" * 10_000 + b"]}",
        json.dumps({"instances": [["x" * 10_000] * 16] * 2}).encode(),
        json.dumps({"instances": [{"b64": "!"}]}).encode(),
        b"\xff\xfe{",
        b'{"instances": [[1e999' + b",0" * 15 + b"]]}",
    ],
    ids=["deep list", "deep object", "long number", "long strings", "bad base64", "not UTF-8", "infinite"],
)
def test_json_bombs(server: Any, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("POST", "/v1/models/fused_lookup:predict", body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 400 or body.startswith(b'{"instances": [[1e999')
    assert response.status < 500
    assert len(json.dumps(answer)) < 10_000


def test_a_body_that_is_not_what_its_headers_say(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("POST", "/v1/models/fused_lookup:predict", b"not gzip", {"Content-Encoding": "gzip"})
    response = connection.getresponse()
    assert response.status == 400
    assert "encoded as Content-Encoding says" in json.loads(response.read())["error"]
    connection.close()
    with socket.create_connection(("127.0.0.1", server.rest_port)) as broken:
        broken.sendall(b"POST /v1/models/fused_lookup:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{")
    connection.request("GET", "/v1/models/fused_lookup")
    assert connection.getresponse().status == 200
    connection.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
