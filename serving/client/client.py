"""The client for threads."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

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

__all__ = ["Client"]

S = TypeVar("S")
T = TypeVar("T")


class Client(BaseClient):
    """Asks a TensorFlow Serving server, or the embedded one, about pictures and products.

    Make one and keep it: it holds the connections. Threads may share it. It may cross a fork only before it is first
    used; afterwards it raises `ClosedError` in the child.

        with Client("localhost:8500") as client:
            for match in client.search("photo.jpg", k=5, filters={"gender": "Women"}).matches:
                print(match.id, match.score, match.attributes)

    Every method raises `ServingError`; see `serving.client.errors` for the tree. Every method takes `CallOptions` by
    keyword: `timeout`, `version`, `label`, `request_id`, `metadata`.

    Args:
        addresses: of a server, or of several that answer the same, asked in turn: `host` (port 8500), `host:port`,
            `unix:/path`, or another target of gRPC's. A name with several addresses in DNS is asked in turn as well.
        model: name of the trained model, as it was exported: its served models are `<model>_encoder`, `<model>_lookup`
            and `<model>_search`.
        version: number to ask, of each of them; None for the highest that is loaded.
        label: of a version, such as `stable`, instead of a number.
        timeout: seconds for a method, unless a call gives its own.
        fingerprint: of the encoder that must have answered; None for any.
        tls: None for a connection in the clear.
        token: sent as `authorization: Bearer`; a function is asked for it before every call. It needs `tls`, unless the
            server is on this machine.
        metadata: sent with every call, names in lower case.
        retries: of calls that the server could not take, within their deadlines.
        hedging: a second copy of slow questions; None for none.
        breaker: leaves alone an address that keeps failing; None for none.
        limits: on messages, batches and concurrency.
        keepalive: pings that notice a dead connection.
        hooks: entered around every call, for metrics and tracing, such as `serving.client.telemetry.OpenTelemetry`.
        connect: makes the channels, instead of gRPC's own functions: for interceptors, proxies, tests.

    Raises:
        BadInputError: an impossible setting.
    """

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._channels: tuple[grpc.Channel, ...] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._stubs: dict[tuple[int, str], Any] = {}

    def search(
        self,
        image: Picture | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        text: str | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> SearchResult:
        """The k items most similar to a picture, to words, or to a picture changed by words.

            client.search("photo.jpg")
            client.search(text="navy blue shirt")
            client.search("photo.jpg", text="in red", weight=0.4)

        Args:
            image: bytes of a JPEG, PNG, WebP, GIF or BMP file, its path, a file object, a PIL image, or a uint8 array
                `[H, W, 3]` or `[H, W]`; None where words alone are asked with.
            k: from 1 to the table's K.
            filters: attribute to the value, or to several, of which a match must have one.
            text: words, at most 10,000 characters, of which a model reads the first; it must have learnt words.
            weight: how much the words count beside the picture, from 0 (the picture alone) to 1 (the words alone);
                None for 0.5. Only where both are given.
            **options: see `CallOptions`.

        Raises:
            UnknownSignatureError: words were asked with, and the model has learnt none.
        """
        return self._run(self._questions.search(image, k, filters, text, weight, options))

    def search_many(
        self,
        images: Iterable[Picture] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        *,
        texts: Iterable[str] | None = None,
        weight: float | None = None,
        **options: Unpack[CallOptions],
    ) -> list[SearchResult]:
        """`search` for several pictures, several texts, or pairs of them, in order.

        Requests are sent concurrently, each under the client's limits.

        Args:
            images: as for `search`, or None.
            k: as for `search`.
            filters: as for `search`, the same for all.
            texts: as for `search`, or None; as many as pictures where there are both.
            weight: as for `search`, the same for all.
            **options: see `CallOptions`.
        """
        return self._run(self._questions.search_many(images, k, filters, texts, weight, options))

    def embed(self, image: Picture, **options: Unpack[CallOptions]) -> Embedding:
        """A picture as an embedding of unit length; `image` as for `search`."""
        return self._run(self._questions.embed(image, options))

    def embed_many(self, images: Iterable[Picture], **options: Unpack[CallOptions]) -> list[Embedding]:
        """`embed` for several pictures, in order, all by one encoder."""
        return self._run(self._questions.embed_many(images, options))

    def embed_text(self, text: str, **options: Unpack[CallOptions]) -> Embedding:
        """Words as an embedding of unit length, among those of the pictures; `text` as for `search`."""
        return self._run(self._questions.embed_text(text, options))

    def embed_texts(self, texts: Iterable[str], **options: Unpack[CallOptions]) -> list[Embedding]:
        """`embed_text` for several texts, in order, all by one encoder."""
        return self._run(self._questions.embed_texts(texts, options))

    def lookup(
        self, vector: Vector, k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> SearchResult:
        """The k items most similar to an embedding.

        Args:
            vector: what `embed` answered, whose fingerprint must be the table's; or D numbers, finite and not all 0.
            k: from 1 to the table's K.
            filters: as for `search`.
            **options: see `CallOptions`.
        """
        return self._run(self._questions.lookup(vector, k, filters, options))

    def lookup_many(
        self, vectors: Iterable[Vector], k: int = 10, filters: Filters | None = None, **options: Unpack[CallOptions]
    ) -> list[SearchResult]:
        """`lookup` for several embeddings, or the rows of an array `[N, D]`, in order."""
        return self._run(self._questions.lookup_many(vectors, k, filters, options))

    def classify(self, image: Picture, k: int = 1, **options: Unpack[CallOptions]) -> Classification:
        """The k likeliest labels of a picture; `image` as for `search`, `k` up to the encoder's K."""
        return self._run(self._questions.classify(image, k, options))

    def classify_many(
        self, images: Iterable[Picture], k: int = 1, **options: Unpack[CallOptions]
    ) -> list[Classification]:
        """`classify` for several pictures, in order."""
        return self._run(self._questions.classify_many(images, k, options))

    def predict(
        self,
        model: str,
        signature: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """Any signature of any model that the server has.

        Args:
            model: served name.
            signature: such as `serving_default`.
            inputs: name to an array, or to what NumPy makes one of; plain Python numbers become float32 and int32.
            outputs: names of those to answer; all where none is given.
            **options: see `CallOptions`.
        """
        return self._run(self._questions.predict(model, signature, inputs, outputs, options))

    def models(self, **options: Unpack[CallOptions]) -> dict[str, tuple[VersionStatus, ...]]:
        """Those of the client's three models that the server has, by served name, with their versions.

        TensorFlow Serving cannot list its models; ask `status` about any other.
        """
        return self._run(readiness.models(self._questions, options))

    def status(self, model: str, **options: Unpack[CallOptions]) -> tuple[VersionStatus, ...]:
        """Where the versions of a model stand, by its served name; the highest version first, ended ones included."""
        return self._run(readiness.status(self._questions, model, options))

    def metadata(self, model: str, **options: Unpack[CallOptions]) -> ModelMetadata:
        """The signatures of a model, by its served name."""
        return self._run(self._questions.metadata(model, self._questions.options(options)))

    def wait_until_ready(self, timeout: float = 60.0, models: Sequence[str] | None = None) -> None:
        """Waits until models can be asked; a server that cannot be reached yet is waited for too.

        Args:
            timeout: seconds.
            models: served names, all of which must be ready; by default those of the client's three that the server
                knows, and at least one. Where the client has a label, each must have a version of that label.

        Raises:
            NotReadyError: the time is up; says what was missing.
        """
        self._run(readiness.wait_until_ready(self._questions, timeout, models))

    def healthy(self, **options: Unpack[CallOptions]) -> bool:
        """Whether the server takes questions, by its health service; where it has none, whether it answers."""
        return self._run(readiness.healthy(self._questions, options))

    def close(self) -> None:
        """Closes the connections; calls under way end with `ClosedError`. Closing twice does nothing."""
        self._closed = True
        if self._process == os.getpid():
            for channel in self._channels or ():
                channel.close()
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        self._check_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        """Carries out a question's steps."""
        self._check_usable()
        return _drive(flow, self._perform)

    def _perform(self, step: Send | Sleep) -> list[Any]:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return []
        if len(step.calls) == 1:
            return [self._send(step.calls[0], step.collect)]
        futures: list[Future[Any]] = []
        try:
            pool = self._connected()[1]
            for call in step.calls:
                futures.append(pool.submit(contextvars.copy_context().run, self._send, call, step.collect))
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in futures if future.done() and future.exception()), None)
            return [failed.result()] if failed else [future.result() for future in futures]
        except (CancelledError, RuntimeError) as error:
            if self._closed:
                raise ClosedError("this client was closed while it asked; make another one") from error
            raise
        finally:
            for future in futures:
                future.cancel()

    def _send(self, call: Call, collect: bool) -> Any:
        return _drive(self._exchange.ask(call, collect), self._ask)

    def _ask(self, ask: Ask) -> Any:
        call = ask.call
        stub = self._stub(ask.target, call)
        try:
            if ask.hedge_after is None or ask.timer is None or ask.hedge_after >= ask.timeout:
                return stub(call.request, ask.timeout, call.metadata)
            return _first_of_two(ask, stub, self._stub(ask.second, call))
        except ValueError as error:
            self._refuse(call, error)
        except grpc.RpcError as error:
            self._refuse_if_closed(call, error)
            raise

    def _stub(self, target: Target, call: Call) -> Any:
        key = target.place, call.method.path
        stub = self._stubs.get(key)
        if stub is None:
            channel = self._connected()[0][target.place]
            method = call.method
            stub = self._stubs[key] = channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
        return stub

    def _connected(self) -> tuple[tuple[grpc.Channel, ...], ThreadPoolExecutor]:
        """Channels and threads, made when they are first needed: a fork before that harms nothing."""
        with self._lock:
            self._check_usable()
            if self._channels is None or self._pool is None:
                self._process = os.getpid()
                self._channels = tuple(self._channel(address) for address in self.addresses)
                self._pool = ThreadPoolExecutor(self._limits.concurrency, "serving-client")
            return self._channels, self._pool

    def _channel(self, address: str) -> grpc.Channel:
        if self._connect is not None:
            return self._connect(address, self._credentials, self._options)
        if self._credentials is not None:
            return grpc.secure_channel(address, self._credentials, self._options)
        return grpc.insecure_channel(address, self._options)


def _first_of_two(ask: Ask, stub: Any, second_stub: Any) -> Any:
    """What is answered first; the other call is cancelled.

    Raises:
        grpc.RpcError: both failed, or the first before a second was sent.
    """
    call = ask.call
    calls = [stub.future(call.request, ask.timeout, call.metadata)]
    try:
        try:
            return calls[0].result(ask.hedge_after)
        except grpc.FutureTimeoutError:
            if not ask.may_copy():
                return calls[0].result()
        left = ask.timeout - (ask.hedge_after or 0.0)
        calls.append(second_stub.future(call.request, left, call.metadata))
        finished: SimpleQueue[Any] = SimpleQueue()
        for each in calls:
            each.add_done_callback(finished.put)
        ended = finished.get()
        return (ended if ended.exception() is None else finished.get()).result()
    finally:
        for each in calls:
            each.cancel()


def _drive(flow: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Performs what a generator yields, and sends back what came of it, errors included, until it returns."""
    try:
        step = next(flow)
        while True:
            try:
                answer = perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value
