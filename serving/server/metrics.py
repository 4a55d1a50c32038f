"""Metrics in Prometheus's text format, named as the real server names them.

`prometheus-client` appends `_total` to every counter, so it cannot spell the real server's names.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Sequence

__all__ = ["Counter", "Gauge", "Histogram", "Metrics", "exponential"]


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper limits of a histogram's buckets: `scale * growth**i`."""
    return tuple(scale * growth**step for step in range(count))


class Counter:
    """Counts, by the values of labels.

    Args:
        name: of the metric.
        labels: their names.
    """

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self.labels = name, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, by: float = 1) -> None:
        """Adds to the count of the labels' values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> Iterable[str]:
        """The samples."""
        with self._lock:
            found = dict(self._values)
        for values, value in found.items():
            yield f"{self.name}{{{_labels(self.labels, values)}}} {_number(value)}"


class Gauge:
    """Values that are looked up when they are asked for.

    Args:
        name: of the metric.
        labels: their names.
        read: gives pairs of the labels' values and the value.
    """

    kind = "gauge"

    def __init__(
        self, name: str, labels: Sequence[str], read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]
    ) -> None:
        self.name, self.labels, self._read = name, tuple(labels), read

    def lines(self) -> Iterable[str]:
        """The samples."""
        for values, value in self._read():
            yield f"{self.name}{{{_labels(self.labels, values)}}} {_number(value)}"


class Histogram:
    """Distributions, by the values of labels.

    Args:
        name: of the metric.
        labels: their names.
        limits: increasing upper limits of the buckets; one more is without limit.
    """

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        self.name, self.labels, self._limits = name, tuple(labels), tuple(limits)
        self._cells: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.Lock()

    def add(self, value: float, *values: str) -> None:
        """Adds a value to the distribution of the labels' values."""
        place = bisect.bisect_left(self._limits, value)
        with self._lock:
            cell = self._cells.get(values)
            if cell is None:
                cell = self._cells[values] = [0.0] * (len(self._limits) + 2)
            cell[place] += 1
            cell[-1] += value

    def lines(self) -> Iterable[str]:
        """The samples."""
        with self._lock:
            found = {values: list(cell) for values, cell in self._cells.items()}
        for values, cell in found.items():
            labels = _labels(self.labels, values)
            before, total = f"{labels}," if labels else "", 0.0
            for limit, count in zip([*map(_number, self._limits), "+Inf"], cell[:-1], strict=True):
                total += count
                yield f'{self.name}_bucket{{{before}le="{limit}"}} {_number(total)}'
            yield f"{self.name}_sum{{{labels}}} {_number(cell[-1])}"
            yield f"{self.name}_count{{{labels}}} {_number(total)}"


class Metrics:
    """All metrics of a server."""

    def __init__(self) -> None:
        prefix, times = ":tensorflow:serving:", exponential(10, 1.8, 33)
        batching, sizes = f"{prefix}batching_session:", exponential(1, 2, 14)
        self.requests = Counter(f"{prefix}request_count", ["model_name", "status"])
        self.latency = Histogram(f"{prefix}request_latency", ["model_name", "API", "entrypoint", "status"], times)
        self.runtime = Histogram(f"{prefix}runtime_latency", ["model_name", "API", "runtime"], times)
        self.queuing = Histogram(f"{batching}queuing_latency", ["thread_pool_name"], exponential(100, 1.2, 52))
        self.input_batch = Histogram(f"{batching}input_batch_size", [], sizes)
        self.processed_batch = Histogram(f"{batching}processed_batch_size", [], sizes)
        self.padding = Histogram(f"{batching}padding_size", ["execution_batch_size"], sizes)
        self.warmup = Histogram(f"{prefix}model_warmup_latency", ["model_path", "status"], times)
        self.loads = Counter(":tensorflow:cc:saved_model:load_attempt_count", ["model_path", "status"])
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", ["model_path"])
        self._all: list[Counter | Gauge | Histogram] = [
            value for value in vars(self).values() if isinstance(value, Counter | Gauge | Histogram)
        ]

    def watch(self, gauge: Gauge) -> None:
        """Adds a gauge to the page."""
        self._all.append(gauge)

    def page(self) -> str:
        """All metrics as text."""
        lines: list[str] = []
        for metric in self._all:
            lines += [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.12g}"
