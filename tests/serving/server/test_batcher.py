"""The queue: who runs with whom, who is refused, and who waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from serving.server.batcher import Batcher
from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError
from serving.server.metrics import Metrics


class Doubler:
    """A model that doubles, waits while it is held, and fails on a poisoned row."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.free.wait(10)
        self.batches.append(len(arrays[0]))
        if np.any(arrays[0] == 666):
            raise RequestError.invalid("poisoned")
        return [arrays[0] * 2]


@pytest.fixture
def model() -> Doubler:
    return Doubler()


def make(model: Any, pending: int = 100, **values: Any) -> Batcher:
    pool = concurrent.futures.ThreadPoolExecutor(4)
    fields = {"max_batch_size": 4, "num_batch_threads": 1, "batch_timeout_micros": 0, **values}
    parameters = None if values.get("off") else BatchingParameters(**fields)
    return Batcher(model, ["x"], parameters, pending, pool, Metrics())


def rows(*values: float, width: int = 2) -> list[np.ndarray]:
    return [np.repeat(np.array(values, np.float32)[:, None], width, axis=1)]


async def blocked(batcher: Batcher, model: Doubler) -> asyncio.Task[Any]:
    """A request that holds the only thread until the model is set free."""
    model.free.clear()
    task = asyncio.create_task(batcher.submit(rows(0), None))
    await asyncio.sleep(0.02)
    return task


def outcome(results: Sequence[Any]) -> list[Any]:
    return [result.code.name if isinstance(result, RequestError) else result[0][:, 0].tolist() for result in results]


def test_requests_that_wait_run_together_and_in_order(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model)
        first = await blocked(batcher, model)
        others = [asyncio.create_task(batcher.submit(rows(value), None)) for value in range(1, 6)]
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, *others)

    assert outcome(asyncio.run(work())) == [[0], [2], [4], [6], [8], [10]]
    assert model.batches == [1, 4, 1]


def test_a_lone_client_does_not_wait_for_company(model: Doubler) -> None:
    async def work() -> float:
        batcher = make(model, batch_timeout_micros=500_000)
        start = time.monotonic()
        for _ in range(5):
            await batcher.submit(rows(1), None)
        return time.monotonic() - start

    assert asyncio.run(work()) < 0.4


def test_where_there_was_company_it_is_waited_for_but_not_for_ever(model: Doubler) -> None:
    async def work() -> tuple[float, float]:
        batcher = make(model, batch_timeout_micros=200_000)
        first = await blocked(batcher, model)
        others = [asyncio.create_task(batcher.submit(rows(1), None)) for _ in range(2)]
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *others)
        start = time.monotonic()
        pair = asyncio.create_task(batcher.submit(rows(1), None))
        await asyncio.sleep(0.02)
        await asyncio.gather(pair, batcher.submit(rows(2), None))
        both = time.monotonic() - start
        start = time.monotonic()
        await batcher.submit(rows(1), None)
        return both, time.monotonic() - start

    both, alone = asyncio.run(work())
    assert model.batches == [1, 2, 2, 1]
    assert both < 0.15
    assert 0.15 < alone < 5


def test_batches_are_filled_up_to_an_allowed_size(model: Doubler) -> None:
    batcher = make(model, max_batch_size=8, allowed_batch_sizes=(2, 8))
    results = [asyncio.run(batcher.submit(rows(*range(count)), None))[0] for count in (1, 2, 3)]
    assert [result[:, 0].tolist() for result in results] == [[0], [0, 2], [0, 2, 4]]
    assert model.batches == [2, 2, 8]


def test_a_request_larger_than_a_batch_is_refused_or_split(model: Doubler) -> None:
    with pytest.raises(RequestError, match="Task size 5 is larger than maximum input batch size 4"):
        asyncio.run(make(model).submit(rows(*range(5)), None))
    splitting = make(model, max_batch_size=16, max_execution_batch_size=4, enable_large_batch_splitting=True)
    found = asyncio.run(splitting.submit(rows(*range(10)), None))
    assert found[0][:, 0].tolist() == [2.0 * value for value in range(10)]
    assert model.batches == [4, 4, 2]


