"""The REST side: TensorFlow Serving's paths and JSON, and the metrics' page."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import Any

import grpc
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving.server.errors import RequestError, limited
from serving.server.grpc_service import authorised
from serving.server.inference import SIGNATURE_DEF, Inference
from serving.server.json_tensors import arrays_from_json, fill_examples, json_of_outputs, parse_json

__all__ = ["METRICS_PATH", "RestApi"]

log = logging.getLogger(__name__)

METRICS_PATH = "/monitoring/prometheus/metrics"
_MODEL = r"(?i:/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>classify|regress|predict))")
_LOOK = re.compile(_MODEL + r"(?:/(?P<part>metadata))?)")
_CODES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


class RestApi:
    """The REST API as an aiohttp application.

    Args:
        inference: answers the calls.
        token: that every request must bring as `Authorization: Bearer …`; None for none.
        timeout_seconds: after which a request is given up.
        max_bytes: greatest body.
    """

    def __init__(self, inference: Inference, token: str | None, timeout_seconds: float, max_bytes: int) -> None:
        self._inference, self._token, self._timeout_seconds = inference, token, timeout_seconds
        self.application = web.Application(client_max_size=max_bytes)
        self.application.router.add_route("*", "/{path:.*}", self._handle)
        logging.getLogger("aiohttp.server").addFilter(_not_a_spoilt_body)

    async def _handle(self, request: web.Request) -> web.Response:
        if self._token is not None and not authorised(request.headers.get("Authorization"), self._token):
            headers = {"WWW-Authenticate": "Bearer"}
            return _failure(401, "expected the server's bearer token in the Authorization header", headers)
        path = request.raw_path.partition("?")[0]
        if path == METRICS_PATH:
            return web.Response(text=self._inference.metrics.page(), content_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return _failure(404, f"nothing at {path[:200]}")
        start, name, code, api = time.perf_counter(), "", "CANCELLED", ""
        try:
            call = _CALL.fullmatch(path) if request.method == "POST" else None
            look = _LOOK.fullmatch(path) if request.method == "GET" else None
            if call:
                spec, api = _spec(call), call["method"].capitalize()
                name, content = spec.name, await _body(request)
                with self._inference.admitted():
                    body = await self._call(api, spec, content)
            elif look:
                spec = _spec(look)
                name, api = spec.name, "GetModelMetadata" if look["part"] else "GetModelStatus"
                body = await (self._metadata(spec) if look["part"] else self._status(spec))
            else:
                raise RequestError.invalid(f"Malformed request: {request.method} {path[:200]}")
            code = "OK"
            return web.Response(body=body, content_type="application/json")
        except web.HTTPException as error:
            code = "RESOURCE_EXHAUSTED"
            return _failure(error.status, error.reason)
        except Exception as error:
            if not isinstance(error, RequestError):
                log.exception("%s %s failed", request.method, path[:200])
            failure = RequestError.of(error)
            code = failure.code.name
            return _failure(_CODES.get(failure.code, 500), limited(failure.message))
        finally:
            known = name if name in self._inference.manager.models else ""
            self._inference.metrics.requests.add(known, code)
            self._inference.metrics.latency.add((time.perf_counter() - start) * 1e6, known, api, "REST", code)

    async def _call(self, api: str, spec: Any, content: bytes) -> bytes:
        deadline = time.monotonic() + self._timeout_seconds
        # Off the event loop: a large body would hold everybody up.
        large = len(content) > 1 << 16
        document = await asyncio.to_thread(parse_json, content) if large else parse_json(content)
        spec.signature_name = document.get("signature_name", "")
        if api == "Predict":
            return await self._predict(spec, document, deadline)
        kind = classification_pb2.ClassificationRequest if api == "Classify" else regression_pb2.RegressionRequest
        message = kind(model_spec=spec)
        fill_examples(document, message.input)
        if api == "Classify":
            answer = await self._inference.classify(message, deadline)
            rows: list[Any] = [
                [[item.label, _short(item.score)] for item in found.classes] for found in answer.result.classifications
            ]
        else:
            answer = await self._inference.regress(message, deadline)
            rows = [_short(found.value) for found in answer.result.regressions]
        return json.dumps({"results": rows}, ensure_ascii=False, indent=4).encode()

    async def _predict(self, spec: Any, document: dict[str, Any], deadline: float) -> bytes:
        found = self._inference.manager.find(spec)
        with found.servable as servable:
            key = spec.signature_name or "serving_default"
            signature = servable.signatures.get(key)
            if signature is None:
                raise RequestError.invalid(f'Serving signature name: "{key}" not found in signature def')
            named, rows = await asyncio.to_thread(arrays_from_json, document, signature)
            for input_spec in signature.inputs:
                input_spec.check(named[input_spec.alias], input_spec.dtype)
            arrays = [named[input_spec.alias] for input_spec in signature.inputs]
            outputs = await self._inference.run(found, signature, arrays, deadline, "Predict")
        return await asyncio.to_thread(json_of_outputs, outputs, rows)

    async def _status(self, spec: Any) -> bytes:
        answer = await self._inference.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
        return _json(answer).encode()

    async def _metadata(self, spec: Any) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
        answer = await self._inference.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata[SIGNATURE_DEF].Unpack(signatures)
        spec_text, signatures_text = _json(answer.model_spec), _json(signatures)
        return f'{{\n"model_spec":{spec_text},\n"metadata": {{"signature_def": {signatures_text}}}\n}}\n'.encode()


def _not_a_spoilt_body(record: logging.LogRecord) -> bool:
    """Keeps a client's spoilt body, which it is told of, from filling the log with tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], web.RequestPayloadError))


async def _body(request: web.Request) -> bytes:
    """The body of a request.

    Raises:
        RequestError: INVALID_ARGUMENT: it ends early, or is not encoded as its header says.
        HTTPRequestEntityTooLarge: it is greater than allowed.
    """
    try:
        return await request.read()
    except (web.RequestPayloadError, ConnectionError, HttpProcessingError) as error:
        raise RequestError.invalid(f"expected a whole body, encoded as Content-Encoding says: {error}") from error


def _spec(match: re.Match[str]) -> Any:
    from urllib.parse import unquote

    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        number = int(match["version"]) if len(match["version"]) < 20 else 1 << 63
        if number >= 1 << 63:
            raise RequestError.invalid(f"Failed to convert version: {match['version'][:40]} to numeric.")
        spec.version.value = number
    elif match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )


def _short(value: float) -> float:
    """The shortest decimal that reads back as the same float32."""
    import numpy as np

    return float(str(np.float32(value)))


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = json.dumps({"error": message}, ensure_ascii=False, indent=4)
    return web.Response(text=body, status=status, content_type="application/json", headers=headers)
