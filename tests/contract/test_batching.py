"""Batching: the rows of the contract's table about batches, queues and deadlines.

`slow` takes about 0.1 ms times the first number of its input; its batches hold 4 rows, one runs at a time, 2 wait.
"""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from requests_of_tests import TIMEOUT, predict_request, refused

FULL = [[3000.0]] * 4
LONG = [[12000.0]] * 4
"""Some tenths of a second, also where the machine is fast."""
"""A full batch that takes a while."""


def test_batch_larger_than_allowed(prediction: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("slow", x=[[1.0]] * 5))
    assert (code, message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Task size 5 is larger than maximum input batch size 4",
    )


def test_full_queue_is_told_at_once(prediction: Any) -> None:
    calls = [prediction.Predict.future(predict_request("slow", x=FULL), timeout=TIMEOUT) for _ in range(8)]
    codes, first = [], None
    start = time.monotonic()
    for call in calls:
        codes.append(call.code())
        if codes[-1] == grpc.StatusCode.UNAVAILABLE and first is None:
            first = call
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert 2 <= codes.count(grpc.StatusCode.OK) <= 4
    assert first is not None
    assert "The batch scheduling queue to which this task was submitted is full" in first.details()
    assert time.monotonic() - start < TIMEOUT


def test_deadline_that_passes_in_the_queue(prediction: Any) -> None:
    busy = [prediction.Predict.future(predict_request("slow", x=LONG), timeout=TIMEOUT) for _ in range(2)]
    time.sleep(0.05)
    code, _ = refused(prediction.Predict, predict_request("slow", x=[[1.0]]), timeout=0.1)
    # The server says RESOURCE_EXHAUSTED when it takes the request from the queue, the client DEADLINE_EXCEEDED when
    # its clock runs out: whichever comes first.
    assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert [call.code() for call in busy] == [grpc.StatusCode.OK] * 2


def test_texts_and_numbers_in_a_batch(prediction: Any) -> None:
    def ask(text: str, weight: float) -> Any:
        request = predict_request("words", text=np.array([text.encode()], object), weight=[weight])
        return prediction.Predict.future(request, timeout=TIMEOUT)

    blocking = ask("busy", 6000.0)
    time.sleep(0.05)
    texts = ["größe", "a\0b\0", "", "蓝色衬衫 👕"]
    for place, call in enumerate([ask(text, 0.25 * place) for place, text in enumerate(texts)]):
        outputs = {name: tf.make_ndarray(value).tolist() for name, value in call.result().outputs.items()}
        upper = tf.strings.upper(texts[place], "utf-8").numpy()
        assert outputs == {"upper": [upper], "weighed": [0.25 * place * len(texts[place])], "rows": [4]}
    assert blocking.code() == grpc.StatusCode.OK


def test_mixed_shapes_in_a_batch(prediction: Any) -> None:
    blocking = prediction.Predict.future(predict_request("slow", x=FULL), timeout=TIMEOUT)
    time.sleep(0.05)
    mixed = [prediction.Predict.future(predict_request("slow", x=[[1.0] * width]), timeout=TIMEOUT) for width in (1, 2)]
    assert [call.code() for call in mixed] == [grpc.StatusCode.FAILED_PRECONDITION] * 2
    assert "have different shapes and padding is turned off" in mixed[0].details()
    assert blocking.code() == grpc.StatusCode.OK


def test_output_that_lost_the_first_dimension(prediction: Any) -> None:
    code, message = refused(prediction.Predict, predict_request("collapsed", x=[[1.0, 2.0], [3.0, 4.0]]))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "0th dimension does not equal the sum of the 0th dimension sizes" in message


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_batches_are_filled_up_and_cut_down_again(prediction: Any, rows: int) -> None:
    x = [[float(row), 1.0] for row in range(rows)]
    answer = prediction.Predict(predict_request("slow", x=x), timeout=TIMEOUT)
    assert tf.make_ndarray(answer.outputs["doubled"]).tolist() == [[2.0 * row, 2.0] for row in range(rows)]


def test_everybody_gets_their_own_rows(prediction: Any) -> None:
    calls = [
        prediction.Predict.future(predict_request("slow", x=[[float(number)]]), timeout=TIMEOUT) for number in range(8)
    ]
    answers = [call.result().outputs["doubled"].float_val[0] for call in calls]
    assert answers == [2.0 * number for number in range(8)]
