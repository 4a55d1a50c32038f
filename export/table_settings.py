"""The settings of a table that is published anew: those of the present one, unless told otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.config import ExportConfig, IndexConfig
from serving.contract import BATCHING_FILE, Manifest
from trainer.config import load_section
from trainer.errors import InputError

__all__ = ["settings_to_change", "table_settings"]

_CHANGEABLE = ("attributes", "batching", "filterable", "index", "keep", "labels", "served_from", "top_k")


def settings_to_change(changes: Sequence[str]) -> set[str]:
    """Which keys of the configuration some `key=value` strings are about.

    Raises:
        InputError: one is about the encoder, which stays as it is.
    """
    keys = {change.partition("=")[0].strip() for change in changes}
    wrong = sorted(key for key in keys if key.partition(".")[0] not in _CHANGEABLE)
    if wrong:
        raise InputError(
            f"--set {wrong[0]}: expected one of {', '.join(_CHANGEABLE)}, since a table's encoder stays as it is; "
            "export the run again to change it"
        )
    return keys


def table_settings(encoder: Manifest, lookup: Manifest | None, folder: Path, changes: Sequence[str]) -> ExportConfig:
    """The configuration of a new table.

    Args:
        encoder: of the encoder's version.
        lookup: of the present table's version; None where there is none: then the defaults hold.
        folder: of a version whose `batching_params.pbtxt` holds on.
        changes: `key=value` strings.

    Raises:
        InputError: a change is about the encoder, or wrong.
    """
    told = settings_to_change(changes)
    former: dict[str, Any] = {"batching": _batching(folder)}
    if lookup is not None:
        former |= {
            "top_k": lookup.top_k,
            "index": {key: value for key, value in lookup.index.items() if key in IndexConfig.model_fields},
            "attributes": list(lookup.attributes),
            "filterable": list(lookup.filterable),
        }
    if "index.type" in told:  # settings of one type mean nothing to another
        former.pop("index", None)
    if "attributes" in told:
        former.pop("filterable", None)
    kept = {"model": encoder.name, "target": encoder.target, **former}
    return load_section(ExportConfig, None, [*(f"{key}={json.dumps(kept[key])}" for key in kept), *changes])


def _batching(folder: Path) -> dict[str, Any]:
    """What `export.model_config.write_batching` wrote, as the section `batching`; what is not there has its default."""
    path = folder / BATCHING_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    names = ("batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    found = {name: re.search(rf"^{name} \{{ value: (\d+) \}}$", text, re.MULTILINE) for name in names}
    settings: dict[str, Any] = {name: int(match[1]) for name, match in found.items() if match}
    sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    return settings | ({"allowed_batch_sizes": sizes} if sizes else {})
