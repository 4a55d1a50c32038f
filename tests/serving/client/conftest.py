"""A fake server, and both clients behind one face, so that every test runs over both."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_server import FakeServer

from serving import AsyncClient, AsyncShardedClient, Client, ShardedClient


class Blocking:
    """An asyncio client whose methods wait: its event loop runs in a thread of its own."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if not inspect.iscoroutinefunction(value):
            return value

        def waiting(*args: Any, **settings: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(value(*args, **settings), self.loop).result(30)

        return waiting


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever, daemon=True)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


@pytest.fixture(params=["threads", "asyncio"])
def make(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind; `sharded=True` for sharded ones."""
    made: list[Any] = []

    def build(*args: Any, sharded: bool = False, **settings: Any) -> Any:
        client: Any
        if request.param == "threads":
            client = (ShardedClient if sharded else Client)(*args, **settings)
        else:
            client = Blocking((AsyncShardedClient if sharded else AsyncClient)(*args, **settings), loop)
        made.append(client)
        return client

    yield build
    for client in made:
        client.close()


@pytest.fixture
def client(make: Callable[..., Any], server: FakeServer) -> Any:
    return make(server.address)
