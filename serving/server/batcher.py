"""The queue of one signature: bounded, with deadlines, emptied in batches."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np

from serving.server.batch import joined, rows_of, taken_apart
from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError
from serving.server.metrics import Metrics

__all__ = ["Batcher", "Run"]

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
Answers = list[list[np.ndarray] | RequestError]


@dataclass(eq=False)
class _Task:
    arrays: Sequence[np.ndarray]
    rows: int
    deadline: float | None
    answer: asyncio.Future[list[np.ndarray]]
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Collects requests on the event loop and runs them in batches in threads.

    A batch leaves when a thread is free and it is full, or its oldest request has waited `batch_timeout_micros`, or as
    many requests wait as the last batches had: so a lone client never waits for company that does not come. If a batch
    fails in the model, its requests are run again one by one, and only the guilty get the error.

    Args:
        run: runs arrays through the signature, in any thread.
        names: of the signature's inputs, for messages.
        parameters: how requests are run together; None runs each alone.
        max_pending: requests that may wait, where each runs alone.
        pool: the threads.
        metrics: where sizes and waiting times go.
    """

    def __init__(
        self,
        run: Run,
        names: Sequence[str],
        parameters: BatchingParameters | None,
        max_pending: int,
        pool: concurrent.futures.Executor,
        metrics: Metrics,
    ) -> None:
        self._run, self._names, self._parameters = run, names, parameters
        self._pool, self._metrics = pool, metrics
        self._one_by_one = BatchingParameters(max_batch_size=1, max_enqueued_batches=max_pending)
        self._limits = parameters or self._one_by_one
        self._queue: deque[_Task] = deque()
        self._queued_rows = 0
        self._running = 0
        self._expected = 1
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def submit(self, arrays: Sequence[np.ndarray], deadline: float | None) -> list[np.ndarray]:
        """Answers one request.

        Args:
            arrays: in the order of the signature's inputs.
            deadline: by `time.monotonic`; None waits for ever.

        Returns:
            Arrays in the order of its outputs.

        Raises:
            RequestError: INVALID_ARGUMENT: larger than a batch; UNAVAILABLE: the queue is full; RESOURCE_EXHAUSTED:
                the deadline passed in the queue; or what the model said.
        """
        if self._parameters is None:
            return await self._enqueue(arrays, 1, deadline)
        rows = rows_of(arrays)
        if rows > self._limits.max_batch_size:
            raise RequestError.invalid(
                f"Task size {rows} is larger than maximum input batch size {self._limits.max_batch_size}"
            )
        size = self._limits.execution_size
        if rows <= size:
            return await self._enqueue(arrays, rows, deadline)
        return await self._in_parts(arrays, rows, size, deadline)

    async def _in_parts(
        self, arrays: Sequence[np.ndarray], rows: int, size: int, deadline: float | None
    ) -> list[np.ndarray]:
        self._check_room(rows)
        parts = [[array[start : start + size] for array in arrays] for start in range(0, rows, size)]
        answers = await asyncio.gather(
            *(self._enqueue(part, len(part[0]), deadline) for part in parts), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [np.concatenate(pieces) for pieces in zip(*answers, strict=True)]

    def _check_room(self, rows: int) -> None:
        room = self._limits.max_enqueued_batches * self._limits.execution_size
        if self._queue and self._queued_rows + rows > room:
            raise RequestError.unavailable(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{-(-self._queued_rows // self._limits.execution_size)} batches enqueued and max_enqueued_batches is "
                f"{self._limits.max_enqueued_batches}"
            )

    async def _enqueue(self, arrays: Sequence[np.ndarray], rows: int, deadline: float | None) -> list[np.ndarray]:
        self._check_room(rows)
        task = _Task(arrays, rows, deadline, asyncio.get_running_loop().create_future())
        if self._parameters is not None:
            self._metrics.input_batch.add(rows)
        self._queue.append(task)
        self._queued_rows += rows
        self._dispatch()
        try:
            return await task.answer
        except asyncio.CancelledError:
            if task in self._queue:
                self._queue.remove(task)
                self._queued_rows -= task.rows
            raise

    def _dispatch(self) -> None:
        """Sends batches to the threads as long as one is free and one is due."""
        while self._queue and self._running < self._limits.num_batch_threads:
            wait = self._time_to_wait()
            if wait > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)
                return
            batch = self._take()
            if batch:
                self._running += 1
                loop = asyncio.get_running_loop()
                self._pool.submit(self._execute, batch, loop)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch()

    def _time_to_wait(self) -> float:
        if len(self._queue) >= self._expected or self._queued_rows >= self._limits.execution_size:
            return 0.0
        return self._queue[0].since + self._limits.batch_timeout_micros / 1e6 - time.monotonic()

    def _take(self) -> list[_Task]:
        """The next batch; requests whose time is up are told so instead."""
        batch: list[_Task] = []
        now, rows = time.monotonic(), 0
        while self._queue and (not batch or rows + self._queue[0].rows <= self._limits.execution_size):
            task = self._queue.popleft()
            self._queued_rows -= task.rows
            self._metrics.queuing.add((now - task.since) * 1e6, self._limits.thread_pool_name)
            if task.deadline is not None and task.deadline <= now:
                if not task.answer.done():
                    message = "Run() timeout exceeded while waiting in batching queue"
                    task.answer.set_exception(RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message))
            elif not task.answer.done():
                batch.append(task)
                rows += task.rows
        self._expected = max(1, len(batch))
        return batch

    def _execute(self, batch: list[_Task], loop: asyncio.AbstractEventLoop) -> None:
        """Runs a batch; in a thread."""
        answers = self._answers([task.arrays for task in batch], [task.rows for task in batch])
        loop.call_soon_threadsafe(self._deliver, batch, answers)

    def _answers(self, tasks: list[Sequence[np.ndarray]], sizes: list[int]) -> Answers:
        try:
            if self._parameters is None:
                return [self._run(tasks[0])]
            arrays = joined(tasks, self._names, sum(sizes), self._parameters)
        except Exception as error:
            return [RequestError.of(error)] * len(tasks)
        run = len(arrays[0])
        self._metrics.processed_batch.add(run)
        self._metrics.padding.add(run - sum(sizes), str(run))
        try:
            outputs = self._run(arrays)
        except Exception as error:
            if len(tasks) == 1:
                return [RequestError.of(error)]
            return [self._answers([task], [size])[0] for task, size in zip(tasks, sizes, strict=True)]
        try:
            return list(taken_apart(outputs, sizes, run))
        except RequestError as error:
            return [error] * len(tasks)

    def _deliver(self, batch: list[_Task], answers: Answers) -> None:
        self._running -= 1
        for task, answer in zip(batch, answers, strict=True):
            if task.answer.done():
                continue
            if isinstance(answer, RequestError):
                task.answer.set_exception(answer)
            else:
                task.answer.set_result(answer)
        self._dispatch()
