"""TLS, mutual TLS, tokens and addresses."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from lookups import Lookups

TOKEN = "s3cret"  # noqa: S105


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ca.pem, and server and client certificates that it signed; other.pem is a CA that signed nobody."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates, and is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        openssl("req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


def credentials(folder: Path, ca: str = "ca", client: bool = False) -> grpc.ChannelCredentials:
    pair = [(folder / f"client.{kind}").read_bytes() for kind in ("key", "pem")] if client else [None, None]
    return grpc.ssl_channel_credentials((folder / f"{ca}.pem").read_bytes(), *pair)


def code_over(port: int, given: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """Status of a lookup over a channel with these credentials."""
    address = f"localhost:{port}"
    channel = grpc.insecure_channel(address) if given is None else grpc.secure_channel(address, given)
    with channel:
        try:
            Lookups(channel).lookup(timeout=5)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined, no-any-return]
    return grpc.StatusCode.OK


def rest_status(port: int, context: ssl.SSLContext | None = None, **headers: str) -> int:
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    try:
        connection.request("GET", "/v1/models/fused_lookup", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_tls(own_exports: Path, serve: Any, certificates: Path) -> None:
    tls = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    with serve(own_exports, rest_port=0, **tls) as server:
        assert code_over(server.port, credentials(certificates)) == grpc.StatusCode.OK
        assert code_over(server.port, credentials(certificates, "other")) == grpc.StatusCode.UNAVAILABLE
        assert code_over(server.port, None) == grpc.StatusCode.UNAVAILABLE
        assert rest_status(server.rest_port, ssl.create_default_context(cafile=certificates / "ca.pem")) == 200
        with pytest.raises(ssl.SSLError):
            rest_status(server.rest_port, ssl.create_default_context(cafile=certificates / "other.pem"))


def test_mutual_tls(own_exports: Path, serve: Any, certificates: Path) -> None:
    tls = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    with serve(own_exports, rest_port=0, tls_client_ca=certificates / "ca.pem", **tls) as server:
        assert code_over(server.port, credentials(certificates, client=True)) == grpc.StatusCode.OK
        assert code_over(server.port, credentials(certificates)) == grpc.StatusCode.UNAVAILABLE
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            rest_status(server.rest_port, context)
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        assert rest_status(server.rest_port, context) == 200


def test_token(own_exports: Path, serve: Any) -> None:
    with serve(own_exports, rest_port=0, token=TOKEN) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            asked = Lookups(channel)
            assert asked.lookup(metadata=[("authorization", f"Bearer {TOKEN}")]).outputs
            for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", TOKEN)]):
                with pytest.raises(grpc.RpcError) as caught:
                    asked.lookup(metadata=metadata)
                assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
            with pytest.raises(grpc.RpcError) as caught:
                asked.states()
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert rest_status(server.rest_port) == 401
        assert rest_status(server.rest_port, Authorization="Bearer wrong") == 401
        assert rest_status(server.rest_port, Authorization=f"Bearer {TOKEN}") == 200


def test_only_this_machine_is_listened_to(own_exports: Path, serve: Any) -> None:
    with serve(own_exports, rest_port=0) as server:
        listening = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
        ports = {f"{server.port:04X}", f"{server.rest_port:04X}"}
        local = {line.split()[1].rpartition(":")[0] for line in listening[1:] if line.split()[1][-4:] in ports}
    assert local
    assert local <= {"0100007F", "0000000000000000FFFF00000100007F"}
