"""ModelService, metadata and health: the contract's second table."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from requests_of_tests import TIMEOUT, refused
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

AVAILABLE = 30


def status_request(name: str, version: int | None = None, label: str = "") -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    return request


@pytest.mark.parametrize("label", ["", "stable", "no such label"])
def test_status_of_all_versions_whatever_the_label(models: Any, label: str) -> None:
    answer = models.GetModelStatus(status_request("pair", label=label), timeout=TIMEOUT)
    assert {found.version: found.state for found in answer.model_version_status} == {1: AVAILABLE, 2: AVAILABLE}
    assert [found.status.error_message for found in answer.model_version_status] == ["", ""]


def test_status_of_one_version(models: Any) -> None:
    answer = models.GetModelStatus(status_request("pair", 1), timeout=TIMEOUT)
    assert [(found.version, found.state) for found in answer.model_version_status] == [(1, AVAILABLE)]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (status_request("nobody"), "Could not find any versions of model nobody"),
        (status_request("pair", 9), "Could not find version 9 of model pair"),
    ],
)
def test_status_of_what_is_not_there(models: Any, request_: Any, told: str) -> None:
    assert refused(models.GetModelStatus, request_) == (grpc.StatusCode.NOT_FOUND, told)


def test_status_without_a_model_spec(models: Any) -> None:
    found = refused(models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest())
    assert found == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


@pytest.mark.parametrize("fields", [[], ["signature_def", "assets"]])
def test_metadata_needs_its_one_field(prediction: Any, fields: list[str]) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "pair"
    assert refused(prediction.GetModelMetadata, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_without_a_model_spec(prediction: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert refused(prediction.GetModelMetadata, request) == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


@pytest.mark.parametrize(("label", "version"), [("", 2), ("stable", 1)])
def test_metadata_is_the_map_of_signatures(prediction: Any, label: str, version: int) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "pair"
    request.model_spec.version_label = label
    if not label:
        request.model_spec.ClearField("version_label")
    answer = prediction.GetModelMetadata(request, timeout=TIMEOUT)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("pair", version)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "with_default", "length"} <= set(signatures.signature_def)
    add = signatures.signature_def["serving_default"]
    assert [dim.size for dim in add.inputs["a"].tensor_shape.dim] == [-1, 2]
    assert add.method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize("name", ["ModelService", "PredictionService"])
def test_health(channel: grpc.Channel, name: str) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_label_of_a_version_that_is_not_loaded(models: Any, embedded: Any, contract_exports: Any) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(
        name="pair", base_path=str(contract_exports / "pair"), model_platform="tensorflow"
    )
    model.version_labels["next"] = 3
    code, message = refused(models.HandleReloadConfigRequest, request)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert message == (
        "Request to assign label to version 3 of model pair, which is not currently available for inference"
    )
    # Nothing has changed: the request was refused as a whole.
    assert models.GetModelStatus(status_request("slow"), timeout=TIMEOUT).model_version_status[0].state == AVAILABLE


def test_configuration_of_another_kind(models: Any) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    assert refused(models.HandleReloadConfigRequest, request)[0] == grpc.StatusCode.INVALID_ARGUMENT
