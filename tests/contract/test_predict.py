"""Predict: one test a row of the contract's table."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from requests_of_tests import TIMEOUT, predict_request, refused
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

A, B = [[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]
INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 3000


def tensor(**fields: Any) -> Any:
    """A TensorProto of two floats a row, with what is told changed."""
    shape = fields.pop("shape", [1, 2])
    proto = tensor_pb2.TensorProto(dtype=fields.pop("dtype", 1), **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_no_model_spec(prediction: Any) -> None:
    assert refused(prediction.Predict, predict_pb2.PredictRequest()) == (INVALID, "Missing ModelSpec")


def test_empty_model_name(prediction: Any) -> None:
    assert refused(prediction.Predict, predict_request("", a=A, b=B)) == (INVALID, "ModelSpec has no name specified.")


def test_unknown_model(prediction: Any) -> None:
    found = refused(prediction.Predict, predict_request("nobody", a=A, b=B))
    assert found == (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(nobody)")


@pytest.mark.parametrize("version", [3, 77])
def test_version_that_is_not_loaded_or_does_not_exist(prediction: Any, version: int) -> None:
    found = refused(prediction.Predict, predict_request("pair", version=version, a=A, b=B))
    assert found == (grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific(pair, {version})")


@pytest.mark.parametrize("model", ["pair", "nobody"])
def test_unknown_label(prediction: Any, model: str) -> None:
    found = refused(prediction.Predict, predict_request(model, version="nightly", a=A, b=B))
    assert found == (INVALID, "Unrecognized servable version label: nightly")


def test_unknown_signature(prediction: Any) -> None:
    found = refused(prediction.Predict, predict_request("pair", "divide", a=A, b=B))
    assert found == (grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "divide" not found.')


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"a": A, "b": B, "c": A}, "3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. Missing but required: {}."),
        ({"a": A}, "1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}."),
        ({}, "0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}."),
    ],
)
def test_too_many_or_too_few_inputs(prediction: Any, inputs: Any, told: str) -> None:
    code, message = refused(prediction.Predict, predict_request("pair", **inputs))
    assert code == INVALID
    assert message == f"input size does not match signature: {told}"


@pytest.mark.parametrize(("signature", "inputs"), [("", {"a": A, "c": B}), ("with_default", {"b": B})])
def test_missing_input(prediction: Any, signature: str, inputs: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("pair", signature, **inputs))
    assert code == INVALID
    missing = "a" if signature else "b"
    assert message.startswith(f"Signature input alias: {missing}(feed name: ")


def test_extra_input(prediction: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("pair", "with_default", a=A, c=B))
    assert (code, message) == (
        INVALID,
        "Inputs contains invalid name. Used request inputs: a, request input: a,c",
    )


def test_default_of_an_input(prediction: Any) -> None:
    answer = prediction.Predict(predict_request("pair", "with_default", a=[[1.0, 2.0]]), timeout=TIMEOUT)
    assert tf.make_ndarray(answer.outputs["sum"]).tolist() == [[11.0, 12.0]]


@pytest.mark.parametrize(
    "bad",
    [
        tensor(tensor_content=b"\0" * 7),
        tensor(tensor_content=b"\0" * 12),
        tensor(shape=[-1, 2], tensor_content=b"\0" * 8),
        tensor(dtype=0, tensor_content=b"\0" * 8),
        tensor(shape=[2**62, 2**62]),
    ],
    ids=["short", "long", "negative", "no dtype", "overflow"],
)
def test_tensor_that_does_not_parse(prediction: Any, bad: Any) -> None:
    found = refused(prediction.Predict, predict_request("pair", a=bad, b=[[1.0, 2.0]]))
    assert found == (INVALID, "tensor parsing error: a")


def test_wrong_dtype(prediction: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("pair", a=np.array([[True, False]]), b=[[1.0, 2.0]]))
    assert code == INVALID
    assert message.startswith("Expects arg[0] to be float but bool is provided")


def test_wrong_shape(prediction: Any) -> None:
    assert refused(prediction.Predict, predict_request("pair", a=[[1.0, 2.0, 3.0]], b=[[1.0, 2.0]]))[0] == INVALID


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (["sum", "product"], "output tensor alias not found in signature: product Outputs expected to be in the set "),
        (["sum", "sum"], "duplicate output tensor alias: sum"),
    ],
)
def test_bad_output_filter(prediction: Any, wanted: list[str], told: str) -> None:
    request = predict_request("pair", a=A, b=B)
    request.output_filter.extend(wanted)
    code, message = refused(prediction.Predict, request)
    assert code == INVALID
    assert message.startswith(told)


def test_answer_holds_the_numeric_version_and_the_resolved_signature(prediction: Any) -> None:
    answer = prediction.Predict(predict_request("pair", version="stable", a=A, b=B), timeout=TIMEOUT)
    assert answer.model_spec.name == "pair"
    assert answer.model_spec.signature_name == "serving_default"
    assert answer.model_spec.WhichOneof("version_choice") == "version"
    assert answer.model_spec.version.value == 1
    assert tf.make_ndarray(answer.outputs["version"]).tolist() == [1, 1]


@pytest.mark.parametrize(("version", "expected"), [(None, 2), (1, 1), (2, 2), ("canary", 2), ("stable", 1)])
def test_version_that_answers(prediction: Any, version: int | str | None, expected: int) -> None:
    answer = prediction.Predict(predict_request("pair", version=version, a=A, b=B), timeout=TIMEOUT)
    assert answer.model_spec.version.value == expected
    assert tf.make_ndarray(answer.outputs["version"]).tolist() == [expected] * 2
    assert tf.make_ndarray(answer.outputs["sum"]).tolist() == [[11.0, 22.0], [33.0, 44.0]]


def test_outputs_that_are_asked_for(prediction: Any) -> None:
    request = predict_request("pair", a=A, b=B)
    everything = prediction.Predict(request, timeout=TIMEOUT)
    assert sorted(everything.outputs) == ["difference", "sum", "version"]
    request.output_filter.append("difference")
    one = prediction.Predict(request, timeout=TIMEOUT)
    assert sorted(one.outputs) == ["difference"]
    assert one.outputs["difference"] == everything.outputs["difference"]


def test_outputs_come_as_repeated_fields(prediction: Any) -> None:
    answer = prediction.Predict(predict_request("pair", a=A, b=B), timeout=TIMEOUT)
    assert list(answer.outputs["sum"].float_val) == [11.0, 22.0, 33.0, 44.0]
    assert list(answer.outputs["version"].int64_val) == [2, 2]
    assert not answer.outputs["sum"].tensor_content


@pytest.mark.parametrize(
    "written",
    [
        tensor(tensor_content=np.float32([[5, 5]]).tobytes()),
        tensor(float_val=[5.0, 5.0]),
        tensor(float_val=[5.0]),
        tensor(float_val=[5.0, 5.0, 9.0]),
    ],
    ids=["content", "values", "last repeats", "more are ignored"],
)
def test_ways_to_write_a_tensor(prediction: Any, written: Any) -> None:
    answer = prediction.Predict(predict_request("pair", a=written, b=[[1.0, 2.0]]), timeout=TIMEOUT)
    assert list(answer.outputs["sum"].float_val) == [6.0, 7.0]


def test_strings(prediction: Any) -> None:
    texts = np.array([b"", b"\xff\x00", "Größe".encode()], object)
    answer = prediction.Predict(predict_request("pair", "length", texts=texts), timeout=TIMEOUT)
    assert list(answer.outputs["lengths"].int_val) == [0, 2, 7]
    assert list(answer.outputs["texts"].string_val) == texts.tolist()


def test_long_message_is_cut(prediction: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("pair", LONG, a=A, b=B))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("x...TRUNCATED")


def test_content_that_is_no_message(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refused(call, b"\x0a\xff\xff\xff")[0] == grpc.StatusCode.INTERNAL


def test_unknown_method(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Foresee")
    assert refused(call, b"")[0] == grpc.StatusCode.UNIMPLEMENTED
