"""200 clients at once, each with a connection of its own, and more than the server can queue."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from grpc import aio
from process_memory import resident

from serving import AsyncClient, Client, OverloadedError, Retries

CLIENTS, EACH, ROWS = 200, 6, 16
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 16)).astype(np.float32)


async def flood(address: str) -> tuple[Counter[str], float]:
    """How the requests ended, and how long the slowest took."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0

    def connect(target: str, credentials: Any, options: list[Any]) -> aio.Channel:
        return aio.insecure_channel(target, [*options, ("grpc.use_local_subchannel_pool", 1)])

    async def ask(client: AsyncClient) -> None:
        nonlocal slowest
        for _ in range(EACH):
            started = time.monotonic()
            try:
                found = await client.lookup_many(VECTORS, 1)
                assert len(found) == ROWS
                outcomes["answer"] += 1
            except OverloadedError as error:
                assert error.code is not None
                outcomes[error.code.name] += 1
            slowest = max(slowest, time.monotonic() - started)

    clients = [AsyncClient(address, timeout=30, retries=Retries(attempts=1), connect=connect) for _ in range(CLIENTS)]
    try:
        await asyncio.gather(*(ask(client) for client in clients))
    finally:
        for client in clients:
            await client.close()
    return outcomes, slowest


@pytest.mark.timeout(120)
def test_a_flood_is_refused_where_it_is_too_much_and_leaves_nothing_behind(server: Any) -> None:
    memory = []
    for _ in range(3):
        outcomes, slowest = asyncio.run(flood(server.address))
        assert set(outcomes) == {"answer", "UNAVAILABLE"}, outcomes
        assert outcomes.total() == CLIENTS * EACH
        assert slowest < 30
        memory.append(resident(server.process))
    assert memory[-1] < 1.05 * memory[0]
    with Client(server.address) as client:
        assert client.healthy()
        assert client.lookup(VECTORS[0]).matches
