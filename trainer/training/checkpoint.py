"""Checkpoints: one file holds a model, its optimiser, and how far the training had come."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from trainer.errors import InputError
from trainer.files import atomic_path

__all__ = [
    "HEAD_FILE",
    "MODEL_FILE",
    "WORDS_FILE",
    "Progress",
    "load_model",
    "read_progress",
    "read_record",
    "restore",
    "save_checkpoint",
]

MODEL_FILE = "best.keras"
"""A finished model, in its folder of checkpoints."""
HEAD_FILE = "head.keras"
"""Its head alone, for those who have the features."""
WORDS_FILE = "words.keras"
"""The text encoder that puts words where that model puts pictures."""
_MEMBER = "progress.json"


@dataclass(frozen=True)
class Progress:
    """How far a stage had come.

    Attributes:
        key: digest of everything the stage's result depends on; another key means another stage.
        batch: number of global batches trained on.
        epoch: number of whole epochs.
        best: best validation figures so far, as (accuracy, -loss); empty before the first.
        waited: epochs since then.
        history: one row of figures an epoch.
        sums: running sums of the epoch under way.
        finished: whether the stage is over.
    """

    key: str
    batch: int = 0
    epoch: int = 0
    best: tuple[float, ...] = ()
    waited: int = 0
    history: tuple[dict[str, float], ...] = ()
    sums: tuple[float, ...] = field(default=(0.0, 0.0, 0.0))
    finished: bool = False


def save_checkpoint(
    model: keras.Model, path: str | Path, progress: Progress | None = None, facts: Mapping[str, Any] | None = None
) -> None:
    """Writes a `.keras` file in one step: the model, its optimiser if it is compiled, the progress, other facts.

    Args:
        model: what to save.
        path: ends in `.keras`.
        progress: how far its training had come.
        facts: JSON values about the model, such as its label names.

    Raises:
        InputError: the disk is full or the folder cannot be written; the former file is whole.
    """
    with atomic_path(path) as aside:
        model.save(aside)
        record = {
            "progress": dataclasses.asdict(progress) if progress else None,
            "random_states": [state.numpy().tolist() for state in _random_states(model)],
            **(facts or {}),
        }
        with zipfile.ZipFile(aside, "a") as archive:
            archive.writestr(_MEMBER, json.dumps(record))


def read_record(path: str | Path) -> dict[str, Any]:
    """The facts saved beside a model (see `save_checkpoint`); empty for a `.keras` file of other origin.

    Raises:
        InputError: there is no such file, or it is no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(_MEMBER)) if _MEMBER in archive.namelist() else {}
    except FileNotFoundError as error:
        raise InputError(f"expected a checkpoint at {path}; there is none. Run train first") from error
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{path}: expected a .keras checkpoint, it cannot be read ({error}); remove it") from error


def read_progress(path: str | Path) -> Progress | None:
    """How far the training in a checkpoint had come, or `None` where there is no such file.

    Raises:
        InputError: it is no checkpoint of this project, or of another version of it.
    """
    if not Path(path).is_file():
        return None
    try:
        record = read_record(path).get("progress")
        lists = {} if record is None else {name: tuple(record[name]) for name in ("best", "history", "sums")}
        return None if record is None else Progress(**{**record, **lists})
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the progress of a training, it holds another's; remove it") from error


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of dropout's seed generators, which Keras leaves out of its files, in the order of the layers."""
    saved = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in saved]


def restore(model: keras.Model, path: str | Path) -> None:
    """Puts a checkpoint's weights, and its optimiser's where the model is compiled, into a model built the same way.

    Raises:
        InputError: the checkpoint is of another model.
    """
    states = _random_states(model)
    try:
        model.load_weights(path)
        for state, value in zip(states, read_record(path).get("random_states", states), strict=True):
            state.assign(value)
    except Exception as error:  # Keras, h5py and zipfile each have their own classes
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: does not fit the model that is configured ({reason}); remove it to start anew"
        ) from error


def load_model(path: str | Path) -> keras.Model:
    """Loads a checkpoint: pictures in, `embedding` and `logits` out.

    Args:
        path: a `.keras` file written by a run, such as `RUN/checkpoints/fused/best.keras`.

    Returns:
        A Keras model from uint8 `[B, S, S, 3]` to `{"embedding": float32 [B, D]` of unit length, `"logits": float32
        [B, C]}`. Nothing but Keras's and this project's own classes is admitted (Keras's safe mode).

    Raises:
        InputError: there is no such file, it cannot be read, or a hub module that it names is gone.
    """
    read_record(path)
    from trainer.models import registry  # noqa: F401  (registers the layers a checkpoint may hold)
    from trainer.training import optimizer  # noqa: F401  (and the optimiser that one of a stage holds)

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # Keras, h5py and zipfile each have their own classes
        cause = error.__cause__ or error.__context__
        while cause is not None:  # a layer's own message says more than what Keras makes of it
            if isinstance(cause, InputError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: expected a checkpoint of this project, it cannot be loaded ({reason})") from error
