"""One model: its versions, their states, and how the wanted ones come to be loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from serving.server.errors import RequestError
from serving.server.loading import LoadedVersion
from serving.server.versions import aspired, state_of_files, versions_in

__all__ = ["Model", "State", "Version"]

log = logging.getLogger(__name__)

MAX_ENDED = 100
"""Ended versions that stay in the status."""

Load = Callable[[str, int, Path], LoadedVersion]


class State(IntEnum):
    """The states of `ModelVersionStatus`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass
class Version:
    """A version's state; `error` says why it failed, and `files` what its folder was like then."""

    number: int
    state: State = State.START
    error: RequestError | None = None
    loaded: LoadedVersion | None = None
    files: frozenset[tuple[str, int, int]] = frozenset()


class Model:
    """One model: its versions, their states, and how the wanted ones come to be loaded. Lives on the event loop.

    Args:
        name: of the model.
        load: loads a version, in a thread.

    Attributes:
        versions: by number, those that ended included.
    """

    def __init__(self, name: str, load: Load) -> None:
        self.name = name
        self.versions: dict[int, Version] = {}
        self._load = load
        self._unreadable = False

    @property
    def available(self) -> list[int]:
        """Loaded versions, in order."""
        return sorted(number for number, version in self.versions.items() if version.state is State.AVAILABLE)

    async def follow(self, config: Any | None, settle: Callable[[], Collection[int]] = tuple) -> None:
        """Brings the loaded versions to what is wanted now.

        A version is loaded before the ones it replaces are unloaded; one that fails replaces nothing, and is tried
        again only when its files change. While the base path cannot be read, what is loaded stays.

        Args:
            config: a `ModelConfig`, or None to unload everything.
            settle: called when all is loaded and nothing unloaded yet; answers versions that must stay.
        """
        while True:
            wanted, on_disk = await self._wanted(config)
            missing = [number for number in wanted if self._needs_load(number)]
            for number in missing:
                await self._bring_up(number, on_disk[number])
            if self.available or not missing:
                break
        held = set(settle())
        kept = (set(wanted) | held) & set(self.available)
        if kept or not wanted:
            await asyncio.gather(*(self._take_down(number) for number in self.available if number not in kept))
        self._forget()

    async def _wanted(self, config: Any | None) -> tuple[list[int], dict[int, Path]]:
        if config is None:
            return [], {}
        loop = asyncio.get_running_loop()
        try:
            on_disk = await loop.run_in_executor(None, versions_in, config.base_path)
        except OSError as error:
            if self.available and not self._unreadable:
                log.warning("%s: %s cannot be read: %s; what is loaded stays", self.name, config.base_path, error)
            self._unreadable = True
            return self.available, {}
        self._unreadable = False
        for number, version in self.versions.items():
            if version.error is not None and number in on_disk:
                files = await loop.run_in_executor(None, state_of_files, on_disk[number])
                if files != version.files:
                    version.error = None
        failed = [number for number, version in self.versions.items() if version.error is not None]
        wanted = aspired(config.model_version_policy, on_disk)
        if not set(wanted) - set(failed) and not self.available:
            wanted = aspired(config.model_version_policy, on_disk, failed) or wanted
        return wanted, on_disk

    def _needs_load(self, number: int) -> bool:
        version = self.versions.get(number)
        return version is None or (version.state is State.END and version.error is None)

    async def _bring_up(self, number: int, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        version = self.versions[number] = Version(number, State.LOADING)
        version.files = await loop.run_in_executor(None, state_of_files, folder)
        try:
            version.loaded = await loop.run_in_executor(None, self._load, self.name, number, folder)
        except RequestError as error:
            version.state, version.error = State.END, error
            return
        version.state, version.files = State.AVAILABLE, frozenset()

    async def _take_down(self, number: int) -> None:
        """Unloads a version when the requests that have it are done; nobody gets it from now on."""
        version = self.versions[number]
        version.state = State.UNLOADING
        if version.loaded is not None:
            while version.loaded.servable.leases:
                await asyncio.sleep(0.005)
            loaded, version.loaded = version.loaded, None
            await asyncio.get_running_loop().run_in_executor(None, loaded.servable.close)
        version.state = State.END
        log.info("unloaded %s version %d", self.name, number)

    def _forget(self) -> None:
        ended = sorted(number for number, version in self.versions.items() if version.state is State.END)
        for number in ended[:-MAX_ENDED]:
            del self.versions[number]
