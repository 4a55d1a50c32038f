"""A table in several parts, each on its own servers: all are asked, and their answers merged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import numpy as np

from serving.client.async_client import AsyncClient
from serving.client.base import BaseClient
from serving.client.calls import CallOptions
from serving.client.client import Client
from serving.client.connection import targets
from serving.client.errors import (
    BadInputError,
    ClosedError,
    MixedFingerprintsError,
    ServingError,
    ShardError,
)
from serving.client.pictures import Picture
from serving.client.queries import Filters, Vector
from serving.client.requests import REQUEST_ID
from serving.client.results import Match, SearchResult, ShardedResult
from serving.client.sought import Sought

__all__ = ["AsyncShardedClient", "ShardedClient", "merge_shards"]

T = TypeVar("T")
_CALLERS_OWN = (BadInputError, ClosedError, MixedFingerprintsError)  # not a shard's failure


def merge_shards(answers: Mapping[str, SearchResult], k: int, missing: Mapping[str, Exception]) -> ShardedResult:
    """The k best matches of all shards.

    It is exact: an item among the k best of all is among the k best of its shard. Equal scores stay in the order of the
    shards, and within a shard in its own order, so the same answers always give the same result.

    Raises:
        MixedFingerprintsError: the shards hold embeddings of different encoders.
    """
    fingerprints = {answer.fingerprint for answer in answers.values()}
    if len(fingerprints) > 1:
        told = ", ".join(f"{name} {answer.fingerprint}" for name, answer in answers.items())
        models = {answer.model for answer in answers.values()}
        raise MixedFingerprintsError(
            f"expected shards of one encoder, received {told}; publish them anew together",
            model=models.pop() if len(models) == 1 else "",
        )
    matches: list[Match] = [match for answer in answers.values() for match in answer.matches]
    scores = np.concatenate([answer.scores for answer in answers.values()])
    best = np.argsort(-scores, kind="stable")[:k]
    chosen = scores[best]
    chosen.flags.writeable = False
    return ShardedResult(
        tuple([matches[place] for place in best]), fingerprints.pop(), chosen, dict(answers), dict(missing)
    )


class _Shards:
    """What both shells share: names, options, and the merging of what came back."""

    clients: tuple[BaseClient, ...]

    def __init__(self, shards: Sequence[str | Sequence[str]], partial: bool) -> None:
        if isinstance(shards, str) or not isinstance(shards, Sequence) or not shards:
            raise BadInputError(f"expected the addresses of several shards, received {shards!r}")
        for shard in shards:
            targets(shard)
        self.names = tuple(shard if isinstance(shard, str) else ",".join(shard) for shard in shards)
        if len(set(self.names)) < len(self.names):
            raise BadInputError(f"expected every shard once, received {', '.join(self.names)}")
        self.partial = partial

    def _shared(self, options: CallOptions) -> CallOptions:
        """The options with one request id for all shards."""
        headers = self.clients[0]._questions.headers(options)
        return {**options, "request_id": headers[REQUEST_ID]}

    def _merged(
        self, answers: Sequence[list[SearchResult] | BaseException], k: int, shared: CallOptions
    ) -> list[ShardedResult]:
        """One result a query, from one list or error a shard."""
        failures: dict[str, ServingError] = {}
        good: dict[str, list[SearchResult]] = {}
        for name, answer in zip(self.names, answers, strict=True):
            if isinstance(answer, list):
                good[name] = answer
            elif not isinstance(answer, ServingError) or isinstance(answer, _CALLERS_OWN):
                raise answer
            else:
                failures[name] = answer
        if failures and (not self.partial or not good):
            told = "; ".join(f"{name}: {error}" for name, error in failures.items())
            hint = "" if self.partial else "; partial=True takes what the others answer"
            raise ShardError(f"{len(failures)} of {len(self.names)} shards gave no answer: {told}{hint}", failures)
        rows = len(next(iter(good.values())))
        try:
            return [
                merge_shards({name: results[row] for name, results in good.items()}, k, failures) for row in range(rows)
            ]
        except MixedFingerprintsError as error:
            error.request_id = shared["request_id"]
            raise


def _listed(vectors: Iterable[Vector]) -> Iterable[Vector]:
    """What every shard can read anew; what is not several, the shards' clients refuse."""
    return list(vectors) if isinstance(vectors, Iterable) and not isinstance(vectors, np.ndarray) else vectors


def _search(sought: Sought, k: int, filters: Filters | None, shared: CallOptions) -> Callable[[Any], Any]:
    """Asks either kind of client; every picture was read once, before."""
    return lambda client: client.search_many(
        sought.files, k, filters, texts=sought.texts, weight=sought.weight, **shared
    )


