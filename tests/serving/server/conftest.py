"""An embedded server inside this process, on an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = 60) -> Any:
        """Runs a coroutine there, and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        """Ends the loop and its thread."""
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


Serve = Callable[..., contextlib.AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Starts an embedded server: `with serve(exports, **options) as server: … server.port, server.rest_port`."""
    running = LoopThread()

    @contextlib.contextmanager
    def start(exports: Path, **options: Any) -> Iterator[Any]:
        from serving.server import EmbeddedServer, ServerOptions

        async def make() -> Any:
            server = EmbeddedServer(ServerOptions(exports=exports, **{"port": 0, "poll_seconds": 0.02, **options}))
            await server.start()
            return server

        server = running.run(make())
        try:
            yield server
        finally:
            running.run(server.stop(5))

    yield start
    running.close()


@pytest.fixture
def own_exports(small_exports: Path, tmp_path: Path) -> Path:
    """A copy of the small exports with the lookup model only, to change."""
    exports = tmp_path / "exports"
    shutil.copytree(small_exports / "fused_lookup", exports / "fused_lookup")
    return exports
