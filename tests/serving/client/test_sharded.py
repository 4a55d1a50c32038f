"""Tables in several parts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import PICTURE, FakeServer, failing

from serving import BadInputError, ClosedError, Match, MixedFingerprintsError, Retries, SearchResult, ShardError
from serving.client.sharded import merge_shards


@pytest.fixture
def shards() -> Iterator[list[FakeServer]]:
    servers = [FakeServer(), FakeServer(), FakeServer()]
    for place, server in enumerate(servers):
        server.first_item = 100 * place
        server.score_offset = -0.05 * (place == 1)
    yield servers
    for server in servers:
        server.stop()


def addresses(shards: list[FakeServer]) -> list[str]:
    return [shard.address for shard in shards]


def test_all_are_asked_and_merged_in_a_stable_order(make: Any, shards: list[FakeServer]) -> None:
    client = make(addresses(shards), sharded=True)
    result = client.lookup([1, 2, 3, 4], k=5)
    assert result.ids == ("item-0", "item-200", "item-100", "item-1", "item-201")
    assert result.scores.tolist() == pytest.approx([0.9, 0.9, 0.85, 0.8, 0.8])
    assert not result.partial
    assert list(result.shards) == addresses(shards)
    assert len({server.requests[-1][2]["x-request-id"] for server in shards}) == 1
    assert client.search(io.BytesIO(PICTURE), k=5).ids == result.ids
    assert [row.ids for row in client.lookup_many(np.ones((3, 4)), k=5)] == [result.ids] * 3
    assert [row.ids for row in client.search_many(iter([PICTURE] * 3), k=5)] == [result.ids] * 3
    women = client.search(PICTURE, k=5, filters={"gender": "Women"})
    assert {match.attributes["gender"] for match in women.matches} == {"Women"}


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, 90).astype(np.float32) / 10  # many ties
    k = int(rng.integers(1, 31))
    answers = {}
    for shard in range(3):
        rows = np.arange(shard * 30, shard * 30 + 30)
        best = rows[np.argsort(-scores[rows], kind="stable")[:k]]
        matches = tuple(Match(str(row), float(scores[row])) for row in best)
        answers[str(shard)] = SearchResult(matches, "m", 1, "e", f"t{shard}", scores[best])
    merged = merge_shards(answers, k, {})
    assert merged.ids == tuple(str(row) for row in np.argsort(-scores, kind="stable")[:k])


def test_a_failing_shard_is_an_error_or_a_declared_gap(make: Any, shards: list[FakeServer]) -> None:
    strict = make(addresses(shards), sharded=True, retries=Retries(attempts=1))
    lenient = make(addresses(shards), sharded=True, retries=Retries(attempts=1), partial=True)
    strict.lookup([1, 2, 3, 4])
    shards[0].before = failing(grpc.StatusCode.INTERNAL, "boom")
    with pytest.raises(ShardError, match="1 of 3 shards.*partial=True") as caught:  # noqa: RUF043
        strict.lookup([1, 2, 3, 4])
    assert list(caught.value.failures) == [shards[0].address]
    result = lenient.lookup([1, 2, 3, 4], k=2)
    assert result.partial
    assert list(result.missing) == [shards[0].address]
    assert result.ids == ("item-200", "item-100")
    for shard in shards:
        shard.before = failing(grpc.StatusCode.INTERNAL, "boom")
    with pytest.raises(ShardError, match="3 of 3"):
        lenient.lookup([1, 2, 3, 4])


def test_the_callers_own_mistakes_are_no_gaps(make: Any, shards: list[FakeServer]) -> None:
    client = make(addresses(shards), sharded=True, partial=True)
    with pytest.raises(BadInputError):
        client.lookup([0, 0, 0, 0])
    with pytest.raises(BadInputError):
        client.search(b"no picture")
    shards[1].fingerprint = "encoder-2"
    with pytest.raises(MixedFingerprintsError):
        client.search(PICTURE)
    client.close()
    with pytest.raises(ClosedError):
        client.lookup([1, 2, 3, 4])


@pytest.mark.parametrize("given", ["a:1", [], ["a:1", "a:1"]])
def test_impossible_shards(make: Any, given: Any) -> None:
    with pytest.raises(BadInputError):
        make(given, sharded=True)


def test_readiness_and_health_are_of_all(make: Any, shards: list[FakeServer]) -> None:
    client = make(addresses(shards), sharded=True)
    client.wait_until_ready(5)
    assert client.healthy()
    shards[2].healthy = False
    assert not client.healthy()
    assert client.clients[0].addresses == (shards[0].address,)
