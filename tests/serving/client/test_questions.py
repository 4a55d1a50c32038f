"""What is asked and answered, over both clients."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import FINGERPRINT, PICTURE, TABLE_FINGERPRINT, FakeServer
from PIL import Image

from serving import Embedding, Label, Match, MixedFingerprintsError
from serving.wire import to_array


def test_search_answers_matches_with_their_attributes(client: Any) -> None:
    result = client.search(PICTURE, k=2)
    assert result.matches == (
        Match("item-0", pytest.approx(0.9), {"gender": "Women"}),
        Match("item-1", pytest.approx(0.8), {"gender": "Men"}),
    )
    assert result.ids == ("item-0", "item-1")
    assert (result.model, result.version) == ("fused_search", 1)
    assert (result.fingerprint, result.table_fingerprint) == (FINGERPRINT, TABLE_FINGERPRINT)
    assert result.scores.dtype == np.float32
    assert result.scores.base is not None
    assert not result.scores.flags.writeable


def test_results_are_frozen_and_can_be_pickled(client: Any) -> None:
    result = client.search(PICTURE, k=2)
    with pytest.raises(AttributeError):
        result.version = 2
    with pytest.raises(TypeError):
        result.matches[0].attributes["gender"] = "Men"
    assert pickle.loads(pickle.dumps(result)) == result
    assert len({result, result}) == 1


def test_a_filter_goes_out_and_fewer_may_come_back(client: Any, server: FakeServer) -> None:
    result = client.search(PICTURE, k=10, filters={"gender": "Women"})
    assert [match.attributes["gender"] for match in result.matches] == ["Women"] * 6
    assert len(result.scores) == 6
    assert server.asked()[-1].model_spec.signature_name == "search_images_filtered"
    client.lookup([1.0, 2.0, 3.0, 4.0], filters={"gender": ["Women", "Men"]}, k=1)
    inputs = server.asked()[-1].inputs
    assert to_array(inputs["gender"]).tolist() == [b"Women\nMen"]
    assert to_array(inputs["colour"]).tolist() == [b""]


def test_every_kind_of_picture_goes_out_as_a_file(client: Any, server: FakeServer, tmp_path: Path) -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    image = Image.fromarray(pixels)
    path = tmp_path / "picture.png"
    image.save(path)
    content = path.read_bytes()
    for picture in (content, bytearray(content), memoryview(content), path, str(path), io.BytesIO(content)):
        client.search(picture, k=1)
        assert to_array(server.asked()[-1].inputs["image_bytes"]).tolist() == [content]
    for picture, expected in ((image, pixels), (pixels, pixels), (pixels[:, :, 0], pixels[:, :, :1].repeat(3, axis=2))):
        client.search(picture, k=1)
        (sent,) = to_array(server.asked()[-1].inputs["image_bytes"]).tolist()
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent)).convert("RGB")), expected)


def test_a_pil_image_is_turned_upright(client: Any, server: FakeServer) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4)).save(buffer, "JPEG", exif=exif)
    client.embed(Image.open(io.BytesIO(buffer.getvalue())))
    (sent,) = to_array(server.asked()[-1].inputs["image_bytes"]).tolist()
    assert Image.open(io.BytesIO(sent)).size == (4, 8)


def test_a_webp_goes_out_as_it_is_and_transparency_is_kept(client: Any, server: FakeServer) -> None:
    webp = io.BytesIO()
    Image.new("RGB", (8, 4), "red").save(webp, "WEBP")
    client.search(webp.getvalue(), k=1)
    assert to_array(server.asked()[-1].inputs["image_bytes"]).tolist() == [webp.getvalue()]
    client.search(Image.new("RGBA", (8, 4), (255, 0, 0, 0)), k=1)
    (sent,) = to_array(server.asked()[-1].inputs["image_bytes"]).tolist()
    assert Image.open(io.BytesIO(sent)).getpixel((0, 0)) == (255, 0, 0, 0)


def test_an_embedding_can_be_looked_up(client: Any) -> None:
    embedding = client.embed(PICTURE)
    assert isinstance(embedding, Embedding)
    assert np.array_equal(np.asarray(embedding), FakeServer.vector(PICTURE))
    assert not embedding.vector.flags.writeable
    assert client.lookup(embedding, k=1).ids == ("item-0",)
    assert client.lookup(embedding.vector.astype(np.float64), k=1).ids == ("item-0",)


def test_classify_answers_the_likeliest(client: Any) -> None:
    assert client.classify(PICTURE).labels == (Label("Shirts", 0.5),)
    assert [label.name for label in client.classify(PICTURE, k=3).labels] == ["Shirts", "Shoes", "Watches"]


def test_many_are_split_and_answered_in_order(make: Any, server: FakeServer) -> None:
    from serving import Limits

    client = make(server.address, limits=Limits(batch=3, concurrency=3))
    pictures = [PICTURE + bytes([place]) for place in range(10)]
    embeddings = client.embed_many(pictures)
    assert np.array_equal(np.stack(embeddings), np.stack([FakeServer.vector(picture) for picture in pictures]))
    assert sorted(len(request.inputs["image_bytes"].string_val) for request in server.asked()) == [1, 3, 3, 3]
    assert len(client.lookup_many(embeddings, k=2)) == 10
    assert len(client.lookup_many(np.ones((4, 4)), k=2)) == 4
    assert len(client.search_many(iter(pictures), k=1)) == 10
    assert len(client.classify_many(pictures)) == 10
    assert client.search_many([]) == []
    assert client.lookup_many([]) == []


def test_requests_stay_under_the_message_limit(make: Any, server: FakeServer) -> None:
    from serving import Limits

    client = make(server.address, limits=Limits(message_bytes=20_000))
    client.embed_many([PICTURE + bytes(6000)] * 5)
    assert sorted(len(request.inputs["image_bytes"].string_val) for request in server.asked()) == [1, 2, 2]
    assert max(request.ByteSize() for request in server.asked()) <= 20_000


def test_predict_asks_any_signature(client: Any, server: FakeServer) -> None:
    inputs = {"numbers": [[1.5, 2.5]], "counts": [1, 2], "texts": ["a", b"\xff\0"], "flags": np.array([True])}
    prediction = client.predict("fused_search", "echo", inputs, outputs=["numbers"])
    assert prediction["numbers"].tolist() == [[1.5, 2.5]]
    assert prediction["numbers"].dtype == np.float32
    assert prediction["counts"].dtype == np.int32
    assert prediction["texts"].tolist() == [b"a", b"\xff\0"]
    assert prediction["flags"].tolist() == [True]
    assert (prediction.model, prediction.signature, prediction.version) == ("fused_search", "echo", 1)
    assert list(server.asked()[-1].output_filter) == ["numbers"]


def test_version_and_label_are_pinned(make: Any, server: FakeServer) -> None:
    pinned = make(server.address, version=1)
    pinned.search(PICTURE)
    assert server.asked()[-1].model_spec.version.value == 1
    pinned.search(PICTURE, label="stable")
    spec = server.asked()[-1].model_spec
    assert spec.version_label == "stable"
    assert not spec.HasField("version")
    make(server.address, label="stable").embed(PICTURE)
    assert server.asked()[-1].model_spec.version_label == "stable"


def test_request_id_and_metadata_are_passed_on(make: Any, server: FakeServer) -> None:
    client = make(server.address, metadata={"shop": "north"}, token="open sesame")  # noqa: S106
    client.search(PICTURE, request_id="abc", metadata={"x-user": "7"})
    sent = server.requests[-1][2]
    assert {name: sent[name] for name in ("x-request-id", "shop", "x-user", "authorization")} == {
        "x-request-id": "abc",
        "shop": "north",
        "x-user": "7",
        "authorization": "Bearer open sesame",
    }
    client.search(PICTURE)
    assert len(server.requests[-1][2]["x-request-id"]) == 32


def test_a_token_may_be_made_for_every_call(make: Any, server: FakeServer) -> None:
    tokens = iter(["first", "second"])
    client = make(server.address, token=lambda: next(tokens))
    client.healthy()
    client.healthy()
    assert [metadata["authorization"] for _, _, metadata in server.requests] == ["Bearer first", "Bearer second"]


def test_an_embedding_of_another_encoder_is_refused(make: Any, client: Any, server: FakeServer) -> None:
    embedding = client.embed(PICTURE)
    server.fingerprint = "encoder-2"
    with pytest.raises(MixedFingerprintsError, match=r"encoder-1.*encoder-2"):
        client.lookup(embedding)
    with pytest.raises(MixedFingerprintsError):
        client.lookup_many([embedding, client.embed(PICTURE)])
    with pytest.raises(MixedFingerprintsError):
        make(server.address, fingerprint="encoder-1").search(PICTURE)


def test_embeddings_made_across_a_swap_are_made_anew(make: Any, server: FakeServer) -> None:
    from serving import Limits

    def swap(request: Any, context: Any) -> None:
        server.version, server.fingerprint = (2, "encoder-2") if len(server.asked()) > 1 else (1, "encoder-1")

    server.before = swap
    client = make(server.address, limits=Limits(batch=2, concurrency=1))
    results = client.embed_many([PICTURE + bytes([place]) for place in range(6)])
    assert {(result.version, result.fingerprint) for result in results} == {(2, "encoder-2")}
    assert np.array_equal(results[1].vector, FakeServer.vector(PICTURE + b"\1"))

    def flap(request: Any, context: Any) -> None:
        server.version = server.version % 2 + 1
        server.fingerprint = f"encoder-{server.version}"

    server.before = flap
    with pytest.raises(MixedFingerprintsError, match="asked again"):
        client.embed_many([PICTURE] * 6)
