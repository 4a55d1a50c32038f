"""All models of a server: their configuration, labels and versions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc

from serving.server.errors import RequestError, SetupError
from serving.server.loading import LoadedVersion
from serving.server.model import Load, Model, State, Version
from serving.server.model_config import validated

__all__ = ["ModelManager"]

log = logging.getLogger(__name__)


class ModelManager:
    """All models of a server. Everything but loading happens on the event loop, so nothing is locked there.

    Args:
        load: loads a version, in a thread.
        poll_seconds: between two looks for new versions and another configuration; 0 does not look again.
        discover: gives the configuration anew at each look, until a reload replaces it; None where it is fixed.
    """

    def __init__(self, load: Load, poll_seconds: float, discover: Callable[[], Any] | None = None) -> None:
        self._load, self._poll_seconds, self._discover = load, poll_seconds, discover
        self._configs: dict[str, Any] = {}
        self._models: dict[str, Model] = {}
        self._labels: dict[str, dict[str, int]] | None = None
        self._lock = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None
        self._reloads: set[asyncio.Task[None]] = set()
        self._complaints: dict[str, str] = {}

    @property
    def models(self) -> dict[str, Model]:
        """By name; those that were removed included."""
        return self._models

    async def start(self, models: Any) -> None:
        """Loads the first configuration, a `ModelConfigList`, and begins to look for new versions.

        Raises:
            SetupError: a model has no version that loads, or a label points at none.
        """
        async with self._lock:
            self._configure(models)
            await self._follow()
            if failures := self._unavailable(self._configs):
                raise SetupError(f"expected a version of every model that loads; {failures}")
            try:
                self._labels = self._checked_labels(models)
            except RequestError as error:
                raise SetupError(error.message) from error
        if self._poll_seconds > 0:
            self._polling = asyncio.create_task(self._poll())

    async def reload(self, models: Any) -> None:
        """Replaces the whole configuration by another `ModelConfigList`, and waits for its new models.

        What has begun is finished even if whoever waits is cancelled: a version must not be left half loaded.

        Raises:
            RequestError: INVALID_ARGUMENT: it makes no sense; FAILED_PRECONDITION: a label points at a version that is
                not loaded; UNKNOWN: a new model did not become available. But for the last, nothing has changed.
        """
        validated(models)
        task = asyncio.create_task(self._reload(models))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_failure)
            raise

    async def _reload(self, models: Any) -> None:
        async with self._lock:
            labels = self._checked_labels(models)
            added = {model.name for model in models.config} - self._configs.keys()
            self._discover = None
            self._configure(models)
            self._labels = labels
            for model in self._models.values():
                for version in model.versions.values():
                    version.error = None if version.state is State.END else version.error
            await self._follow()
            if failures := self._unavailable(added):
                raise RequestError(grpc.StatusCode.UNKNOWN, failures)

    async def stop(self) -> None:
        """Stops looking for versions, and unloads all."""
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        await asyncio.gather(*self._reloads, return_exceptions=True)
        async with self._lock:
            self._configs = {}
            await self._follow()

    def find(self, spec: Any) -> LoadedVersion:
        """The loaded version that a `ModelSpec` means: by number, by label, or the latest.

        Raises:
            RequestError: INVALID_ARGUMENT: no name, an unknown label; NOT_FOUND: not loaded; UNAVAILABLE: labels are
                not known yet.
        """
        name, choice = spec.name, spec.WhichOneof("version_choice")
        if not name:
            raise RequestError.invalid("ModelSpec has no name specified.")
        if choice is None:
            return self._latest(name)
        number = spec.version.value if choice == "version" else self._labelled(name, spec.version_label)
        model = self._models.get(name)
        version = model.versions.get(number) if model else None
        if version is None or version.state is not State.AVAILABLE or version.loaded is None:
            raise RequestError.not_found(f"Servable not found for request: Specific({name}, {number})")
        return version.loaded

    def _latest(self, name: str) -> LoadedVersion:
        model = self._models.get(name)
        best = max(model.available, default=None) if model else None
        loaded = model.versions[best].loaded if model and best is not None else None
        if loaded is None:
            raise RequestError.not_found(f"Servable not found for request: Latest({name})")
        return loaded

    def _labelled(self, name: str, label: str) -> int:
        if self._labels is None:
            raise RequestError.unavailable(f"Model labels does not init yet.{label}")
        try:
            return self._labels[name][label]
        except KeyError:
            raise RequestError.invalid(f"Unrecognized servable version label: {label}") from None

    def states(self, name: str, number: int | None) -> list[Version]:
        """States of a model's versions, the newest first, or of one of them.

        Raises:
            RequestError: NOT_FOUND: there is none.
        """
        versions = self._models[name].versions if name in self._models else {}
        if number is not None:
            if number not in versions:
                raise RequestError.not_found(f"Could not find version {number} of model {name}")
            return [versions[number]]
        if not versions:
            raise RequestError.not_found(f"Could not find any versions of model {name}")
        return [versions[key] for key in sorted(versions, reverse=True)]

    def loaded(self) -> Iterator[LoadedVersion]:
        """Every version that can be asked."""
        for model in self._models.values():
            for version in model.versions.values():
                if version.state is State.AVAILABLE and version.loaded is not None:
                    yield version.loaded

    def _configure(self, models: Any) -> None:
        self._configs = {model.name: model for model in models.config}
        for name in self._configs:
            if name not in self._models:
                self._models[name] = Model(name, self._load)

    async def _follow(self) -> None:
        for name, model in self._models.items():
            await model.follow(self._configs.get(name), lambda name=name: self._move_labels(name))  # type: ignore[misc]

    def _move_labels(self, name: str) -> Collection[int]:
        """Points a model's labels where its configuration says; the versions that they name.

        A label whose version is not loaded stays where it was.
        """
        if self._labels is None:
            return ()
        if name not in self._configs:
            self._labels.pop(name, None)
            return ()
        former, moved = self._labels.get(name, {}), dict[str, int]()
        available = self._models[name].available
        for label, number in sorted(self._configs[name].version_labels.items()):
            loaded = number in available
            self._complain(
                f"label {name}/{label}",
                "" if loaded else f"{name}: label {label} waits for version {number}, which is not loaded",
            )
            if loaded or label in former:
                moved[label] = number if loaded else former[label]
        self._labels[name] = moved
        return moved.values()

    def _complain(self, subject: str, message: str) -> None:
        """Logs what is wrong with a subject once, not at each look."""
        if message and self._complaints.get(subject) != message:
            log.warning("%s", message)
        self._complaints[subject] = message

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                async with self._lock:
                    if self._discover is not None:
                        await self._look_for_configuration(self._discover)
                    await self._follow()
            except Exception:
                log.exception("looking for new versions failed; looking again in %g s", self._poll_seconds)

    async def _look_for_configuration(self, discover: Callable[[], Any]) -> None:
        try:
            self._configure(await asyncio.get_running_loop().run_in_executor(None, discover))
        except SetupError as error:
            self._complain("configuration", f"{error}; what is loaded stays")
        else:
            self._complain("configuration", "")

    def _checked_labels(self, models: Any) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for config in models.config:
            model = self._models.get(config.name)
            available = model.available if model else []
            for label, number in config.version_labels.items():
                if number not in available:
                    raise RequestError.failed_precondition(
                        f"Request to assign label to version {number} of model {config.name}, which is not currently "
                        "available for inference"
                    )
                found.setdefault(config.name, {})[label] = number
        return found

    def _unavailable(self, names: Any) -> str:
        """What keeps models from being available; empty when nothing does."""
        reasons = []
        for name in sorted(names):
            model = self._models[name]
            if model.available:
                continue
            errors = [
                f"version {version.number}: {version.error}" for version in model.versions.values() if version.error
            ]
            base = self._configs[name].base_path
            reasons.append(f"{{{name} due to error: {'; '.join(errors) or f'no versions found in {base}'}}}")
        return f"{len(reasons)} model(s) did not become available: {{{', '.join(reasons)}}}" if reasons else ""


def _tell_failure(task: asyncio.Task[None]) -> None:
    """Logs why a reload failed that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a reload whose client has gone failed: %s", error)
