"""The embedded server: both ports, the models, and how it stops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import grpc
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.server.credentials import grpc_credentials, rest_context
from serving.server.errors import RequestError, SetupError
from serving.server.grpc_service import MODEL, PREDICTION, GrpcService
from serving.server.inference import Inference
from serving.server.loading import Loader
from serving.server.metrics import Gauge, Metrics
from serving.server.model_config import read_exports
from serving.server.model_manager import ModelManager
from serving.server.options import ServerOptions
from serving.server.rest import RestApi

__all__ = ["EmbeddedServer"]

log = logging.getLogger(__name__)

HEALTH_NAMES = ("", "PredictionService", "ModelService", PREDICTION, MODEL)


class EmbeddedServer:
    """TensorFlow Serving's protocol, from one process; lives on the event loop that starts it.

    Args:
        options: how it is set up.

    Attributes:
        port: of gRPC, once started.
        rest_port: of REST and the metrics, once started; None without.
        metrics: what is counted.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.port = 0
        self.rest_port: int | None = None
        self.metrics = Metrics()
        threads = max(4, 2 * (os.cpu_count() or 1))
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="signatures")
        self._manager: ModelManager | None = None
        self._inference: Inference | None = None
        self._grpc: Any = None
        self._rest: web.AppRunner | None = None
        self._health = health.aio.HealthServicer()

    async def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises:
            SetupError: no models, one that does not load, files that cannot be read, or a port that is taken.
        """
        options = self.options
        credentials, context = grpc_credentials(options), rest_context(options)
        models = await asyncio.to_thread(read_exports, options.exports)
        try:
            loader = Loader(options, self._pool, self.metrics)
        except RequestError as error:
            raise SetupError(f"expected batching parameters that can be used: {error.message}") from error
        self._manager = ModelManager(loader.load, options.poll_seconds, lambda: read_exports(options.exports))
        self._watch(self._manager)
        try:
            await self._manager.start(models)
            self._inference = Inference(self._manager, self.metrics, options)
            await self._open_grpc(self._inference, credentials)
            if options.rest_port is not None:
                await self._open_rest(self._inference, context)
        except BaseException:
            await self.stop(0)
            raise

    async def _open_grpc(self, inference: Inference, credentials: grpc.ServerCredentials | None) -> None:
        limit = self.options.max_message_bytes
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # Without this a second server on the same port would silently take half of the requests.
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ]
        )
        self._grpc.add_generic_rpc_handlers((GrpcService(inference, self.options.token),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        address = f"{self.options.url_host}:{self.options.port}"
        try:
            if credentials is None:
                self.port = self._grpc.add_insecure_port(address)
            else:
                self.port = self._grpc.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise SetupError(f"expected {address} to be free and ours to listen on, it is not; give another") from error
        for name in HEALTH_NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._grpc.start()

    async def _open_rest(self, inference: Inference, context: Any) -> None:
        options = self.options
        api = RestApi(inference, options.token, options.rest_timeout_seconds, options.max_message_bytes)
        self._rest = web.AppRunner(api.application, access_log=None, shutdown_timeout=options.grace_seconds)
        await self._rest.setup()
        site = web.TCPSite(self._rest, options.bare_host, options.rest_port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            address = f"{options.url_host}:{options.rest_port}"
            raise SetupError(f"expected {address} to be free for REST, it is not: {error}; give another") from error
        self.rest_port = self._rest.addresses[0][1]

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Takes no more requests, finishes those it has, and unloads the models.

        Args:
            grace_seconds: how long requests may take; None for the options' time.
        """
        grace = self.options.grace_seconds if grace_seconds is None else grace_seconds
        await self._health.enter_graceful_shutdown()
        if self._inference is not None:
            start = time.monotonic()
            await self._inference.drain(grace)
            grace = max(0.0, grace - (time.monotonic() - start))
        if self._grpc is not None:
            await self._grpc.stop(grace)
            self._grpc = None
        if self._rest is not None:
            await self._rest.cleanup()
            self._rest = None
        if self._manager is not None:
            await self._manager.stop()
            self._manager = None
        await asyncio.to_thread(self._pool.shutdown, True, cancel_futures=True)

    def _watch(self, manager: ModelManager) -> None:
        def versions() -> Iterator[tuple[tuple[str, ...], float]]:
            for found in manager.loaded():
                yield (found.servable.name, str(found.servable.version)), 1.0

        def queues() -> Iterator[tuple[tuple[str, ...], float]]:
            for found in manager.loaded():
                waiting = sum(batcher.waiting for batcher in found.batchers.values())
                yield (found.servable.name, str(found.servable.version)), float(waiting)

        labels = ["model_name", "version"]
        self.metrics.watch(Gauge(":shoppin:serving:loaded_version", labels, versions))
        self.metrics.watch(Gauge(":shoppin:serving:queued_requests", labels, queues))
