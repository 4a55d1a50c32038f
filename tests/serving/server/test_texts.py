"""Models that read texts: whose operations do it, and texts and weights of many clients in one batch."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving import AsyncClient, Client, SearchResult

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def told(small_exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What text_operations_program.py prints."""
    program = Path(__file__).with_name("text_operations_program.py")
    command = [sys.executable, str(program), str(small_exports), str(tmp_path_factory.mktemp("text") / "exports")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def alike(rows: list[list[float]]) -> list[bool]:
    """Which of three spellings have the first one's embedding."""
    return [np.allclose(row, rows[0]) for row in rows]


def test_stock_operations_need_no_other_library(told: Any) -> None:
    assert (told["stock"]["version"], told["stock"]["imported"]) == (1, False)
    assert alike(told["stock"]["embeddings"]) == [True, False, True]


def test_tensorflow_text_is_loaded_where_the_manifest_asks_for_it(told: Any) -> None:
    assert (told["text"]["version"], told["text"]["imported"]) == (2, True)
    assert told["text"]["errors"]["2"] == ""
    assert alike(told["text"]["embeddings"]) == [True, True, True]


def test_without_tensorflow_text_the_version_fails_and_the_server_goes_on(told: Any) -> None:
    assert told["missing"]["version"] == 1
    assert told["missing"]["embeddings"] == told["stock"]["embeddings"]
    error = told["missing"]["errors"]["2"]
    assert re.search(r"expected tensorflow-text, .*; pip install 'tensorflow-text==2\.\d+\.\*'$", error)


def test_an_unknown_operation_comes_with_a_hint(told: Any) -> None:
    for round_ in ("missing", "text"):
        error = told[round_]["errors"]["3"]
        assert error.startswith("Op type not registered 'CaseFoldUTF8'")
        assert error.endswith('manifest.json says "words": {"ops": "tensorflow-text"}]')


def picture(seed: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    squares = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8))
    squares.resize((side, side), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def same(one: SearchResult, other: SearchResult) -> bool:
    return one.ids == other.ids and np.allclose(one.scores, other.scores, atol=1e-5)


def test_pictures_texts_and_weights_of_many_clients_share_batches(small_server: Any) -> None:
    texts = ["navy shirt", "red", "蓝色 衬衫", "shoes " * 300, "👕"]
    # large pictures, so that questions arrive faster than they are answered
    asked = [(picture(seed, side=1000), texts[seed % 5], seed / 16) for seed in range(16)]

    async def together() -> list[SearchResult]:
        async with AsyncClient(small_server.address) as client:
            questions = [client.search(image, 5, text=text, weight=weight) for image, text, weight in asked]
            return await asyncio.gather(*questions)

    def batches() -> int:
        with urllib.request.urlopen(f"http://{small_server.rest_address}/monitoring/prometheus/metrics") as page:
            found = re.findall(r"(?m)^\S+processed_batch_size_count\{\} (\d+)$", page.read().decode())
        return int(found[0]) if found else 0

    before = batches()
    found = asyncio.run(together())
    assert batches() - before < len(asked)
    with Client(small_server.address) as client:
        for (image, text, weight), result in zip(asked, found, strict=True):
            assert same(client.search(image, 5, text=text, weight=weight), result)


def test_the_weight_leads_from_the_picture_to_the_words(small_server: Any) -> None:
    with Client(small_server.address) as client:
        image, text = picture(0), "Navy  SHIRT"
        alone, words = client.search(image, 20), client.search(text=text, k=20)
        assert same(client.search(image, 20, text=text, weight=0), alone)
        assert same(client.search(image, 20, text=text, weight=1), words)
        assert same(client.lookup(client.embed_text("navy shirt"), 20), words)
        middle = client.embed(image).vector + client.embed_text(text).vector
        assert same(client.lookup(middle, 20), client.search(image, 20, text=text))
        men = client.search(image, 5, {"gender": "Men"}, text=text)
        assert {match.attributes["gender"] for match in men.matches} == {"Men"}


def test_rest_takes_texts(small_server: Any) -> None:
    body = {"signature_name": "search_texts", "instances": [{"text": "Größe 👕"}, {"text": "red"}]}
    connection = http.client.HTTPConnection(small_server.rest_address, timeout=30)
    connection.request("POST", "/v1/models/fused_search:predict", json.dumps(body).encode())
    rows = json.load(connection.getresponse())["predictions"]
    connection.close()
    with Client(small_server.address) as client:
        expected = client.search_many(texts=["Größe 👕", "red"], k=20)
    assert [row["ids"] for row in rows] == [list(each.ids) for each in expected]