def test_a_full_queue_refuses_at_once(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model, max_enqueued_batches=2)
        first = await blocked(batcher, model)
        waiting = [asyncio.create_task(batcher.submit(rows(1, 2, 3, 4), None)) for _ in range(2)]
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        start = time.monotonic()
        with pytest.raises(RequestError, match="queue to which this task was submitted is full") as caught:
            await batcher.submit(rows(1), None)
        assert caught.value.code == grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - start < 0.1
        model.free.set()
        return await asyncio.gather(first, *waiting)

    assert len(asyncio.run(work())) == 3


def test_time_that_passes_in_the_queue(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model)
        first = await blocked(batcher, model)
        late = asyncio.create_task(batcher.submit(rows(1), time.monotonic() + 0.01))
        patient = asyncio.create_task(batcher.submit(rows(2), time.monotonic() + 10))
        await asyncio.sleep(0.05)
        model.free.set()
        return await asyncio.gather(first, late, patient, return_exceptions=True)

    assert outcome(asyncio.run(work())) == [[0], "RESOURCE_EXHAUSTED", [4]]
    assert model.batches == [1, 1]


def test_who_hangs_up_frees_the_place(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model, max_enqueued_batches=1)
        first = await blocked(batcher, model)
        for _ in range(20):
            gone = asyncio.create_task(batcher.submit(rows(1, 2, 3, 4), None))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
        assert batcher.waiting == 0
        last = asyncio.create_task(batcher.submit(rows(5), None))
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, last)

    assert outcome(asyncio.run(work())) == [[0], [10]]
    assert model.batches == [1, 1]


def test_only_the_guilty_get_the_error(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model)
        first = await blocked(batcher, model)
        others = [asyncio.create_task(batcher.submit(rows(value), None)) for value in (1, 666, 3)]
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    assert outcome(asyncio.run(work())) == [[0], [2], "INVALID_ARGUMENT", [6]]


@pytest.mark.parametrize(("padding", "expected"), [(False, "FAILED_PRECONDITION"), (True, [2])])
def test_inputs_of_different_widths(model: Doubler, padding: bool, expected: Any) -> None:
    async def work() -> list[Any]:
        batcher = make(model, pad_variable_length_inputs=padding)
        first = await blocked(batcher, model)
        others = [asyncio.create_task(batcher.submit(rows(1, width=width), None)) for width in (1, 3)]
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    assert outcome(asyncio.run(work())) == [[0], expected, expected]


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ([], "at least one input tensor"),
        ([np.float32(3)], "at least one dimension"),
        ([np.zeros(2), np.zeros(3)], "equal 0th-dimension size"),
    ],
)
def test_requests_that_are_no_batch(model: Doubler, arrays: list[Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        asyncio.run(make(model).submit([np.asarray(array) for array in arrays], None))


def test_outputs_that_are_no_batch() -> None:
    for answer in (np.float32(3), np.zeros(7)):
        batcher = make(lambda arrays, answer=answer: [np.asarray(answer)])
        with pytest.raises(RequestError) as caught:
            asyncio.run(batcher.submit(rows(1, 2), None))
        assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION


def test_an_empty_request_is_answered_emptily(model: Doubler) -> None:
    assert asyncio.run(make(model, allowed_batch_sizes=(2, 4)).submit(rows(), None))[0].shape == (0, 2)


def test_without_batching_each_runs_alone_and_the_queue_is_bounded(model: Doubler) -> None:
    async def work() -> list[Any]:
        batcher = make(model, off=True, pending=3)
        model.free.clear()
        tasks = [asyncio.create_task(batcher.submit(rows(value), None)) for value in range(200)]
        await asyncio.sleep(0.05)
        model.free.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = outcome(asyncio.run(work()))
    assert found.count("UNAVAILABLE") > 100
    assert set(model.batches) == {1}
    assert [[2.0 * place] == result or result == "UNAVAILABLE" for place, result in enumerate(found)] == [True] * 200
