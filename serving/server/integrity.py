"""Whether a version's files are what its manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc

from serving.contract import MANIFEST_FILE, Manifest, ManifestError
from serving.server.errors import RequestError

__all__ = ["check_files"]


def check_files(folder: Path) -> None:
    """Holds a version's files against the digests in its manifest; a version without a manifest passes.

    TensorFlow checks sums of the variables only: a flipped bit elsewhere would be served.

    Raises:
        RequestError: DATA_LOSS: a file is missing or differs, or the manifest cannot be read.
    """
    try:
        text = (folder / MANIFEST_FILE).read_bytes()
    except FileNotFoundError:
        return
    try:
        manifest = Manifest.from_json(text)
    except ManifestError as error:
        raise RequestError(grpc.StatusCode.DATA_LOSS, str(error)) from error
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
