"""From a version's folder to a servable that is checked, loaded and warm."""

from __future__ import annotations

import concurrent.futures
import logging
import time
from pathlib import Path
from typing import Any

from serving.contract import BATCHING_FILE
from serving.server.batcher import Batcher
from serving.server.batching_parameters import BatchingParameters
from serving.server.errors import RequestError
from serving.server.integrity import check_files, read_manifest
from serving.server.metrics import Metrics
from serving.server.options import ServerOptions
from serving.server.servable import Servable
from serving.server.text_operations import load_text_operations, with_hint
from serving.server.warmup import warm_up

__all__ = ["LoadedVersion", "Loader"]

log = logging.getLogger(__name__)


class LoadedVersion:
    """A servable with the queues of its signatures.

    Attributes:
        servable: the loaded version.
        batchers: by the signature's name.
    """

    def __init__(self, servable: Servable, batchers: dict[str, Batcher]) -> None:
        self.servable = servable
        self.batchers = batchers


class Loader:
    """Loads versions, in whatever thread calls.

    Args:
        options: of the server.
        pool: the threads that run signatures.
        metrics: where loads are counted.

    Raises:
        RequestError: INVALID_ARGUMENT: the shared batching parameters cannot be read, or make no sense.
    """

    def __init__(self, options: ServerOptions, pool: concurrent.futures.Executor, metrics: Metrics) -> None:
        self._options, self._pool, self._metrics = options, pool, metrics
        shared = options.batching_parameters
        self._shared = None if shared is None else BatchingParameters.read(shared)

    def load(self, name: str, version: int, folder: Path) -> LoadedVersion:
        """Checks, loads and warms a version.

        Raises:
            RequestError: it cannot be served; nothing is left of it.
        """
        start = time.monotonic()
        try:
            loaded = self._load(name, version, folder)
        except Exception as error:
            self._metrics.loads.add(str(folder), "fail")
            failure = with_hint(RequestError.of(error))
            log.error("cannot load %s version %d: %s", name, version, failure)
            raise failure from error
        seconds = time.monotonic() - start
        self._metrics.loads.add(str(folder), "success")
        self._metrics.load_latency.add(str(folder), by=seconds * 1e6)
        log.info("loaded %s version %d in %.1f s", name, version, seconds)
        return loaded

    def _load(self, name: str, version: int, folder: Path) -> LoadedVersion:
        manifest = read_manifest(folder)
        if manifest is not None and self._options.verify:
            check_files(folder, manifest)
        if manifest is not None:
            load_text_operations(manifest)
        parameters = self._parameters(folder)
        servable = Servable(name, version, folder)
        try:
            self._warm_up(servable, folder)
        except BaseException:
            servable.close()
            raise
        batchers = {
            key: Batcher(
                lambda arrays, signature=signature: servable.run(signature, arrays),  # type: ignore[misc]
                [spec.tensor for spec in signature.inputs],
                parameters,
                self._options.max_pending,
                self._pool,
                self._metrics,
            )
            for key, signature in servable.signatures.items()
        }
        return LoadedVersion(servable, batchers)

    def _parameters(self, folder: Path) -> BatchingParameters | None:
        if not self._options.batching:
            return None
        if (own := folder / BATCHING_FILE).is_file():
            return BatchingParameters.read(own)
        return self._shared

    def _warm_up(self, servable: Servable, folder: Path) -> None:
        start, status = time.monotonic(), "OK"

        def execute(record: Any) -> None:
            self._execute(servable, record)

        try:
            count = warm_up(folder, execute)
        except Exception as error:
            status = RequestError.of(error).code.name
            raise
        finally:
            self._metrics.warmup.add((time.monotonic() - start) * 1e6, str(folder), status)
        log.debug("%d warm-up records of %s", count, folder)

    def _execute(self, servable: Servable, record: Any) -> None:
        """Runs a warm-up record: the model it names is not looked up, its signature and inputs are what matters."""
        from serving.server.examples import example_arrays

        kind = record.WhichOneof("log_type")
        if kind == "predict_log":
            request = record.predict_log.request
            signature = servable.signature(request.model_spec.signature_name)
            servable.run(signature, signature.bind(request.inputs, self._options.max_message_bytes))
        elif kind in ("classify_log", "regress_log"):
            request = getattr(record, kind).request
            signature = servable.signature(request.model_spec.signature_name)
            servable.run(signature, example_arrays(request.input))
        else:
            raise RequestError.invalid(f"Unsupported log_type for warmup: {kind}")
