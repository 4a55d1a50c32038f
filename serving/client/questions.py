"""Every question about pictures and products, as steps that build requests and parse answers. No I/O.

The shells, `Client` and `AsyncClient`, carry the steps out; so neither copies the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from serving.client import answers
from serving.client.calls import Call, CallOptions, Flow, Send
from serving.client.errors import BadInputError, MixedFingerprintsError, ServingError, TooLargeError
from serving.client.pictures import Picture, picture_bytes, pictures_bytes
from serving.client.queries import (
    Filters,
    Vector,
    admitted,
    check_k,
    check_name,
    filter_values,
    fits_dimension,
    fits_k,
    one_vector,
    several_vectors,
)
from serving.client.requests import Options, Requests
from serving.client.results import Classification, Embedding, Prediction, SearchResult, Signature
from serving.client.sought import Sought
from serving.client.texts import checked_text, checked_texts
from serving.contract import (
    CLASSIFY_IMAGES,
    EMBED_IMAGES,
    EMBED_TEXTS,
    EMBEDDING,
    IMAGE_BYTES,
    LOOKUP,
    LOOKUP_FILTERED,
    TEXT,
)
from serving.wire import PREDICT, TensorError, fill_strings, fill_tensor

__all__ = ["Questions"]

R = TypeVar("R", SearchResult, Embedding, Classification)
Parse = Callable[[Call, Any, int], list[R]]


class Questions(Requests):
    """Builds the steps of every question."""

    def search(
        self,
        image: Picture | None,
        k: int,
        filters: Filters | None,
        text: str | None,
        weight: float | None,
        given: CallOptions,
    ) -> Flow[SearchResult]:
        """The items most similar to a picture, to words, or to both."""
        return (yield from self._search(Sought.one(image, text, weight), k, filters, given))[0]

    def search_many(
        self,
        images: Iterable[Picture] | None,
        k: int,
        filters: Filters | None,
        texts: Iterable[str] | None,
        weight: float | None,
        given: CallOptions,
    ) -> Flow[list[SearchResult]]:
        """The items most similar to each picture, to each text, or to each pair."""
        return (yield from self._search(Sought.several(images, texts, weight), k, filters, given))

    def _search(self, sought: Sought, k: int, filters: Filters | None, given: CallOptions) -> Flow[list[SearchResult]]:
        k, chosen, options = check_k(k), admitted(filters), self.options(given)
        model, name = self.served("search"), sought.signature(filtered=bool(chosen))

        def build(signature: Signature, part: Sought) -> Call:
            fits_k(signature, k)
            values = filter_values(signature, chosen) if chosen else {}
            call = self.predict_call(model, name, options, len(part), values)
            part.fill(call.request.inputs)
            return call

        def parse(call: Call, response: Any, rows: int) -> list[SearchResult]:
            return answers.search_results(call, response, rows, k)

        results = yield from self._in_batches(model, name, options, sought, sought.sizes, build, parse)
        return self._of_encoder(results)

    def embed(self, image: Picture, given: CallOptions) -> Flow[Embedding]:
        """A picture as an embedding."""
        return (yield from self._embed(EMBED_IMAGES, IMAGE_BYTES, [picture_bytes(image)], given))[0]

    def embed_many(self, images: Iterable[Picture], given: CallOptions) -> Flow[list[Embedding]]:
        """Pictures as embeddings of one encoder."""
        return (yield from self._embed(EMBED_IMAGES, IMAGE_BYTES, pictures_bytes(images), given))

    def embed_text(self, text: str, given: CallOptions) -> Flow[Embedding]:
        """A text as an embedding."""
        return (yield from self._embed(EMBED_TEXTS, TEXT, [checked_text(text).encode()], given))[0]

    def embed_texts(self, texts: Iterable[str], given: CallOptions) -> Flow[list[Embedding]]:
        """Texts as embeddings of one encoder."""
        contents = [text.encode() for text in checked_texts(texts)]
        return (yield from self._embed(EMBED_TEXTS, TEXT, contents, given))

    def _embed(self, name: str, tensor: str, contents: list[bytes], given: CallOptions) -> Flow[list[Embedding]]:
        options, model = self.options(given), self.served("encoder")

        def build(signature: Signature, contents: list[bytes]) -> Call:
            return self._strings(model, name, options, tensor, contents)

        def ask(contents: list[bytes]) -> Flow[list[tuple[Embedding, Call]]]:
            sizes = [len(content) for content in contents]
            return self._in_batches(model, name, options, contents, sizes, build, answers.embeddings)

        results = yield from ask(contents)
        if len({result.fingerprint for result, _ in results}) > 1:
            # a new version took over between two requests: what the old one made is made anew, once
            newest = max((result for result, _ in results), key=lambda result: result.version).fingerprint
            stale = [place for place, (result, _) in enumerate(results) if result.fingerprint != newest]
            renewed = yield from ask([contents[place] for place in stale])
            for place, answered in zip(stale, renewed, strict=True):
                results[place] = answered
        fingerprints = {result.fingerprint for result, _ in results}
        if len(fingerprints) > 1:
            raise MixedFingerprintsError(
                f"expected embeddings of one encoder, received {', '.join(sorted(fingerprints))}, also when asked "
                "again; give a version or a label",
                model=model,
                signature=name,
                request_id=options.request_id,
            )
        return self._of_encoder(results)

    def classify(self, image: Picture, k: int, given: CallOptions) -> Flow[Classification]:
        """What a picture shows."""
        return (yield from self._classify([picture_bytes(image)], k, given))[0]

    def classify_many(self, images: Iterable[Picture], k: int, given: CallOptions) -> Flow[list[Classification]]:
        """What each picture shows."""
        return (yield from self._classify(pictures_bytes(images), k, given))

    def _classify(self, files: list[bytes], k: int, given: CallOptions) -> Flow[list[Classification]]:
        k, options, model = check_k(k), self.options(given), self.served("encoder")

        def build(signature: Signature, files: list[bytes]) -> Call:
            fits_k(signature, k)
            return self._strings(model, CLASSIFY_IMAGES, options, IMAGE_BYTES, files)

        def parse(call: Call, response: Any, rows: int) -> list[Classification]:
            return answers.classifications(call, response, rows, k)

        sizes = [len(file) for file in files]
        results = yield from self._in_batches(model, CLASSIFY_IMAGES, options, files, sizes, build, parse)
        return self._of_encoder(results)

    def lookup(self, vector: Vector, k: int, filters: Filters | None, given: CallOptions) -> Flow[SearchResult]:
        """The items most similar to an embedding."""
        vectors, fingerprint = one_vector(vector)
        return (yield from self._lookup(vectors, fingerprint, k, filters, given))[0]

    def lookup_many(
        self, vectors: Iterable[Vector], k: int, filters: Filters | None, given: CallOptions
    ) -> Flow[list[SearchResult]]:
        """The items most similar to each embedding."""
        array, fingerprint = several_vectors(vectors)
        return (yield from self._lookup(array, fingerprint, k, filters, given))

    def _lookup(
        self, vectors: np.ndarray, fingerprint: str, k: int, filters: Filters | None, given: CallOptions
    ) -> Flow[list[SearchResult]]:
        k, chosen, options = check_k(k), admitted(filters), self.options(given)
        model, name = self.served("lookup"), LOOKUP_FILTERED if chosen else LOOKUP
        rows, dimension = vectors.shape

        def build(signature: Signature, vectors: np.ndarray) -> Call:
            fits_k(signature, k)
            fits_dimension(signature, dimension)
            values = filter_values(signature, chosen) if chosen else {}
            call = self.predict_call(model, name, options, len(vectors), values)
            fill_tensor(call.request.inputs[EMBEDDING], vectors)
            return call

        def parse(call: Call, response: Any, rows: int) -> list[SearchResult]:
            return answers.search_results(call, response, rows, k)

        sizes = [4 * dimension] * rows
        results = yield from self._in_batches(model, name, options, vectors, sizes, build, parse)
        return self._of_encoder(results, fingerprint)

    def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], outputs: Sequence[str], given: CallOptions
    ) -> Flow[Prediction]:
        """Any signature of any model."""
        options = self.options(given)
        if not isinstance(inputs, Mapping):
            raise BadInputError(f"expected inputs as name to value, received {type(inputs).__name__}")
        if isinstance(outputs, str) or not isinstance(outputs, Iterable):
            raise BadInputError(f"expected several names of outputs, received {outputs!r}; put it in a list")
        call = self.call(PREDICT, check_name("model", model), options, signature=check_name("signature", signature))
        with_details = {"model": model, "signature": signature, "request_id": options.request_id}
        for name, value in inputs.items():
            try:
                fill_tensor(call.request.inputs[check_name("tensor", name)], value)
            except (TensorError, UnicodeEncodeError) as error:
                raise BadInputError(f"input {name}: {error}", **with_details) from error
        call.request.output_filter.extend([check_name("tensor", name) for name in outputs])
        size, limit = call.request.ByteSize(), self._asking.limits.message_bytes
        if size > limit:
            message = f"expected at most {limit} bytes in a request (Limits.message_bytes), received {size}"
            raise TooLargeError(message, **with_details)
        (response,) = yield Send([call])
        return answers.prediction(call, response)

    def _strings(self, model: str, signature: str, options: Options, tensor: str, contents: list[bytes]) -> Call:
        call = self.predict_call(model, signature, options, len(contents), {})
        fill_strings(call.request.inputs[tensor], contents, (len(contents),))
        return call

    def _in_batches(
        self,
        model: str,
        name: str,
        options: Options,
        items: Any,
        sizes: Sequence[int],
        build: Callable[[Signature, Any], Call],
        parse: Parse[R],
    ) -> Flow[list[tuple[R, Call]]]:
        """One result an item with the call that got it, in order; as many requests as the limits make of them."""
        results: list[tuple[R, Call]] = []
        try:
            parts = self.batches(sizes)
            if not parts:
                return results
            calls, responses = yield from self.fitting(
                model, name, options, lambda signature: [build(signature, items[part]) for part in parts]
            )
            for call, response, part in zip(calls, responses, parts, strict=True):
                results += [(result, call) for result in parse(call, response, part.stop - part.start)]
        except ServingError as error:  # raised where not all of it is known
            error.model, error.signature = error.model or model, error.signature or name
            error.request_id = error.request_id or options.request_id
            raise
        return results

    def _of_encoder(self, answered: list[tuple[R, Call]], fingerprint: str = "") -> list[R]:
        """The results, refused where they are of another encoder than expected: the client's, or the embedding's."""
        for expected in (fingerprint, self._asking.fingerprint):
            for result, call in answered if expected else ():
                if result.fingerprint != expected:
                    raise MixedFingerprintsError(
                        f"expected fingerprint {expected}, version {result.version} answered with "
                        f"{result.fingerprint}; embed it anew, or give the version that fits",
                        address=call.address,
                        model=call.model,
                        signature=call.signature,
                        request_id=call.request_id,
                    )
        return [result for result, _ in answered]
