"""A server in this process that answers as told: grpcio's generic handlers, the client's messages, no TensorFlow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from serving import wire
from serving.wire import messages

D, K = 4, 12
FINGERPRINT, TABLE_FINGERPRINT = "encoder-1", "table-1"
PICTURE = b"\xff\xd8\xff picture "
GENDERS = ("Women", "Men")
_BATCH = -1

Answer = Callable[[Any, grpc.ServicerContext], Any]

SIGNATURES = {
    "fused_encoder": {
        "embed_images": ({"image_bytes": (7, [_BATCH])}, {"embedding": (1, [_BATCH, D])}),
        "embed_texts": ({"text": (7, [_BATCH])}, {"embedding": (1, [_BATCH, D])}),
        "classify_images": ({"image_bytes": (7, [_BATCH])}, {"scores": (1, [_BATCH, 3])}),
    },
    "fused_lookup": {
        "lookup": ({"embedding": (1, [_BATCH, D])}, {"scores": (1, [_BATCH, K])}),
        "lookup_filtered": (
            {"embedding": (1, [_BATCH, D]), "gender": (7, [_BATCH]), "colour": (7, [_BATCH])},
            {"scores": (1, [_BATCH, K])},
        ),
    },
    "fused_search": {
        "search_images": ({"image_bytes": (7, [_BATCH])}, {"scores": (1, [_BATCH, -1])}),
        "search_images_filtered": (
            {"image_bytes": (7, [_BATCH]), "gender": (7, [_BATCH])},
            {"scores": (1, [_BATCH, -1])},
        ),
        "search_texts": ({"text": (7, [_BATCH])}, {"scores": (1, [_BATCH, K])}),
        "search_texts_filtered": (
            {"text": (7, [_BATCH]), "gender": (7, [_BATCH])},
            {"scores": (1, [_BATCH, K])},
        ),
        "search_images_and_texts": (
            {"image_bytes": (7, [_BATCH]), "text": (7, [_BATCH]), "weight": (1, [_BATCH])},
            {"scores": (1, [_BATCH, K])},
        ),
        "search_images_and_texts_filtered": (
            {"image_bytes": (7, [_BATCH]), "text": (7, [_BATCH]), "weight": (1, [_BATCH]), "gender": (7, [_BATCH])},
            {"scores": (1, [_BATCH, K])},
        ),
    },
}


class FakeServer:
    """Answers on a free port of the loopback, or on the one that is given.

    What came in lies in `requests` (method name, request, metadata). `before` runs before every answer, and may abort,
    wait, or answer itself by returning something.
    """

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.before: Answer | None = None
        self.version = 1
        self.fingerprint = FINGERPRINT
        self.healthy: bool | None = True
        self.states = {name: [(1, 30, "")] for name in SIGNATURES}
        self.first_item = 0
        self.score_offset = 0.0
        self._server = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2**24)],
        )
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))
        where = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop(None).wait()

    def asked(self, method: str = "Predict") -> list[Any]:
        """The requests of a method."""
        return [request for name, request, _ in self.requests if name == method]

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        answers = {
            wire.PREDICT: self._predict,
            wire.GET_MODEL_METADATA: self._metadata,
            wire.GET_MODEL_STATUS: self._status,
            wire.HEALTH_CHECK: self._health,
        }
        handlers = []
        for method, answer in answers.items():
            handler = grpc.unary_unary_rpc_method_handler(
                self._recorded(method, answer), method.request.FromString, method.response.SerializeToString
            )
            handlers.append(grpc.method_handlers_generic_handler(method.service, {method.name: handler}))
        return handlers

    def _recorded(self, method: wire.Method, answer: Answer) -> Answer:
        def recorded(request: Any, context: grpc.ServicerContext) -> Any:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            self.requests.append((method.name, request, metadata))
            if method is wire.PREDICT and self.before is not None:
                given = self.before(request, context)
                if given is not None:
                    return given
            return answer(request, context)

        return recorded

    def _model(self, spec: Any, context: grpc.ServicerContext) -> str:
        if spec.version_label not in ("", "stable"):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}"
            )
        if spec.name not in self.states or (spec.HasField("version") and spec.version.value != self.version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
        return spec.name

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        model, signature = self._model(request.model_spec, context), request.model_spec.signature_name
        if signature == "echo":
            return self._answer(model, signature, {name: wire.to_array(v) for name, v in request.inputs.items()})
        if signature not in SIGNATURES[model]:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        inputs = {name: wire.to_array(tensor) for name, tensor in request.inputs.items()}
        rows = len(next(iter(inputs.values())))
        outputs: dict[str, Any] = {"fingerprint": [self.fingerprint.encode()] * rows}
        if signature in ("embed_images", "embed_texts"):
            (contents,) = inputs.values()
            outputs["embedding"] = np.stack([self.vector(content) for content in contents])
        elif signature == "classify_images":
            outputs["labels"] = [[b"Shirts", b"Shoes", b"Watches"]] * rows
            outputs["scores"] = np.array([[0.5, 0.25, 0.25]] * rows, np.float32)
        else:
            wanted = [value.decode().split("\n") for value in inputs.get("gender", [b""] * rows)]
            outputs |= self.nearest(wanted)
        return self._answer(model, signature, outputs)

    @staticmethod
    def vector(content: bytes) -> np.ndarray:
        """A unit vector that tells pictures, or texts, apart."""
        vector = np.array([1.0, content[-1], len(content), 2.0], np.float32)
        return vector / np.linalg.norm(vector)

    def nearest(self, wanted: list[list[str]]) -> dict[str, Any]:
        """K items a row, those of the admitted genders, the rest empty."""
        ids, scores, genders = [], [], []
        for values in wanted:
            rows = [row for row in range(K) if values == [""] or GENDERS[row % 2] in values]
            empty = K - len(rows)
            ids.append([f"item-{self.first_item + row}".encode() for row in rows] + [b""] * empty)
            genders.append([GENDERS[row % 2].encode() for row in rows] + [b""] * empty)
            scores.append([0.9 - row / 10 + self.score_offset for row in rows] + [-np.inf] * empty)
        return {
            "ids": ids,
            "scores": np.array(scores, np.float32),
            "gender": genders,
            "table_fingerprint": [TABLE_FINGERPRINT.encode()] * len(wanted),
        }

    def _answer(self, model: str, signature: str, outputs: dict[str, Any]) -> Any:
        response = wire.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = model, signature
        response.model_spec.version.value = self.version
        for name, value in outputs.items():
            if isinstance(value, np.ndarray) and value.dtype == np.float32:  # as TensorFlow Serving answers
                tensor = response.outputs[name]
                tensor.dtype = 1
                for size in value.shape:
                    tensor.tensor_shape.dim.add(size=size)
                tensor.float_val.extend(value.ravel().tolist())
            else:
                wire.fill_tensor(response.outputs[name], value)
        return response

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        model = self._model(request.model_spec, context)
        if list(request.metadata_field) != ["signature_def"]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field")
        defined = messages.SignatureDefMap()
        for name, (inputs, outputs) in SIGNATURES[model].items():
            signature = defined.signature_def[name]
            for infos, specs in ((signature.inputs, inputs), (signature.outputs, outputs)):
                for key, (dtype, shape) in specs.items():
                    infos[key].dtype = dtype
                    for size in shape:
                        infos[key].tensor_shape.dim.add(size=size)
        response = messages.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = model, self.version
        response.metadata["signature_def"].value = defined.SerializeToString()
        return response

    def _status(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.model_spec.name not in self.states:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        response = messages.GetModelStatusResponse()
        for version, state, error in self.states[request.model_spec.name]:
            item = response.model_version_status.add(version=version, state=state)
            item.status.error_message = error
        return response

    def _health(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.healthy is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such service")
        return messages.HealthCheckResponse(status=1 if self.healthy else 2)


def failing(code: grpc.StatusCode, details: str, times: int = 1000) -> Answer:
    """Aborts the first calls."""
    left = [times]
    lock = threading.Lock()

    def before(request: Any, context: grpc.ServicerContext) -> None:
        with lock:
            left[0] -= 1
            fails = left[0] >= 0
        if fails:
            context.abort(code, details)

    return before


def slow(seconds: float, times: int = 1000) -> Answer:
    """Waits before the first answers."""
    left = [times]

    def before(request: Any, context: grpc.ServicerContext) -> None:
        left[0] -= 1
        if left[0] >= 0:
            time.sleep(seconds)

    return before
