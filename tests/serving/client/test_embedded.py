"""The clients against the embedded server."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving import BadInputError, Limits, ModelNotFoundError, UnknownSignatureError

pytestmark = pytest.mark.usefixtures("small_server")


@pytest.fixture
def client(make: Any, small_server: Any) -> Any:
    made = make(small_server.address, limits=Limits(batch=4))
    made.wait_until_ready(30)
    return made


def picture(seed: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def test_search_is_embed_and_lookup(client: Any) -> None:
    content = picture(0)
    found = client.search(content, k=7)
    embedding = client.embed(content)
    looked_up = client.lookup(embedding, k=7)
    assert len(found.matches) == 7
    assert found.ids == looked_up.ids
    assert np.allclose(found.scores, looked_up.scores, atol=1e-6)
    assert np.all(np.diff(found.scores) <= 0)
    assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
    assert (found.model, found.version, found.fingerprint) == ("fused_search", 1, "encoder-a")
    assert found.table_fingerprint == looked_up.table_fingerprint == "table-a"
    assert set(found.matches[0].attributes) == {"gender", "colour"}


def test_an_array_a_pil_image_and_a_png_are_the_same_picture(client: Any) -> None:
    content = picture(1, "PNG")
    image = Image.open(io.BytesIO(content))
    vectors = client.embed_many([content, image, np.asarray(image)])
    assert np.array_equal(vectors[0].vector, vectors[1].vector)
    assert np.array_equal(vectors[0].vector, vectors[2].vector)


def test_filters(client: Any) -> None:
    every = client.lookup(np.ones(16), k=20)
    women = client.lookup(np.ones(16), k=20, filters={"gender": "Women"})
    assert {match.attributes["gender"] for match in women.matches} == {"Women"}
    expected = [match.id for match in every.matches if match.attributes["gender"] == "Women"]
    assert list(women.ids[: len(expected)]) == expected
    both = client.search(picture(2), k=5, filters={"gender": ["Women", "Men"]})
    assert {match.attributes["gender"] for match in both.matches} <= {"Women", "Men"}
    assert client.lookup(np.ones(16), filters={"gender": "Nobody"}).matches == ()


def test_many_are_the_same_as_one_by_one(client: Any) -> None:
    pictures = [picture(seed) for seed in range(11)]
    together = client.search_many(pictures, k=3)
    assert [result.ids for result in together] == [client.search(each, k=3).ids for each in pictures]
    labels = client.classify_many(pictures, k=1)
    assert [item.labels[0].name for item in labels] == [client.classify(each).labels[0].name for each in pictures]
    assert sum(label.score for label in client.classify(pictures[0], k=3).labels) == pytest.approx(1, abs=1e-5)


def test_predict_and_what_the_server_tells(client: Any) -> None:
    content = picture(3)
    prediction = client.predict("fused_encoder", "serving_default", {"image_bytes": [content]})
    assert np.array_equal(prediction["embedding"][0], client.embed(content).vector)
    pixels = np.asarray(Image.open(io.BytesIO(picture(3, "PNG"))))
    by_pixels = client.predict("fused_encoder", "embed_pixels", {"pixels": pixels[np.newaxis]}, ["embedding"])
    assert np.allclose(by_pixels["embedding"][0], client.embed(pixels).vector, atol=1e-6)
    assert sorted(client.models()) == ["fused_encoder", "fused_lookup", "fused_search"]
    assert client.status("fused_search")[0].state == "AVAILABLE"
    assert client.metadata("fused_lookup").signatures["lookup"].inputs["embedding"].shape == (None, 16)
    assert client.healthy()


def test_errors(client: Any) -> None:
    with pytest.raises(ModelNotFoundError):
        client.search(picture(0), version=9)
    with pytest.raises(ModelNotFoundError):
        client.search(picture(0), label="nowhere")
    with pytest.raises(ModelNotFoundError):
        client.predict("other", "serving_default", {})
    with pytest.raises(UnknownSignatureError):
        client.predict("fused_search", "other", {"image_bytes": [b"x"]})
    with pytest.raises(BadInputError, match=r"Signature input alias|input size"):
        client.predict("fused_search", "search_images", {"pictures": [b"x"]})
    with pytest.raises(BadInputError):
        client.predict("fused_encoder", "embed_images", {"image_bytes": np.ones(1, np.float32)})
    with pytest.raises(BadInputError, match="16 numbers"):
        client.lookup(np.ones(15))
    with pytest.raises(BadInputError, match="20"):
        client.lookup(np.ones(16), k=21)


def test_shards(make: Any, small_server: Any) -> None:
    port = small_server.address.rpartition(":")[2]
    client = make([f"127.0.0.1:{port}", f"localhost:{port}"], sharded=True)
    client.wait_until_ready(30)
    (one,) = client.lookup_many(np.ones((1, 16)), k=4)
    assert one.ids[0] == one.ids[1]
    assert one.ids[2] == one.ids[3]
    assert client.search(picture(0), k=1).fingerprint == "encoder-a"
