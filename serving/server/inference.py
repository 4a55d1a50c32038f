"""The calls of PredictionService and ModelService on messages, whatever brought them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.contract import IMAGE_BYTES
from serving.server.errors import RequestError, limited, number_of
from serving.server.examples import (
    CLASSIFY,
    REGRESS,
    checked_signature,
    example_arrays,
    fill_classifications,
    fill_regressions,
)
from serving.server.loading import LoadedVersion
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager
from serving.server.options import ServerOptions
from serving.server.picture_guard import check_pictures
from serving.server.signature import Signature, check_outputs
from serving.server.tensors import fill_proto

__all__ = ["Inference"]

SIGNATURE_DEF = "signature_def"
QUIET_SECONDS = 0.5
"""Without a request, after which a stopping server takes all clients to know."""
TELLING_SECONDS = 3.0
"""After which it does so anyway."""


class Inference:
    """The calls of PredictionService and ModelService on messages, whatever brought them.

    Every call takes a request and answers a response; `deadline` is by `time.monotonic`, None for none. All raise
    `RequestError`, coded and worded as the real server does.

    Args:
        manager: of the models.
        metrics: where times are counted.
        options: of the server: limits, and how numbers are answered.
    """

    def __init__(self, manager: ModelManager, metrics: Metrics, options: ServerOptions) -> None:
        self.manager, self.metrics = manager, metrics
        self._max_bytes, self._max_pixels = options.max_message_bytes, options.max_picture_pixels
        self._tensor_content = options.tensor_content
        self._active, self._stopping, self._last_arrival = 0, False, 0.0

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Around every request: refuses it when the server is stopping, and counts it otherwise."""
        self._last_arrival = time.monotonic()
        if self._stopping:
            raise RequestError.unavailable("the server is stopping")
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    async def drain(self, seconds: float) -> None:
        """Refuses new requests, and waits for those that there are, but not for ever.

        A gRPC server that is told to stop cancels what arrives meanwhile, which no client takes for a reason to go
        elsewhere; UNAVAILABLE is one. So clients that have just asked get the time to ask once more and be told.
        """
        self._stopping = True
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            told = now > self._last_arrival + QUIET_SECONDS or now > start + TELLING_SECONDS
            if not self._active and told:
                break
            await asyncio.sleep(0.005)

    async def predict(self, request: Any, deadline: float | None) -> Any:
        """PredictionService.Predict."""
        found = self._found(request)
        with found.servable as servable:
            signature = servable.signature(request.model_spec.signature_name)
            arrays = signature.bind(request.inputs, self._max_bytes)
            wanted = check_outputs(signature, request.output_filter)
            outputs = await self.run(found, signature, arrays, deadline, "Predict")
        response = predict_pb2.PredictResponse()
        self._fill_spec(response.model_spec, found, signature.name)
        for alias in wanted:
            fill_proto(response.outputs[alias], outputs[alias], self._tensor_content)
        return response

    async def classify(self, request: Any, deadline: float | None) -> Any:
        """PredictionService.Classify."""
        response = classification_pb2.ClassificationResponse()
        await self._examples(request, deadline, CLASSIFY, response)
        return response

    async def regress(self, request: Any, deadline: float | None) -> Any:
        """PredictionService.Regress."""
        response = regression_pb2.RegressionResponse()
        await self._examples(request, deadline, REGRESS, response)
        return response

    async def _examples(self, request: Any, deadline: float | None, method: str, response: Any) -> None:
        found = self._found(request)
        with found.servable as servable:
            signature = checked_signature(servable, request.model_spec.signature_name, method)
            arrays = example_arrays(request.input)
            api = "Classify" if method == CLASSIFY else "Regress"
            outputs = await self.run(found, signature, arrays, deadline, api)
        self._fill_spec(response.model_spec, found, signature.name)
        fill = fill_classifications if method == CLASSIFY else fill_regressions
        fill(response.result, outputs, len(arrays[0]))

    async def multi_inference(self, request: Any, deadline: float | None) -> Any:
        """PredictionService.MultiInference: several classifications and regressions of one version's one input."""
        names = [task.model_spec.name for task in request.tasks]
        if "" in names:
            raise RequestError.invalid("Found ModelSpec with an empty model name.")
        if len(set(names)) > 1:
            raise RequestError.invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        signatures = [task.model_spec.signature_name or "serving_default" for task in request.tasks]
        for place, name in enumerate(signatures):
            if name in signatures[:place]:
                raise RequestError.invalid(f"Duplicate evaluation of signature: {name}")
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            part = classification_pb2.ClassificationRequest(model_spec=task.model_spec, input=request.input)
            result = response.results.add()
            if task.method_name == CLASSIFY:
                answer = await self.classify(part, deadline)
                result.classification_result.CopyFrom(answer.result)
            elif task.method_name == REGRESS:
                answer = await self.regress(part, deadline)
                result.regression_result.CopyFrom(answer.result)
            else:
                message = f"Unsupported signature method_name: {task.method_name}"
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
            result.model_spec.CopyFrom(answer.model_spec)
        return response

    async def metadata(self, request: Any, deadline: float | None = None) -> Any:
        """PredictionService.GetModelMetadata."""
        if not request.HasField("model_spec"):
            raise RequestError.invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise RequestError.invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise RequestError.invalid(f"Metadata field {field} is not supported")
        servable = self.manager.find(request.model_spec).servable
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    async def status(self, request: Any, deadline: float | None = None) -> Any:
        """ModelService.GetModelStatus; labels are ignored, as there."""
        if not request.HasField("model_spec"):
            raise RequestError.invalid("Missing ModelSpec")
        spec = request.model_spec
        number = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.manager.states(spec.name, number):
            found = response.model_version_status.add(version=version.number, state=int(version.state))
            found.status.SetInParent()
            if version.error is not None:
                found.status.error_code = number_of(version.error.code)
                found.status.error_message = limited(version.error.message)
        return response

    async def reload(self, request: Any, deadline: float | None = None) -> Any:
        """ModelService.HandleReloadConfigRequest: replaces the whole configuration."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise RequestError.invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        await self.manager.reload(request.config.model_config_list)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _found(self, request: Any) -> LoadedVersion:
        if not request.HasField("model_spec"):
            raise RequestError.invalid("Missing ModelSpec")
        return self.manager.find(request.model_spec)

    async def run(
        self, found: LoadedVersion, signature: Signature, arrays: list[np.ndarray], deadline: float | None, api: str
    ) -> dict[str, np.ndarray]:
        """Runs a signature of a version that the caller holds; `api` is for the metrics."""
        for spec, array in zip(signature.inputs, arrays, strict=True):
            if spec.alias == IMAGE_BYTES and array.dtype == object:
                check_pictures(array.ravel().tolist(), self._max_pixels)
        start = time.perf_counter()
        outputs = await found.batchers[signature.name].submit(arrays, deadline)
        self.metrics.runtime.add((time.perf_counter() - start) * 1e6, found.servable.name, api, "TF1")
        return dict(zip(signature.output_names, outputs, strict=True))

    @staticmethod
    def _fill_spec(spec: Any, found: LoadedVersion, signature: str) -> None:
        spec.name = found.servable.name
        spec.signature_name = signature
        spec.version.value = found.servable.version
