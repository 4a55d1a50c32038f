"""OpenTelemetry's traces and metrics of calls; needs the extra `otel`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import opentelemetry.metrics as metrics
import opentelemetry.propagate as propagate
import opentelemetry.trace as trace

from serving.client.calls import Call
from serving.client.errors import ServingError

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """A hook: a client span and a duration for every call, and the trace passed on to the server as metadata.

    Names follow OpenTelemetry's semantic conventions for RPC.

        Client("localhost:8500", hooks=[OpenTelemetry()])

    Args:
        tracer_provider: by default the global one.
        meter_provider: by default the global one.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("serving.client", tracer_provider=tracer_provider)
        meter = metrics.get_meter("serving.client", meter_provider=meter_provider)
        self._duration = meter.create_histogram("rpc.client.duration", "ms", "Duration of calls")

    @contextmanager
    def __call__(self, call: Call) -> Iterator[None]:
        about: dict[str, Any] = {
            "rpc.system": "grpc",
            "rpc.service": call.method.service,
            "rpc.method": call.method.name,
            "serving.model": call.model,
            "serving.signature": call.signature,
        }
        name = f"{call.method.service}/{call.method.name}"
        started = time.perf_counter()
        with self._tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=about) as span:
            span.set_attribute("serving.request_id", call.request_id)
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            call.metadata.extend(carrier.items())
            status = 0
            try:
                yield
            except ServingError as error:
                status = error.code.value[0] if error.code else 2
                raise
            finally:
                seconds = time.perf_counter() - started
                about = {**about, "server.address": call.address, "rpc.grpc.status_code": status}
                span.set_attributes(about)
                self._duration.record(1000 * seconds, about)
