"""1,000 requests that nobody means well with: each gets its code, and the server keeps its memory and goes on."""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from process_memory import resident

from serving import wire

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUESTS = 1000
INVALID, NOT_FOUND = "INVALID_ARGUMENT", "NOT_FOUND"
FLOAT, STRING, DTYPES = 1, 7, (2, 3, 4, 6, 9, 10, 14, 19, 20, 23, 101)


def request(model: str = "fused_lookup", alias: str = "embedding", signature: str = "") -> tuple[Any, Any]:
    """A request and its one tensor."""
    made = wire.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    return made, made.inputs[alias]


def lookup(shape: list[int], dtype: int = FLOAT, **fields: Any) -> bytes:
    made, tensor = request()
    tensor.dtype = dtype
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return bytes(made.SerializeToString())


GOOD = lookup([1, 16], tensor_content=np.ones(16, np.float32).tobytes())


def fuzzed(draw: random.Random) -> bytes:
    content = bytearray(GOOD)
    for _ in range(draw.randrange(1, 6)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content[: draw.randrange(1, len(content) + 1)])


def noise(draw: random.Random) -> bytes:
    return b"\xff" + draw.randbytes(draw.randrange(1, 5000))  # tag 31 of wire type 7, which there is not


def wrong_shape(draw: random.Random) -> bytes:
    rank = draw.choice([0, 1, 3, 4])
    shape = draw.choice([[1, draw.choice([0, 1, 15, 17, 500])], [draw.randrange(1, 4)] * rank])
    count = int(np.prod(shape)) if shape else 1
    return lookup(shape, tensor_content=np.ones(count, np.float32).tobytes())


def wrong_count(draw: random.Random) -> bytes:
    return lookup([1, 16], tensor_content=b"\0" * draw.choice([1, 63, 65, 128, 4096]))


def wrong_dtype(draw: random.Random) -> bytes:
    return lookup([1, 16], draw.choice(DTYPES), tensor_content=b"\0" * 128)


def giant(draw: random.Random) -> bytes:
    side = draw.choice([1 << 62, 1 << 40, (1 << 31) - 1, -1, -(1 << 40)])
    return lookup(draw.choice([[side, 16], [1, side], [side, side], [1 << 31, 1 << 31, 16]]), float_val=[1.0])


def too_many_rows(draw: random.Random) -> bytes:
    rows = draw.randrange(17, 4000)
    return lookup([rows, 16], tensor_content=np.ones((rows, 16), np.float32).tobytes())


def strings(draw: random.Random) -> bytes:
    return lookup([1, 16], STRING, string_val=[b"x" * draw.randrange(1, 200_000) for _ in range(16)])


def unknown_name(draw: random.Random) -> bytes:
    return bytes(
        request(draw.choice(["nobody", "fused_lookup/1", "../fused_lookup", "x" * 50_000, "\0"]))[0].SerializeToString()
    )


def wrong_inputs(draw: random.Random) -> bytes:
    made, tensor = request(alias=draw.choice(["", "embeddings", "e" * 100_000]))
    tensor.dtype = FLOAT
    for extra in range(draw.randrange(3)):
        made.inputs[f"more{extra}"].dtype = FLOAT
    return bytes(made.SerializeToString())


def picture(content: bytes) -> bytes:
    made, tensor = request(random.Random(len(content)).choice(["fused_search", "fused_encoder"]), "image_bytes")
    tensor.dtype = STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(content)
    return bytes(made.SerializeToString())


def no_picture(draw: random.Random) -> bytes:
    start = draw.choice(
        [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF....WEBPVP8 ", b"<svg>"]
    )
    return picture(start + draw.randbytes(draw.randrange(0, 3000)))


def picture_bomb(draw: random.Random) -> bytes:
    """A few bytes that say they are a picture of gigabytes."""
    side = draw.choice([20_000, 60_000, (1 << 16) - 1])

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(200_000)))
    jpeg = b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", side, side) + b"\3\1\x22\0\2\x11\1\3\x11\1\xff\xd9"
    gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0)
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return picture(draw.choice([png + chunk(b"IEND", b""), jpeg, gif + b"\2\2L\1\0;", bmp]))


KINDS: dict[Callable[[random.Random], bytes], set[str]] = {
    fuzzed: {"OK", INVALID, "INTERNAL", NOT_FOUND, "FAILED_PRECONDITION"},
    noise: {"INTERNAL"},
    wrong_shape: {INVALID},
    wrong_count: {INVALID},
    wrong_dtype: {INVALID},
    giant: {INVALID},
    too_many_rows: {INVALID},
    strings: {INVALID},
    unknown_name: {NOT_FOUND},
    wrong_inputs: {INVALID},
    no_picture: {INVALID},
    picture_bomb: {INVALID},
}


@pytest.mark.timeout(120)
def test_a_thousand_malformed_requests(small_server: Any) -> None:
    draw, memory = random.Random(5), []
    codes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with grpc.insecure_channel(small_server.address) as channel:
        call = channel.unary_unary(PREDICT)
        assert call(GOOD, timeout=30)
        for number in range(REQUESTS):
            kind = list(KINDS)[number % len(KINDS)]
            try:
                call(kind(draw), timeout=30)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name  # type: ignore[attr-defined]
                assert len(error.details()) < 1100  # type: ignore[attr-defined]
            codes[kind.__name__][code] += 1
            if number % 100 == 99:
                memory.append(resident(small_server.process))
                assert call(GOOD, timeout=30)
    unexpected = {
        kind.__name__: codes[kind.__name__] for kind, known in KINDS.items() if set(codes[kind.__name__]) - known
    }
    assert not unexpected
    assert sum(found.total() for found in codes.values()) == REQUESTS
    assert max(memory[3:]) < 1.05 * max(memory[:3])
