"""Which models to serve: from a folder, or from TensorFlow Serving's text protocol buffer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import RequestError, SetupError
from serving.server.versions import versions_in

__all__ = ["PLATFORM", "read_exports", "validated"]

PLATFORM = "tensorflow"


def read_exports(exports: Path) -> Any:
    """The configuration that a folder or a `models.config` stands for.

    Args:
        exports: folder whose folders have versions in them; folder of versions, one model named like it; or a text
            file of a `ModelServerConfig`, whose relative base paths start at its folder.

    Returns:
        A `ModelConfigList`.

    Raises:
        SetupError: nothing there, no model in it, or a text that does not parse or makes no sense.
    """
    if exports.is_file():
        return _from_text(exports)
    if not exports.is_dir():
        raise SetupError(f"expected a folder of models or a models.config, found nothing at {exports}; export first")
    models = model_server_config_pb2.ModelConfigList()
    try:
        folders = [exports] if versions_in(exports) else sorted(path for path in exports.iterdir() if path.is_dir())
        served = [folder.resolve() for folder in folders if versions_in(folder)]
    except OSError as error:
        raise SetupError(f"expected a folder of models that can be read in {exports}: {error}") from error
    for folder in served:
        models.config.add(name=folder.name, base_path=str(folder), model_platform=PLATFORM)
    if not models.config:
        raise SetupError(f"expected folders <model>/<version>/saved_model.pb in {exports}, found none; export first")
    return models


def _from_text(path: Path) -> Any:
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SetupError(f"expected a ModelServerConfig as text in {path}: {error}") from error
    if config.WhichOneof("config") != "model_config_list" or not config.model_config_list.config:
        raise SetupError(f"expected model_config_list {{ config {{ … }} }} with a model in {path}, found none")
    for model in config.model_config_list.config:
        if not model.base_path:
            raise SetupError(f"expected base_path of model {model.name!r} in {path}, found none")
        if "://" not in model.base_path:
            model.base_path = str((path.parent / model.base_path).resolve())
    try:
        return validated(config.model_config_list)
    except RequestError as error:
        raise SetupError(f"expected a usable {path}: {error.message}") from error


def validated(models: Any) -> Any:
    """A `ModelConfigList`, when it makes sense.

    Raises:
        RequestError: INVALID_ARGUMENT, worded as the real server does.
    """
    names: set[str] = set()
    for model in models.config:
        if not model.name:
            raise RequestError.invalid("Expected every model of the config list to have a name")
        if model.name in names:
            raise RequestError.invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if not os.path.isabs(model.base_path) and "://" not in model.base_path:
            raise RequestError.invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if model.model_type and model.model_platform:
            raise RequestError.invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        platform = PLATFORM if model.model_type == model_server_config_pb2.TENSORFLOW else model.model_platform
        if not platform:
            raise RequestError.invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform."
            )
        if platform != PLATFORM:
            raise RequestError.invalid(f"Model {model.name} requests unsupported platform {platform}")
    return models
