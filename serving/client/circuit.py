"""The circuit breaker and the hedging of one address or question, without any I/O."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from serving.client.settings import Breaker, Hedging

__all__ = ["Circuit", "HedgeTimer"]


class Circuit:
    """Whether an address may be asked; see `Breaker`. Safe in threads.

    Args:
        settings: None for a circuit that never opens.
        clock: seconds, rising.
    """

    def __init__(self, settings: Breaker | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until_tried = 0.0

    def admits(self) -> bool:
        """Whether a call may go out now; once the time is over, only the first who asks may try."""
        if self._settings is None or self._failures < self._settings.failures:
            return True
        with self._lock:
            now = self._clock()
            if self._failures >= self._settings.failures and now < self._closed_until_tried:
                return False
            # whoever comes while this one is on its way waits another turn; so a trial that is never reported,
            # since its caller was cancelled, blocks nobody for longer than that
            self._closed_until_tried = now + self._settings.recovery
            return True

    def succeeded(self) -> None:
        """The address answered."""
        self._failures = 0

    def failed(self) -> None:
        """The address could not be reached, or did not answer in time."""
        if self._settings is None:
            return
        with self._lock:
            self._failures += 1
            if self._failures >= self._settings.failures:
                self._closed_until_tried = self._clock() + self._settings.recovery


class HedgeTimer:
    """When to send a second copy of a question; see `Hedging`. Safe in threads."""

    _KEPT = 200
    _ENOUGH = 20
    _RECOMPUTED_EVERY = 16

    def __init__(self, settings: Hedging) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._latencies: deque[float] = deque(maxlen=self._KEPT)
        self._seen = 0
        self._delay: float | None = None
        self._tokens = 1.0

    def delay(self) -> float | None:
        """Seconds to wait before the second copy; None where too few latencies are known."""
        return self._delay

    def take(self) -> bool:
        """Whether the budget has a second copy left; takes it."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def answered(self, seconds: float) -> None:
        """A question was answered."""
        with self._lock:
            self._latencies.append(seconds)
            self._seen += 1
            self._tokens = min(10.0, self._tokens + self._settings.budget)
            if self._seen >= self._ENOUGH and (self._delay is None or self._seen % self._RECOMPUTED_EVERY == 0):
                ranked = sorted(self._latencies)
                place = min(len(ranked) - 1, int(len(ranked) * self._settings.percentile / 100))
                self._delay = max(self._settings.min_delay, ranked[place])
