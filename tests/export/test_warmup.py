"""Warm-up requests: one for every signature and batch size, in the server's own messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from export.standalone_verify import predict_request
from export.warmup import write_warmup
from serving.contract import WARMUP_FILE
from trainer.errors import InputError

PICTURE = b"\xff\xd8 a picture"


@pytest.fixture(scope="module")
def signatures() -> dict[str, Any]:
    def answer(first: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rows": tf.range(tf.shape(first)[0])}

    def spec(name: str, dtype: tf.DType, *shape: int) -> tf.TensorSpec:
        return tf.TensorSpec([None, *shape], dtype, name=name)

    images, pixels = spec("image_bytes", tf.string), spec("pixels", tf.uint8, 4, 4, 3)
    embedding, colour = spec("embedding", tf.float32, 9), spec("colour", tf.string)
    embed = tf.function(lambda image_bytes: answer(image_bytes))
    search = tf.function(lambda embedding, colour: answer(embedding) | {"colour": colour})
    return {
        "embed_images": embed.get_concrete_function(image_bytes=images),
        "embed_pixels": tf.function(lambda pixels: answer(pixels)).get_concrete_function(pixels=pixels),
        "lookup_filtered": search.get_concrete_function(embedding=embedding, colour=colour),
    }


def requests(folder: Path) -> list[Any]:
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def test_every_signature_and_batch_size_has_one(signatures: dict[str, Any], tmp_path: Path) -> None:
    assert write_warmup(tmp_path, "fused_encoder", signatures, (1, 4), picture=PICTURE) == 6
    found = requests(tmp_path)
    assert [(request.model_spec.name, request.model_spec.signature_name) for request in found] == [
        ("fused_encoder", name) for name in signatures for _ in range(2)
    ]
    arrays = [{name: tf.make_ndarray(value) for name, value in request.inputs.items()} for request in found]
    assert arrays[1]["image_bytes"].tolist() == [PICTURE] * 4
    assert arrays[3]["pixels"].shape == (4, 4, 4, 3)
    assert arrays[3]["pixels"].dtype == np.uint8
    assert arrays[5]["embedding"].shape == (4, 9)
    np.testing.assert_allclose(np.linalg.norm(arrays[5]["embedding"], axis=1), 1.0, rtol=1e-6)
    assert arrays[5]["colour"].tolist() == [b""] * 4


def test_texts_are_words_and_none_and_count_half(tmp_path: Path) -> None:
    text, weight = tf.TensorSpec([None], tf.string, name="text"), tf.TensorSpec([None], tf.float32, name="weight")
    function = tf.function(lambda text, weight: {"text": text, "weight": weight})
    search = function.get_concrete_function(text=text, weight=weight)
    write_warmup(tmp_path, "fused_search", {"search_images_and_texts": search}, (1, 3))
    small, large = (
        {name: tf.make_ndarray(value) for name, value in request.inputs.items()} for request in requests(tmp_path)
    )
    assert small["text"].tolist() == [b"shirt"]
    assert large["text"].tolist() == [b"shirt", b"", b"shirt"]
    assert large["weight"].dtype == np.float32
    assert large["weight"].tolist() == [0.5] * 3


def test_the_server_s_kernels_take_what_is_written(signatures: dict[str, Any], tmp_path: Path) -> None:
    write_warmup(tmp_path, "fused_encoder", signatures, (3,), picture=PICTURE)
    for request in requests(tmp_path):
        # As the server does: from the message to a tensor in C++, not by way of NumPy.
        inputs = {
            name: tf.io.parse_tensor(value.SerializeToString(), tf.dtypes.as_dtype(value.dtype))
            for name, value in request.inputs.items()
        }
        assert signatures[request.model_spec.signature_name](**inputs)["rows"].numpy().tolist() == [0, 1, 2]


def test_pixels_take_no_room(signatures: dict[str, Any], tmp_path: Path) -> None:
    pixels = {"embed_pixels": signatures["embed_pixels"]}
    write_warmup(tmp_path, "fused_encoder", pixels, (4096,))
    assert (tmp_path / WARMUP_FILE).stat().st_size < 200


def test_a_reader_without_the_messages_reads_the_same(signatures: dict[str, Any], tmp_path: Path) -> None:
    write_warmup(tmp_path, "fused_encoder", signatures, (1, 200), picture=PICTURE * 50)
    records = tf.data.TFRecordDataset(str(tmp_path / WARMUP_FILE)).as_numpy_iterator()
    for record, request in zip(records, requests(tmp_path), strict=True):
        name, inputs = predict_request(record)
        assert name == request.model_spec.signature_name
        assert inputs == dict(request.inputs)


def test_more_than_a_server_takes_is_refused(signatures: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"batching.allowed_batch_sizes: expected at most 333 sizes.*received 400"):
        write_warmup(tmp_path, "fused_encoder", signatures, range(1, 401))
    assert not (tmp_path / WARMUP_FILE).exists()
