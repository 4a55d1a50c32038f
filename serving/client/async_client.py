"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
from grpc import aio

from serving.client import readiness
from serving.client.base import BaseClient
from serving.client.calls import Call, CallOptions, Flow, Send, Sleep
from serving.client.errors import ClosedError
from serving.client.exchange import Ask, Target
from serving.client.pictures import Picture
from serving.client.queries import Filters, Vector
from serving.client.results import (
    Classification,
    Embedding,
    ModelMetadata,
    Prediction,
    SearchResult,
    VersionStatus,
)

__all__ = ["AsyncClient"]

S = TypeVar("S")
T = TypeVar("T")


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same settings, methods, results and errors.

    It belongs to the event loop in which it is first used, and raises `ClosedError` in another, or in another process.
    Pictures given as paths and file objects are read in the loop's thread; give bytes where that would take too long.

        async with AsyncClient("localhost:8500") as client:
            result = await client.search("photo.jpg", k=5)
    """

    def _prepare(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: tuple[aio.Channel, ...] = ()
        self._stubs: dict[tuple[int, str], Any] = {}

    async def search(
        self,
        image: Picture | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        text: str | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> SearchResult:
        """As `Client.search`."""
        return await self._run(self._questions.search(image, k, filters, text, weight, options))

    async def search_many(
        self,
        images: Iterable[Picture] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        texts: Iterable[str] | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> list[SearchResult]:
        """As `Client.search_many`."""
        return await self._run(self._questions.search_many(images, k, filters, texts, weight, options))

    async def embed(self, image: Picture, **options: Unpack[CallOptions]) -> Embedding:
        """As `Client.embed`."""
        return await self._run(self._questions.embed(image, options))

    async def embed_many(self, images: Iterable[Picture], **options: Unpack[CallOptions]) -> list[Embedding]:
        """As `Client.embed_many`."""
        return await self._run(self._questions.embed_many(images, options))

    async def embed_text(self, text: str, **options: Unpack[CallOptions]) -> Embedding:
        """As `Client.embed_text`."""
        return await self._run(self._questions.embed_text(text, options))

    async def embed_texts(self, texts: Iterable[str], **options: Unpack[CallOptions]) -> list[Embedding]:
        """As `Client.embed_texts`."""
        return await self._run(self._questions.embed_texts(texts, options))

    async def lookup(
        self, vector: Vector, k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> SearchResult:
        """As `Client.lookup`."""
        return await self._run(self._questions.lookup(vector, k, filters, options))

    async def lookup_many(
        self, vectors: Iterable[Vector], k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> list[SearchResult]:
        """As `Client.lookup_many`."""
        return await self._run(self._questions.lookup_many(vectors, k, filters, options))

    async def classify(self, image: Picture, k: int = 1, **options: Unpack[CallOptions]) -> Classification:
        """As `Client.classify`."""
        return await self._run(self._questions.classify(image, k, options))

    async def classify_many(
        self, images: Iterable[Picture], k: int = 1, **options: Unpack[CallOptions]
    ) -> list[Classification]:
        """As `Client.classify_many`."""
        return await self._run(self._questions.classify_many(images, k, options))

    async def predict(
        self,
        model: str,
        signature: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """As `Client.predict`."""
        return await self._run(self._questions.predict(model, signature, inputs, outputs, options))

    async def models(self, **options: Unpack[CallOptions]) -> dict[str, tuple[VersionStatus, ...]]:
        """As `Client.models`."""
        return await self._run(readiness.models(self._questions, options))

    async def status(self, model: str, **options: Unpack[CallOptions]) -> tuple[VersionStatus, ...]:
        """As `Client.status`."""
        return await self._run(readiness.status(self._questions, model, options))

    async def metadata(self, model: str, **options: Unpack[CallOptions]) -> ModelMetadata:
        """As `Client.metadata`."""
        return await self._run(self._questions.metadata(model, self._questions.options(options)))

    async def wait_until_ready(self, timeout: float = 60.0, models: Sequence[str] | None = None) -> None:
        """As `Client.wait_until_ready`."""
        await self._run(readiness.wait_until_ready(self._questions, timeout, models))

    async def healthy(self, **options: Unpack[CallOptions]) -> bool:
        """As `Client.healthy`."""
        return await self._run(readiness.healthy(self._questions, options))

    async def close(self) -> None:
        """As `Client.close`."""
        self._closed = True
        if self._process == os.getpid() and self._loop is asyncio.get_running_loop():
            for channel in self._channels:
                await channel.close()

    async def __aenter__(self) -> Self:
        self._check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        """Carries out a question's steps."""
        self._check_usable()
        if self._loop is not asyncio.get_running_loop():
            self._connect_in(asyncio.get_running_loop())
        return await _drive(flow, self._perform)

    async def _perform(self, step: Send | Sleep) -> list[Any]:
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
            return []
        if len(step.calls) == 1:
            return [await self._send(step.calls[0], step.collect)]
        room = asyncio.Semaphore(self._limits.concurrency)

        async def send(call: Call) -> Any:
            async with room:
                return await self._send(call, step.collect)

        tasks = [asyncio.create_task(send(call)) for call in step.calls]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _send(self, call: Call, collect: bool) -> Any:
        return await _drive(self._exchange.ask(call, collect), self._ask)

    async def _ask(self, ask: Ask) -> Any:
        call = ask.call
        stub = self._stub(ask.target, call)
        try:
            if ask.hedge_after is None or ask.timer is None or ask.hedge_after >= ask.timeout:
                return await stub(call.request, timeout=ask.timeout, metadata=call.metadata)
            return await _first_of_two(ask, stub, self._stub(ask.second, call))
        except (ValueError, aio.UsageError) as error:
            self._refuse(call, error)
        except grpc.RpcError as error:
            self._refuse_if_closed(call, error)
            raise
        except asyncio.CancelledError:
            if self._closed and not _being_cancelled():
                raise ClosedError("this client was closed while it asked; make another one") from None
            raise

    def _stub(self, target: Target, call: Call) -> Any:
        key = target.place, call.method.path
        stub = self._stubs.get(key)
        if stub is None:
            method = call.method
            stub = self._stubs[key] = self._channels[target.place].unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
        return stub

    def _connect_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes the channels when they are first needed: they belong to the event loop."""
        if self._loop is not None:
            raise ClosedError("this client was first used in another event loop; make one in each")
        self._loop, self._process = loop, os.getpid()
        self._channels = tuple(self._channel(address) for address in self.addresses)

    def _channel(self, address: str) -> aio.Channel:
        if self._connect is not None:
            return self._connect(address, self._credentials, self._options)
        if self._credentials is not None:
            return aio.secure_channel(address, self._credentials, self._options)
        return aio.insecure_channel(address, self._options)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _first_of_two(ask: Ask, stub: Any, second_stub: Any) -> Any:
    """As the `_first_of_two` of `Client`."""
    call = ask.call
    tasks = [asyncio.ensure_future(_answer(stub, call.request, ask.timeout, call.metadata))]
    try:
        done, _ = await asyncio.wait(tasks, timeout=ask.hedge_after)
        if done or not ask.may_copy():
            return await tasks[0]
        left = ask.timeout - (ask.hedge_after or 0.0)
        tasks.append(asyncio.ensure_future(_answer(second_stub, call.request, left, call.metadata)))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in done if task.exception() is None]
        return await (good or [*pending, *done])[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(stub: Any, request: Any, timeout: float, metadata: list[tuple[str, str]]) -> Any:
    return await stub(request, timeout=timeout, metadata=metadata)


async def _drive(flow: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """As the `_drive` of `Client`."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value
