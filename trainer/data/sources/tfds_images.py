"""Any image set of TensorFlow Datasets, its pictures written to files once."""

from __future__ import annotations

import difflib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import pandas as pd
import tensorflow_datasets as tfds
from tqdm import tqdm

from trainer.config import DataConfig
from trainer.data.candidates import Candidates
from trainer.data.items import FIXED_COLUMNS, ID, IMAGE_PATH, LABEL, SOURCE_PATH, SPLIT
from trainer.errors import InputError
from trainer.files import atomic_path

__all__ = ["read"]

_TAKEN = (*FIXED_COLUMNS, SOURCE_PATH)
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"GIF8": ".gif"}


def read(data: DataConfig, workdir: Path) -> Candidates:
    """Downloads and builds a data set where it is not there yet, writes its pictures as files, and lists them.

    Args:
        data: `tfds` names the set, its picture and its label, and says whether it may be downloaded; `root` is the
            folder that TensorFlow Datasets keeps its sets in, below `workdir` when null.
        workdir: pictures go to `catalogue/<name>/<version>/`, as they are encoded in the set.

    Returns:
        The rows of all splits, labels by name; other features of one value a picture are attributes.

    Raises:
        InputError: the set is unknown, cannot be downloaded, or has no such features.
    """
    name = str(data.tfds.name)
    folder = data.root if data.root is not None else str(workdir / "tfds")
    builder = _builder(name, str(Path(folder).absolute()))
    features = _kept_features(builder, data)
    place = workdir.absolute() / "catalogue" / builder.info.full_name
    table = place / f"{data.tfds.image}-{data.tfds.label}.parquet"
    if not table.is_file():
        _build(builder, download=data.tfds.download)
        rows = list(_write_pictures(builder, features, data, place))
        with atomic_path(table) as aside:  # last: where the table is, all pictures are
            pd.DataFrame(rows).to_parquet(aside, index=False)
    frame = pd.read_parquet(table)
    frame[IMAGE_PATH] = [str(place / path) for path in frame[IMAGE_PATH]]
    return Candidates(frame)


def _builder(name: str, folder: str) -> Any:
    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.registered.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name, tfds.list_builders(), n=1, cutoff=0.0)
        raise InputError(
            f"data.tfds.name: expected a data set of TensorFlow Datasets, received {name!r}; the nearest is {near[0]!r}"
        ) from error
    except Exception as error:  # an unknown version is an AssertionError, an unknown variant a ValueError
        raise InputError(f"data.tfds.name: {name!r} cannot be used: {_one_line(error)}") from error


def _kept_features(builder: Any, data: DataConfig) -> dict[str, Any]:
    """The picture, and all features of one value a picture."""
    features = dict(builder.info.features)
    pictures = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    single = {name: feature for name, feature in features.items() if name not in pictures and feature.shape == ()}
    for key, wanted, there in (("image", data.tfds.image, pictures), ("label", data.tfds.label, list(single))):
        if wanted not in there:
            raise InputError(
                f"data.tfds.{key}: expected one of the features {', '.join(there) or '(none fits)'} of "
                f"{builder.info.full_name}, received {wanted!r}"
            )
    return {data.tfds.image: features[data.tfds.image], **single}


def _build(builder: Any, *, download: bool) -> None:
    if builder.is_prepared():
        return
    if not download:
        raise InputError(
            f"expected {builder.info.full_name} in {builder.data_dir}, it is not there and data.tfds.download is "
            "false; set that to true, or data.root to the folder of TensorFlow Datasets that has it"
        )
    _check_network(builder)
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever fails there, the user can but try again, or build the set by other means
        raise InputError(
            f"data.tfds.name: {builder.info.full_name} cannot be downloaded and built: {_one_line(error)}"
        ) from error


def _check_network(builder: Any) -> None:
    """Asks for the address of the first server: without a network, TensorFlow Datasets tries ten times, for minutes."""
    hosts = [urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()]
    if not hosts or not hosts[0] or urllib.request.getproxies():
        return
    try:
        socket.getaddrinfo(hosts[0], None)
    except OSError as error:
        raise InputError(
            f"data.tfds.name: {builder.info.full_name} must be downloaded from {hosts[0]}, which cannot be reached "
            f"({error.strerror}); connect to the network, or set data.root to a folder of TensorFlow Datasets with it"
        ) from error


def _write_pictures(builder: Any, features: dict[str, Any], data: DataConfig, place: Path) -> Iterator[dict[str, str]]:
    decoders = tfds.decode.PartialDecoding(
        dict.fromkeys(features, True), decoders={data.tfds.image: tfds.decode.SkipDecoding()}
    )
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    for split, info in sorted(builder.info.splits.items()):
        folder = Path(data.tfds.image, split)
        (place / folder).mkdir(parents=True, exist_ok=True)
        examples = tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, read_config=in_order))
        for number, example in enumerate(tqdm(examples, f"writing {split}", info.num_examples, unit="picture")):
            content = example.pop(data.tfds.image)
            suffix = next((suffix for start, suffix in _SUFFIXES.items() if content.startswith(start)), ".image")
            path = folder / f"{number:08d}{suffix}"
            (place / path).write_bytes(content)
            values = {name: _as_text(features[name], value) for name, value in example.items()}
            row = {
                ID: f"{split}-{number:08d}",
                IMAGE_PATH: path.as_posix(),
                LABEL: values.pop(data.tfds.label),
                SPLIT: split,
            }
            yield row | {f"source_{name}" if name in _TAKEN else name: value for name, value in values.items()}


def _as_text(feature: Any, value: Any) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return str(feature.int2str(int(value))) if value >= 0 else ""  # sets write -1 where the label is kept secret
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
