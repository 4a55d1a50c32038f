"""`assets.extra/manifest.json` of an exported version: written last, over all that the version holds."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.contract import MANIFEST_FILE, Manifest, ManifestError
from trainer.errors import InputError
from trainer.files import write_text

if TYPE_CHECKING:
    from export.config import ExportConfig
    from export.lookup import Lookup

__all__ = ["created_now", "hash_files", "library_versions", "read_manifest", "table_facts", "write_manifest"]

_LIBRARIES = ("shoppin", "tensorflow", "keras", "keras-cv", "keras-hub", "tensorflow-hub", "numpy", "scikit-learn")


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Writes the manifest of a version, once everything else of it is written.

    Args:
        folder: of the version.
        manifest: its `files` are filled here.

    Returns:
        The manifest as written.
    """
    whole = dataclasses.replace(manifest, files=hash_files(folder))
    write_text(folder / MANIFEST_FILE, whole.to_json())
    return whole


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a version.

    Raises:
        InputError: the folder is no exported version, or one of a later format.
    """
    path = folder / MANIFEST_FILE
    try:
        return Manifest.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"expected an exported version such as EXPORTS/fused_search/1 with {MANIFEST_FILE}, received {folder} "
            f"({error.strerror})"
        ) from error
    except ManifestError as error:
        raise InputError(f"{path}: {error}") from error


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the manifest: path relative to it, with `/`, to hexadecimal digits."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST_FILE:
            with path.open("rb") as stream:
                hashes[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def library_versions() -> dict[str, str]:
    """Versions of what a model is made with, as the manifest names them."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def created_now() -> str:
    """The time, as the manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def table_facts(lookup: Lookup, config: ExportConfig) -> dict[str, Any]:
    """What the manifests of lookup and search say about the table within."""
    return {
        "table_fingerprint": lookup.table_fingerprint,
        "item_count": lookup.item_count,
        "top_k": lookup.top_k,
        "index": {name: value for name, value in config.index.model_dump().items() if value is not None},
        "attributes": tuple(lookup.attributes),
        "filterable": tuple(lookup.filterable),
    }
