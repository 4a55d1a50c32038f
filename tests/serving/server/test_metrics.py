"""Metrics in Prometheus's text format."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from tensorflow_serving.apis import predict_pb2

from serving.server.grpc_service import PREDICTION, GrpcService
from serving.server.metrics import Counter, Gauge, Histogram, Metrics, exponential


def test_counters_and_gauges() -> None:
    counter = Counter(":c", ["name"])
    counter.add('a"b\\\n')
    counter.add('a"b\\\n', by=2)
    assert list(counter.lines()) == [':c{name="a\\"b\\\\\\n"} 3']
    assert list(Gauge("g", ["x"], lambda: [(("1",), 2.5)]).lines()) == ['g{x="1"} 2.5']


def test_histograms_are_cumulative_and_limits_belong_to_their_bucket() -> None:
    histogram = Histogram("h", ["k"], [1, 10])
    for value in (0.5, 1, 3, 100):
        histogram.add(value, "v")
    assert list(histogram.lines()) == [
        'h_bucket{k="v",le="1"} 2',
        'h_bucket{k="v",le="10"} 3',
        'h_bucket{k="v",le="+Inf"} 4',
        'h_sum{k="v"} 104.5',
        'h_count{k="v"} 4',
    ]


def test_the_page_names_every_metric_once() -> None:
    metrics = Metrics()
    metrics.watch(Gauge("mine", [], list))
    types = [line for line in metrics.page().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 11
    assert "# TYPE :tensorflow:serving:request_count counter" in types
    assert exponential(10, 2, 3) == (10, 20, 40)


@pytest.mark.parametrize(("raised", "code"), [(None, "OK"), (asyncio.CancelledError, "CANCELLED")])
def test_a_request_that_was_given_up_does_not_count_as_answered(raised: Any, code: str) -> None:
    async def predict(request: Any, deadline: float | None) -> Any:
        if raised is not None:
            raise raised
        return predict_pb2.PredictResponse()

    names = ("classify", "regress", "multi_inference", "metadata", "status", "reload")
    inference: Any = SimpleNamespace(
        predict=predict,
        metrics=Metrics(),
        manager=SimpleNamespace(models={"m": None}),
        admitted=contextlib.nullcontext,
        **dict.fromkeys(names),
    )
    service = GrpcService(inference, None)
    handler: Any = service.service(SimpleNamespace(method=f"/{PREDICTION}/Predict"))  # type: ignore[arg-type]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    context = SimpleNamespace(time_remaining=lambda: None)
    with contextlib.nullcontext() if raised is None else pytest.raises(raised):
        asyncio.run(handler.unary_unary(request.SerializeToString(), context))
    counted = [
        line for line in inference.metrics.page().splitlines() if line.startswith(":tensorflow:serving:request_count{")
    ]
    assert counted == [f':tensorflow:serving:request_count{{model_name="m",status="{code}"}} 1']
