"""Versions are swapped under load: 10,000 requests, none fails, each is answered by one whole version."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded_process import embedded_process

from serving import AsyncClient, Limits, Retries
from serving.commands.load_generator import LoadGenerator

REQUESTS, AT_ONCE, LETTERS = 10_000, 24, "ba"  # of even and odd versions
QUERIES = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)


async def publish(tables: Path, exports: Path, version: int) -> None:
    """Puts a copy of the other table there in one step."""
    aside = exports.parent / f"aside-{version}"
    await asyncio.to_thread(shutil.copytree, tables / "fused_lookup" / str(2 - version % 2), aside)
    aside.rename(exports / "fused_lookup" / str(version))


async def swap_under_load(address: str, tables: Path, exports: Path) -> tuple[Any, Counter[int], list[Any]]:
    """The load's report, how many answers each version gave, and the answers that are not of one whole version."""
    answered: Counter[int] = Counter()
    torn: list[Any] = []
    # nothing is repeated: a request that failed is not hidden by one that did not
    async with AsyncClient(
        address, retries=Retries(attempts=1), breaker=None, timeout=30, limits=Limits(batch=16)
    ) as client:
        await client.wait_until_ready(30)
        whole: dict[str, list[tuple[str, ...]]] = {}

        async def ask(number: int) -> None:
            place = number % len(QUERIES)
            found = await client.lookup(QUERIES[place], 20)
            letter = LETTERS[found.version % 2]
            answered[found.version] += 1
            if found.table_fingerprint != f"table-{letter}" or found.ids != whole[letter][place]:
                torn.append(found)

        async def swap() -> None:
            for version in itertools.count(3):
                await publish(tables, exports, version)
                while not answered[version]:
                    await asyncio.sleep(0.01)
                shutil.rmtree(exports / "fused_lookup" / str(version - 1), ignore_errors=True)

        # what each table answers, from the server while only that one is there
        for version in (1, 2):
            if version > 1:
                await publish(tables, exports, version)
                while (await client.lookup(QUERIES[0])).version < version:
                    await asyncio.sleep(0.01)
            whole[LETTERS[version % 2]] = [found.ids for found in await client.lookup_many(QUERIES, 20)]
        swapping = asyncio.create_task(swap())
        report = await LoadGenerator(ask, AT_ONCE, requests=REQUESTS).run()
        swapping.cancel()
        await asyncio.gather(swapping, return_exceptions=True)
    return report, answered, torn


@pytest.mark.timeout(180)
def test_versions_swapped_under_load(two_tables: Path, tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    shutil.copytree(two_tables / "fused_lookup" / "1", exports / "fused_lookup" / "1")
    with embedded_process(exports, "--poll-seconds", "0.02") as server:
        report, answered, torn = asyncio.run(swap_under_load(server.address, two_tables, exports))
    assert report.errors == {}
    assert report.answered == REQUESTS
    assert torn == []
    assert len(answered) >= 4, answered
