"""A release: all that one command publishes of a model, under one version number."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from export.config import BatchingConfig
from export.manifest import write_manifest
from export.model_config import labelled_versions, write_batching, write_models_config
from export.publish import flush, next_version, prune, served_folders, staged_version, versions
from export.verify import Verification, verify_versions
from serving.contract import Kind, Manifest, served_name

__all__ = ["Release", "prune_models", "publish_release"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """What was published.

    Attributes:
        version: its number.
        folders: kind to folder of the new version.
        verifications: what verification found out, a value a kind; empty where it was left out.
        pruned: folders of old versions that were removed.
    """

    version: int
    folders: Mapping[Kind, Path]
    verifications: tuple[Verification, ...]
    pruned: tuple[Path, ...]


def publish_release(
    exports: Path,
    name: str,
    parts: Mapping[Kind, Callable[[Path], Manifest | None]],
    *,
    batching: BatchingConfig | None,
    keep: int | None = None,
    labels: tuple[str, ...] = (),
    served_from: str | None = None,
    pictures: Mapping[str, str] | None = None,
) -> Release:
    """Publishes some kinds of a model as its next version: staged, verified, renamed; then prunes.

    Nothing is visible before all kinds are whole and verified. They are renamed one right after the other, not as one:
    a client tells an encoder from another by its fingerprint.

    Args:
        exports: folder of all served models.
        name: of the trained model.
        parts: kind to what fills an empty folder with the SavedModel and its `assets.extra`, and answers its manifest;
            None when the folder holds a manifest already, over all that is in it.
        batching: written beside each; None where the folders hold it already.
        keep: how many versions of each to keep; None for all.
        labels: version labels that this version gets.
        served_from: where the server sees `exports`; None as `models.config` has it.
        pictures: id to path of the evaluation's pictures, for a longer verification.

    Returns:
        What was published.

    Raises:
        InputError: the folder cannot be written, or another process publishes there.
        VerificationError: a version does not hold what it promises; nothing was published.
    """
    version = next_version(exports, name)
    folders = {kind: base for kind, base in served_folders(exports, name).items() if kind in parts}
    labelled_versions(exports)  # refuses a file that cannot be read before anything is made
    with contextlib.ExitStack() as stack:
        staged = {kind: stack.enter_context(staged_version(base, version)) for kind, base in folders.items()}
        for kind, folder in staged.items():
            _log.info("writing %s", served_name(name, kind))
            manifest = parts[kind](folder)
            if batching is not None:
                write_batching(folder, batching, pool=name)
            if manifest is not None:
                write_manifest(folder, manifest)
        verifications = verify_versions(list(staged.values()), pictures)
        for folder in staged.values():  # here, so that the renames follow one right after the other
            flush(folder)
    given = {served_name(name, kind): labels for kind in served_folders(exports, name)}
    write_models_config(exports, served_from=served_from, labels=given)
    pruned = prune_models(exports, name, keep) if keep is not None else []
    published = {kind: base / str(version) for kind, base in folders.items()}
    return Release(version, published, tuple(verifications), tuple(pruned))


def prune_models(exports: Path, name: str, keep: int) -> list[Path]:
    """Removes old versions of every kind of a model: never the newest, nor one that a label in `models.config` names.

    Args:
        exports: folder of all served models.
        name: of the trained model.
        keep: how many of the newest of each kind stay.

    Returns:
        The folders that were removed.

    Raises:
        InputError: `keep` is less than 1, `models.config` cannot be read, or another process publishes there.
    """
    labelled = labelled_versions(exports)
    removed = []
    for base in served_folders(exports, name).values():
        if versions(base):
            named = labelled.get(base.name, {}).values()
            removed += [base / str(number) for number in prune(base, keep, list(named))]
    if removed:
        write_models_config(exports)
    return removed
