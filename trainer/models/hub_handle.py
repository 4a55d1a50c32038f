"""From a handle to a folder: local SavedModels, TF Hub addresses, Kaggle handles."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.errors import InputError

__all__ = ["resolve_hub_handle"]

_KEY = "model.hub_vit.handle"
_KAGGLE = re.compile(r"^[\w.-]+/[\w.-]+/(?:tensorflow2|tensorFlow2|TensorFlow2|keras)/[\w.-]+(?:/\d+)?$")


def resolve_hub_handle(handle: str) -> Path:
    """Finds the folder of a SavedModel, downloading it when the handle is a remote one.

    Args:
        handle: a folder with a `saved_model.pb`; an `https://` address (TF Hub, cached below `TFHUB_CACHE_DIR`); or a
            Kaggle handle `owner/model/tensorflow2/variation[/version]` (cached by kagglehub).

    Returns:
        The local folder.

    Raises:
        InputError: one line: there is no such folder, it holds no SavedModel, or the download failed.
    """
    if handle.startswith(("http://", "https://")):
        return _download_from_tf_hub(handle)
    folder = Path(handle)
    if folder.is_dir():
        if not (folder / "saved_model.pb").is_file():
            raise InputError(f"{_KEY}: {handle!r} is a folder without saved_model.pb; expected a TF2 SavedModel")
        return folder
    if _KAGGLE.match(handle):
        return _download_from_kaggle(handle)
    raise InputError(
        f"{_KEY}: expected a SavedModel's folder, an https address or a Kaggle handle "
        f"(owner/model/tensorflow2/variation), received {handle!r}, which is none of them"
    )


def _download_from_tf_hub(handle: str) -> Path:
    import trainer.tensorflow_quiet  # noqa: F401  isort: skip
    import tensorflow_hub as hub

    try:
        return Path(hub.resolve(handle))
    except Exception as error:  # tensorflow-hub lets URLError, tar and OS errors through alike
        raise _failed(handle, error) from error


def _download_from_kaggle(handle: str) -> Path:
    import kagglehub

    try:
        folder = Path(kagglehub.model_download(handle))
    except Exception as error:  # kagglehub has no common base class for its errors
        raise _failed(handle, error) from error
    if not (folder / "saved_model.pb").is_file():
        raise InputError(f"{_KEY}: {handle!r} was downloaded, but holds no saved_model.pb; expected a TF2 SavedModel")
    return folder


def _failed(handle: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"{_KEY}: cannot download {handle!r} ({reason}); check the handle and the network, or give a local folder"
    )
