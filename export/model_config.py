"""What the server itself is told: `batching_params.pbtxt` of a version, `models.config` of the export folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.config import BatchingConfig
from export.publish import versions
from serving.contract import BATCHING_FILE
from trainer.errors import InputError
from trainer.files import write_text

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

__all__ = ["MODELS_FILE", "labelled_versions", "write_batching", "write_models_config"]

MODELS_FILE = "models.config"

_log = logging.getLogger(__name__)
_HEAD = """\
# Written by `python -m export`, which keeps version labels and entries of other models. Start the server with
#   tensorflow_model_server --port=8500 --model_config_file=THIS --enable_per_model_batching_parameters \\
#     --enable_batching --model_config_file_poll_wait_seconds=10 --allow_version_labels_for_unavailable_models
"""


def write_batching(folder: Path, batching: BatchingConfig, pool: str) -> None:
    """Writes `batching_params.pbtxt` of a version; a server reads it with `--enable_per_model_batching_parameters`.

    Args:
        folder: of the version.
        batching: sizes, waiting time and queue.
        pool: name of the thread pool; models of one name share it.
    """
    sizes = batching.allowed_batch_sizes
    lines = [
        f"max_batch_size {{ value: {sizes[-1]} }}",
        f"batch_timeout_micros {{ value: {batching.batch_timeout_micros} }}",
        f"max_enqueued_batches {{ value: {batching.max_enqueued_batches} }}",
        *([f"num_batch_threads {{ value: {batching.num_batch_threads} }}"] if batching.num_batch_threads else []),
        f'thread_pool_name {{ value: "{pool}" }}',
        *[f"allowed_batch_sizes: {size}" for size in sizes],
    ]
    write_text(folder / BATCHING_FILE, "\n".join(lines) + "\n")


def labelled_versions(exports: Path) -> dict[str, dict[str, int]]:
    """Which version labels `models.config` gives: served name to label to version; empty where there is no file.

    Raises:
        InputError: the file cannot be read.
    """
    return {entry.name: dict(entry.version_labels) for entry in _read(exports).model_config_list.config}


def write_models_config(
    exports: Path, *, served_from: str | None = None, labels: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """Writes `EXPORTS/models.config`: an entry for every served model in the folder.

    Without labels a model's newest version is served; with labels the newest and those that they name, since a server
    refuses a label of a version that it was not told to load. Entries of models that lie elsewhere, labels, and paths
    that were set by hand stay as they are.

    Args:
        exports: folder of all served models.
        served_from: where the server sees that folder; null for the present entries' place, for new ones its path here.
        labels: served name to labels that its newest version gets, on top of what the labels are now.

    Returns:
        The file's path.

    Raises:
        InputError: the present file cannot be read, or the folder cannot be written.
    """
    config = _read(exports)
    entries = {entry.name: entry for entry in config.model_config_list.config}
    known = next(
        (entry.base_path.rpartition("/")[0] for name, entry in entries.items() if (exports / name).is_dir()), None
    )
    root = (served_from or known or str(exports.resolve())).rstrip("/")
    for base in sorted(path for path in exports.iterdir() if versions(path)):
        entry = entries.get(base.name)
        if entry is None:
            entry = config.model_config_list.config.add(name=base.name)
        if served_from is not None or not entry.base_path:
            entry.base_path = f"{root}/{base.name}"
        entry.model_platform = "tensorflow"
        _set_versions(entry, versions(base), (labels or {}).get(base.name, ()))
    path = exports / MODELS_FILE
    from google.protobuf import text_format

    write_text(path, _HEAD + text_format.MessageToString(config))
    return path


def _set_versions(entry: model_server_config_pb2.ModelConfig, there: list[int], labels: Sequence[str]) -> None:
    for label in labels:
        entry.version_labels[label] = there[-1]
    for label, number in sorted(entry.version_labels.items()):
        if number not in there:
            _log.warning("%s: version %d, labelled %s, is not there; the label is dropped", entry.name, number, label)
            del entry.version_labels[label]
    entry.ClearField("model_version_policy")
    if entry.version_labels:
        wanted = sorted({there[-1], *entry.version_labels.values()})
        entry.model_version_policy.specific.versions.extend(wanted)
    else:
        entry.model_version_policy.latest.num_versions = 1


def _read(exports: Path) -> model_server_config_pb2.ModelServerConfig:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path = exports / MODELS_FILE
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(
            f"{path}: expected a model config in protobuf text format, it cannot be read "
            f"({' '.join(str(error).split())}); mend or remove it"
        ) from error
