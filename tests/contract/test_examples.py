"""Classify, Regress and MultiInference: PredictionService's other calls."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import tensorflow as tf
from requests_of_tests import TIMEOUT, refused
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

ROWS = [[1.0, 1.0], [2.0, 0.0]]


def examples(context: bool = False) -> Any:
    """An Input of the rows; with a context, the values stand there instead."""
    given = input_pb2.Input()
    where = given.example_list_with_context if context else given.example_list
    if context:
        where.context.features.feature["x"].float_list.value.extend(ROWS[1])
    for row in ROWS:
        example = where.examples.add()
        if not context:
            example.features.feature["x"].float_list.value.extend(row)
    return given


def fill(request: Any, signature: str = "", given: Any = None) -> Any:
    request.model_spec.name = "examples"
    request.model_spec.signature_name = signature
    request.input.CopyFrom(examples() if given is None else given)
    return request


def test_classify(prediction: Any) -> None:
    answer = prediction.Classify(fill(classification_pb2.ClassificationRequest()), timeout=TIMEOUT)
    found = [[(item.label, item.score) for item in row.classes] for row in answer.result.classifications]
    scores = tf.nn.softmax(tf.constant(ROWS)).numpy().tolist()
    assert found == [[("left", row[0]), ("right", row[1])] for row in scores]
    assert (answer.model_spec.signature_name, answer.model_spec.version.value) == ("serving_default", 1)


@pytest.mark.parametrize(("context", "expected"), [(False, [2.0, 2.0]), (True, [2.0, 2.0])])
def test_regress(prediction: Any, context: bool, expected: list[float]) -> None:
    request = fill(regression_pb2.RegressionRequest(), "regress", examples(context))
    answer = prediction.Regress(request, timeout=TIMEOUT)
    assert [row.value for row in answer.result.regressions] == expected


@pytest.mark.parametrize("signature", ["regress", "nothing"])
def test_signature_of_another_method(prediction: Any, signature: str) -> None:
    found = refused(prediction.Classify, fill(classification_pb2.ClassificationRequest(), signature))
    assert found[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_no_examples(prediction: Any) -> None:
    request = fill(classification_pb2.ClassificationRequest(), given=input_pb2.Input())
    assert refused(prediction.Classify, request) == (grpc.StatusCode.INVALID_ARGUMENT, "Input is empty.")


def test_both_at_once(prediction: Any) -> None:
    request = inference_pb2.MultiInferenceRequest(input=examples())
    for signature in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{signature}")
        task.model_spec.name = "examples"
        task.model_spec.signature_name = signature
    answer = prediction.MultiInference(request, timeout=TIMEOUT)
    assert [result.WhichOneof("result") for result in answer.results] == ["classification_result", "regression_result"]
    assert [result.model_spec.signature_name for result in answer.results] == ["classify", "regress"]
    request.tasks[1].CopyFrom(request.tasks[0])
    assert refused(prediction.MultiInference, request)[0] == grpc.StatusCode.INVALID_ARGUMENT
