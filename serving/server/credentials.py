"""TLS and mutual TLS, for both ports."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from serving.server.errors import SetupError
from serving.server.options import ServerOptions

__all__ = ["grpc_credentials", "rest_context"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"expected a PEM file at {path}, it cannot be read: {error}") from error


def grpc_credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    """gRPC's credentials; None without TLS.

    Raises:
        SetupError: a file cannot be read, or the key is not the certificate's.
    """
    if options.tls_certificate is None or options.tls_key is None:
        return None
    rest_context(options)
    pair = (_read(options.tls_key), _read(options.tls_certificate))
    authority = None if options.tls_client_ca is None else _read(options.tls_client_ca)
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def rest_context(options: ServerOptions) -> ssl.SSLContext | None:
    """The REST port's context; None without TLS.

    Raises:
        SetupError: a file cannot be read, or the key is not the certificate's.
    """
    if options.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key)
        if options.tls_client_ca is not None:
            context.load_verify_locations(options.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            f"expected a PEM certificate {options.tls_certificate}, its key {options.tls_key} and the clients' CA "
            f"{options.tls_client_ca}: {error}"
        ) from error
    return context
