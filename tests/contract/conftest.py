"""What the conformance suite asks: the embedded server, or any server of the same protocol.

To ask a real one, write the models for it, serve them, and give its addresses:

    python tests/contract/contract_exports_program.py /tmp/contract /models
    docker run --rm -p 8500:8500 -p 8501:8501 -v /tmp/contract:/models tensorflow/serving \
        --model_config_file=/models/models.config --enable_batching=true \
        --enable_per_model_batching_parameters=true --allow_version_labels_for_unavailable_models=true \
        --enable_grpc_healthcheck_service=true --rest_api_timeout_in_ms=1000
    SHOPPIN_SERVING_ADDRESS=localhost:8500 SHOPPIN_SERVING_REST_ADDRESS=localhost:8501 pytest tests/contract

Tests of what only a restart or another configuration shows run against the embedded server alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from embedded_process import EmbeddedProcess, embedded_process, run_program


@pytest.fixture(scope="session")
def contract_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the suite's models, with models.config."""
    out = tmp_path_factory.mktemp("exports") / "contract"
    run_program(Path(__file__).with_name("contract_exports_program.py"), str(out))
    return out


@pytest.fixture(scope="session")
def server(contract_exports: Path) -> Iterator[EmbeddedProcess | None]:
    """The embedded server; None where another is asked."""
    if os.environ.get("SHOPPIN_SERVING_ADDRESS"):
        yield None
        return
    with embedded_process(contract_exports / "models.config", "--rest-timeout-seconds", "1") as running:
        yield running


@pytest.fixture
def embedded(server: EmbeddedProcess | None) -> EmbeddedProcess:
    """The embedded server; skips where another is asked."""
    if server is None:
        pytest.skip("only the embedded server can be asked this")
    return server


@pytest.fixture(scope="session")
def rest_address(server: EmbeddedProcess | None) -> str:
    """Where REST is."""
    address = server.rest_address if server else os.environ.get("SHOPPIN_SERVING_REST_ADDRESS", "")
    if not address:
        pytest.skip("SHOPPIN_SERVING_REST_ADDRESS names no REST address")
    return address


@pytest.fixture(scope="session")
def channel(server: EmbeddedProcess | None) -> Iterator[grpc.Channel]:
    """A channel to the server asked."""
    address = server.address if server else os.environ["SHOPPIN_SERVING_ADDRESS"]
    with grpc.insecure_channel(address) as opened:
        grpc.channel_ready_future(opened).result(timeout=60)
        yield opened


@pytest.fixture(scope="session")
def prediction(channel: grpc.Channel) -> Any:
    """The official stub of PredictionService."""
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="session")
def models(channel: grpc.Channel) -> Any:
    """The official stub of ModelService."""
    from tensorflow_serving.apis import model_service_pb2_grpc

    return model_service_pb2_grpc.ModelServiceStub(channel)
