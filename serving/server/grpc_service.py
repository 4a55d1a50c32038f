"""The gRPC side: methods, tokens, deadlines and error codes."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server.errors import RequestError, limited
from serving.server.inference import Inference

__all__ = ["GrpcService", "authorised"]

log = logging.getLogger(__name__)

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
HEALTH = "/grpc.health.v1.Health/"
Call = Callable[[Any, float | None], Awaitable[Any]]


def authorised(header: str | None, token: str) -> bool:
    """Whether an `Authorization` header brings the token; takes as long for any wrong one."""
    kind, _, given = (header or "").partition(" ")
    return hmac.compare_digest(given.strip().encode(), token.encode()) and kind.lower() == "bearer"


class GrpcService(grpc.GenericRpcHandler):
    """PredictionService and ModelService for `grpc.aio`.

    Messages are parsed here and not by gRPC, so that what does not parse gets a code of its own.

    Args:
        inference: answers the calls.
        token: that every call must bring as `authorization: Bearer …`; None for none. Health needs none.
    """

    def __init__(self, inference: Inference, token: str | None) -> None:
        self._inference, self._token = inference, token
        calls: dict[str, tuple[Any, Call]] = {
            f"/{PREDICTION}/Predict": (predict_pb2.PredictRequest, inference.predict),
            f"/{PREDICTION}/Classify": (classification_pb2.ClassificationRequest, inference.classify),
            f"/{PREDICTION}/Regress": (regression_pb2.RegressionRequest, inference.regress),
            f"/{PREDICTION}/MultiInference": (inference_pb2.MultiInferenceRequest, inference.multi_inference),
            f"/{PREDICTION}/GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, inference.metadata),
            f"/{MODEL}/GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, inference.status),
            f"/{MODEL}/HandleReloadConfigRequest": (model_management_pb2.ReloadConfigRequest, inference.reload),
        }
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(self._method(path.rpartition("/")[2], kind, call))
            for path, (kind, call) in calls.items()
        }
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method's name."""
        path = handler_call_details.method
        if self._token is not None and not path.startswith(HEALTH):
            headers = dict(handler_call_details.invocation_metadata or ())
            header = headers.get("authorization")
            if not authorised(header if isinstance(header, str) else None, self._token):
                return self._refusal
        return self._handlers.get(path)

    def _method(self, api: str, kind: Any, call: Call) -> Callable[[bytes, Any], Awaitable[bytes]]:
        metrics = self._inference.metrics
        counted = kind.DESCRIPTOR.fields_by_name.get("model_spec") is not None

        async def answer(content: bytes, context: Any) -> bytes:
            start, name, code = time.perf_counter(), "", "CANCELLED"
            try:
                left = context.time_remaining()
                deadline = None if left is None else time.monotonic() + left
                request = kind()
                try:
                    request.ParseFromString(content)
                except DecodeError as error:
                    raise RequestError(grpc.StatusCode.INTERNAL, f"cannot parse the {kind.DESCRIPTOR.name}") from error
                name = request.model_spec.name if counted else ""
                with self._inference.admitted():
                    found: bytes = (await call(request, deadline)).SerializeToString()
                code = "OK"
                return found
            except Exception as error:
                if not isinstance(error, RequestError):
                    log.exception("%s failed", api)
                failure = RequestError.of(error)
                code = failure.code.name
                await context.abort(failure.code, limited(failure.message))
                raise
            finally:
                known = name if name in self._inference.manager.models else ""
                metrics.requests.add(known, code)
                metrics.latency.add((time.perf_counter() - start) * 1e6, known, api, "GRPC", code)

        return answer


async def _refuse(content: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "expected the server's bearer token as authorization metadata")
    raise RuntimeError("unreachable")
