"""Configuration files: YAML with the keys of a section, changed key by key from the command line.

An unknown key, a wrong type or an impossible value raises `ConfigError` with one line that names the key, what was
expected, what came, and the nearest known key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trainer.config.run import Config
from trainer.config.section import Section
from trainer.errors import ConfigError

__all__ = ["as_yaml", "load_config", "load_section"]

AnySection = TypeVar("AnySection", bound=Section)


class _Loader(yaml.SafeLoader):
    """YAML where 1e-3 is a number, as everybody expects, and a key given twice is an error."""


class _Dumper(yaml.SafeDumper):
    """Quotes the text 1e-3, which would be read back as a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
    if repeated:
        raise yaml.constructor.ConstructorError(None, None, f"key given twice: {', '.join(repeated)}", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def load_config(path: str | Path | None = None, changes: Iterable[str] = ()) -> Config:
    """Reads the configuration of a run: `load_section` of `Config`."""
    return load_section(Config, path, changes)


def load_section(section: type[AnySection], path: str | Path | None = None, changes: Iterable[str] = ()) -> AnySection:
    """Reads a configuration and checks all of it.

    Args:
        section: its class, which says what keys there are.
        path: YAML file; `None` for defaults.
        changes: `a.b=value` strings, applied in order; the value is YAML (`null`, `3`, `[a, b]`).

    Returns:
        The frozen configuration.

    Raises:
        ConfigError: one line naming the key, what was expected, what came, and the nearest known key.
    """
    values = _read(Path(path)) if path is not None else {}
    for change in changes:
        _apply(values, change)
    try:
        return section.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise ConfigError(_explain(details[0], section) + more) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: expected a readable YAML file, received {str(path)!r}: {error}") from error
    values = _parse(text, f"--config {path}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"--config {path}: expected keys and values, received {type(values).__name__}")
    return values


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise ConfigError(f"{where}: expected YAML, received what is none: {' '.join(str(error).split())}") from error


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set: expected key=value such as section.key=20, received {change!r}")
    place = values
    for depth, name in enumerate(path[:-1], start=1):
        below = {} if place.get(name) is None else place[name]
        if not isinstance(below, dict):
            raise ConfigError(f"--set {change}: expected a section at {'.'.join(path[:depth])}, received {below!r}")
        place[name] = dict(below)  # two keys of a YAML file may share one section (anchors)
        place = place[name]
    place[path[-1]] = _parse(text, f"--set {key}")


def _explain(detail: ErrorDetails, section: type[Section]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    shown = _shown(detail["input"])
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        near = max(_known_keys(section), key=lambda known: _likeness(key, known))
        return f"{key!r}: expected a known key, received an unknown one ({shown}); the nearest known key is {near}"
    if detail["type"] == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    if detail["type"] == "missing":
        return f"{key}: expected a value, received none; the key is required"
    kinds = {"model_type": "a section of keys", "dict_type": "a section of keys", "tuple_type": "a list"}
    expected = kinds.get(detail["type"], detail["msg"].replace("Input should be ", ""))
    return f"{key}: expected {expected}, received {shown}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | BaseModel):
        return "a section"
    return f"{repr(value)[:200]} ({type(value).__name__})"


def _likeness(key: str, known: str) -> tuple[float, float]:
    """How much the last names are alike, then the whole keys: sections are mixed up more often than keys misspelt."""

    def ratio(a: str, b: str) -> float:
        return difflib.SequenceMatcher(None, a, b).ratio()

    last = ratio(key.rpartition(".")[2], known.rpartition(".")[2])
    whole = ratio(key, known)
    return last + whole, whole


def _known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)]
        below = [k for k in kinds if issubclass(k, BaseModel)]
        keys.append(prefix + name)
        for kind in below:
            keys += _known_keys(kind, f"{prefix}{name}.")
    return keys


def as_yaml(config: Section) -> str:
    """The resolved configuration as YAML that `load_section` reads back to an equal value."""
    return yaml.dump(_plain(config.model_dump()), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
