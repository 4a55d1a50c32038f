"""A version's manifest, and whether its files are what that says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc

from serving.contract import MANIFEST_FILE, Manifest, ManifestError
from serving.server.errors import RequestError

__all__ = ["check_files", "read_manifest"]


def read_manifest(folder: Path) -> Manifest | None:
    """A version's manifest; None for a version without, as others than ours are.

    Raises:
        RequestError: DATA_LOSS: it cannot be read.
    """
    try:
        return Manifest.from_json((folder / MANIFEST_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (ManifestError, OSError) as error:
        raise RequestError(grpc.StatusCode.DATA_LOSS, str(error)) from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Holds a version's files against the digests in its manifest.

    TensorFlow checks sums of the variables only: a flipped bit elsewhere would be served.

    Raises:
        RequestError: DATA_LOSS: a file is missing or differs.
    """
    for name, expected in manifest.files.items():
        try:
            with open(folder / name, "rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise RequestError(
                grpc.StatusCode.DATA_LOSS, f"expected {name} as its manifest lists it, it cannot be read: {error}"
            ) from error
        if found != expected:
            raise RequestError(
                grpc.StatusCode.DATA_LOSS,
                f"expected {name} with SHA-256 {expected}, as its manifest says, found {found}; copy it again",
            )