class ShardedClient(_Shards):
    """Asks every shard of a table, and merges their k best exactly and in a stable order.

    Args:
        shards: an address each, or several of servers that hold the same shard.
        partial: whether to answer with the shards that did answer, the others named in `ShardedResult.missing`, instead
            of raising `ShardError`. Where none answered, it is raised all the same.
        **settings: of each shard's `Client`.

    Attributes:
        clients: one a shard, in order, for everything that concerns a single server: `embed`, `classify`, `status`…

    A picture or a text is encoded by every shard that is asked to search for it; `lookup(clients[0].embed(picture))`
    encodes it once.
    """

    def __init__(self, shards: Sequence[str | Sequence[str]], *, partial: bool = False, **settings: Any) -> None:
        super().__init__(shards, partial)
        self.clients: tuple[Client, ...] = tuple(Client(shard, **settings) for shard in shards)
        self._pool = ThreadPoolExecutor(8 * len(self.clients), "serving-shards")

    def search(
        self,
        image: Picture | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        text: str | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> ShardedResult:
        """As `Client.search`, over all shards."""
        sought, shared = Sought.one(image, text, weight), self._shared(options)
        return self._merged(self._ask(_search(sought, k, filters, shared)), k, shared)[0]

    def search_many(
        self,
        images: Iterable[Picture] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        texts: Iterable[str] | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> list[ShardedResult]:
        """As `Client.search_many`, over all shards."""
        sought, shared = Sought.several(images, texts, weight), self._shared(options)
        return self._merged(self._ask(_search(sought, k, filters, shared)), k, shared)

    def lookup(
        self, vector: Vector, k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> ShardedResult:
        """As `Client.lookup`, over all shards."""
        shared = self._shared(options)
        return self._merged(self._ask(lambda client: [client.lookup(vector, k, filters, **shared)]), k, shared)[0]

    def lookup_many(
        self, vectors: Iterable[Vector], k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> list[ShardedResult]:
        """As `Client.lookup_many`, over all shards."""
        rows, shared = _listed(vectors), self._shared(options)
        return self._merged(self._ask(lambda client: client.lookup_many(rows, k, filters, **shared)), k, shared)

    def wait_until_ready(self, timeout: float = 60.0, models: Sequence[str] | None = None) -> None:
        """As `Client.wait_until_ready`, for every shard."""
        for answer in self._ask(lambda client: client.wait_until_ready(timeout, models)):
            if isinstance(answer, BaseException):
                raise answer

    def healthy(self, **options: Unpack[CallOptions]) -> bool:
        """Whether every shard takes questions."""
        return all(answer is True for answer in self._ask(lambda client: client.healthy(**options)))

    def close(self) -> None:
        """Closes the shards' clients."""
        for client in self.clients:
            client.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Callable[[Client], T]) -> list[T | BaseException]:
        self.clients[0]._check_usable()  # here, since after a fork the pool's threads are gone
        futures = [self._pool.submit(question, client) for client in self.clients]
        try:
            return [future.exception() or future.result() for future in futures]
        except CancelledError as error:
            raise ClosedError("this client was closed while it asked; make another one") from error


class AsyncShardedClient(_Shards):
    """`ShardedClient` for asyncio: the same settings, methods, results and errors."""

    def __init__(self, shards: Sequence[str | Sequence[str]], *, partial: bool = False, **settings: Any) -> None:
        super().__init__(shards, partial)
        self.clients: tuple[AsyncClient, ...] = tuple(AsyncClient(shard, **settings) for shard in shards)

    async def search(
        self,
        image: Picture | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        text: str | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> ShardedResult:
        """As `AsyncClient.search`, over all shards."""
        sought, shared = Sought.one(image, text, weight), self._shared(options)
        return self._merged(await self._ask(_search(sought, k, filters, shared)), k, shared)[0]

    async def search_many(
        self,
        images: Iterable[Picture] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        texts: Iterable[str] | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> list[ShardedResult]:
        """As `AsyncClient.search_many`, over all shards."""
        sought, shared = Sought.several(images, texts, weight), self._shared(options)
        return self._merged(await self._ask(_search(sought, k, filters, shared)), k, shared)

    async def lookup(
        self, vector: Vector, k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> ShardedResult:
        """As `AsyncClient.lookup`, over all shards."""
        shared = self._shared(options)

        async def one(client: AsyncClient) -> list[SearchResult]:
            return [await client.lookup(vector, k, filters, **shared)]

        return self._merged(await self._ask(one), k, shared)[0]

    async def lookup_many(
        self, vectors: Iterable[Vector], k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> list[ShardedResult]:
        """As `AsyncClient.lookup_many`, over all shards."""
        rows, shared = _listed(vectors), self._shared(options)
        return self._merged(await self._ask(lambda client: client.lookup_many(rows, k, filters, **shared)), k, shared)

    async def wait_until_ready(self, timeout: float = 60.0, models: Sequence[str] | None = None) -> None:
        """As `AsyncClient.wait_until_ready`, for every shard."""
        for answer in await self._ask(lambda client: client.wait_until_ready(timeout, models)):
            if isinstance(answer, BaseException):
                raise answer

    async def healthy(self, **options: Unpack[CallOptions]) -> bool:
        """Whether every shard takes questions."""
        return all(answer is True for answer in await self._ask(lambda client: client.healthy(**options)))

    async def close(self) -> None:
        """Closes the shards' clients."""
        for client in self.clients:
            await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, question: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        return await asyncio.gather(*(question(client) for client in self.clients), return_exceptions=True)
