"""The calls that a client makes, as gRPC names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.wire import messages

__all__ = ["GET_MODEL_METADATA", "GET_MODEL_STATUS", "HEALTH_CHECK", "PREDICT", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """A unary call.

    Attributes:
        path: `/package.Service/Method`.
        request: class of the message that is sent.
        response: class of the message that is answered.
    """

    path: str
    request: Any
    response: Any

    @property
    def service(self) -> str:
        """The service's full name, such as `tensorflow.serving.PredictionService`."""
        return self.path.split("/")[1]

    @property
    def name(self) -> str:
        """The method's name, such as `Predict`."""
        return self.path.rpartition("/")[2]


PREDICT = Method("/tensorflow.serving.PredictionService/Predict", messages.PredictRequest, messages.PredictResponse)
GET_MODEL_METADATA = Method(
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    messages.GetModelMetadataRequest,
    messages.GetModelMetadataResponse,
)
GET_MODEL_STATUS = Method(
    "/tensorflow.serving.ModelService/GetModelStatus", messages.GetModelStatusRequest, messages.GetModelStatusResponse
)
HEALTH_CHECK = Method("/grpc.health.v1.Health/Check", messages.HealthCheckRequest, messages.HealthCheckResponse)
