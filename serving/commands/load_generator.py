"""Many requests at once, counted and timed."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.client.errors import ServingError

__all__ = ["LoadGenerator", "LoadReport"]

PAUSE_AFTER_ERROR = 0.01
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, eq=False)
class LoadReport:
    """What came of a load.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: seconds of each request that was answered, float64, rising.
        errors: name of the error to how many requests ended with it.
    """

    seconds: float
    latencies: np.ndarray
    errors: Mapping[str, int]

    @property
    def answered(self) -> int:
        """Requests that got an answer."""
        return len(self.latencies)

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds within which this share of the answers came: the least latency that is not under it (nearest rank).

        NaN where there is no answer.
        """
        if not self.answered:
            return float("nan")
        return float(np.percentile(self.latencies, percent, method="inverted_cdf"))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; latencies in milliseconds, None where nothing was answered."""
        latency = {f"p{percent:g}": round(self.percentile(percent) * 1e3, 3) for percent in PERCENTILES}
        if self.answered:
            latency["mean"] = round(float(self.latencies.mean()) * 1e3, 3)
            latency["max"] = round(float(self.latencies[-1]) * 1e3, 3)
        return {
            "seconds": round(self.seconds, 3),
            "answered": self.answered,
            "throughput": round(self.throughput, 2),
            "latency_ms": latency if self.answered else None,
            "errors": dict(self.errors),
        }


class LoadGenerator:
    """Keeps a fixed number of requests on their way until the time or the number is over.

    The next request goes out when one is answered (a closed loop): a server that stalls is asked less meanwhile, so
    latencies are those of this many patient clients, not of arrivals at a fixed rate.

    Args:
        ask: sends the request of a number, from 0 on.
        concurrency: requests on their way at once.
        seconds: after which no request is sent any more; those on their way are waited for. None for no limit.
        requests: to send in all; None for no limit.
    """

    def __init__(
        self,
        ask: Callable[[int], Awaitable[Any]],
        concurrency: int,
        *,
        seconds: float | None = None,
        requests: int | None = None,
    ) -> None:
        if seconds is None and requests is None:
            raise ValueError("expected seconds or requests, received neither: the load would never end")
        self._ask, self._concurrency = ask, concurrency
        self._seconds, self._requests = seconds, requests
        self._latencies = array("d")
        self._errors: Counter[str] = Counter()
        self._sent, self._started, self._ended = 0, 0.0, 0.0

    async def run(self) -> LoadReport:
        """Sends the load; where it is cancelled, `report` tells what came until then."""
        self._started = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._concurrency):
                    tasks.create_task(self._client())
        finally:
            self._ended = time.perf_counter()
        return self.report()

    def report(self) -> LoadReport:
        """What came until now."""
        seconds = (self._ended or time.perf_counter()) - self._started if self._started else 0.0
        return LoadReport(seconds, np.sort(np.array(self._latencies, np.float64)), dict(self._errors.most_common()))

    async def _client(self) -> None:
        end = None if self._seconds is None else self._started + self._seconds
        while (self._requests is None or self._sent < self._requests) and (end is None or time.perf_counter() < end):
            number = self._sent
            self._sent += 1
            sent = time.perf_counter()
            try:
                await self._ask(number)
            except ServingError as error:
                self._errors[type(error).__name__] += 1
                # a refusal at once would otherwise make this a loop that does nothing but ask
                await asyncio.sleep(PAUSE_AFTER_ERROR)
            else:
                self._latencies.append(time.perf_counter() - sent)
