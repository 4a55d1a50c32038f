"""A folder of models and a manager that loads from it, without loading anything for real."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import RequestError
from serving.server.model_manager import ModelManager

__all__ = ["FakeLoaded", "FakeServable", "World", "code_of", "play"]


class FakeServable:
    """Counts its leases; knows whether it was closed."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version, self.leases, self.closed = name, version, 0, False

    def close(self) -> None:
        """Marks it."""
        assert self.leases == 0
        self.closed = True


class FakeLoaded:
    """What the manager keeps."""

    def __init__(self, servable: FakeServable) -> None:
        self.servable, self.batchers = servable, {}


class World:
    """A folder of models, and a manager that loads from it; a version with a file `bad` does not load."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.loads: list[tuple[str, int]] = []
        self.made: dict[tuple[str, int], FakeServable] = {}
        self.may_load = threading.Event()
        self.may_load.set()
        self.manager = ModelManager(self.load, 0.01)  # type: ignore[arg-type]

    def load(self, name: str, version: int, folder: Path) -> FakeLoaded:
        self.loads.append((name, version))
        assert self.may_load.wait(10)
        if (folder / "bad").exists():
            raise RequestError.invalid("broken")
        self.made[name, version] = FakeServable(name, version)
        return FakeLoaded(self.made[name, version])

    def put(self, name: str, version: int, bad: bool = False) -> Path:
        folder = self.base / name / str(version)
        folder.mkdir(parents=True)
        if bad:
            (folder / "bad").touch()
        return folder

    def config(self, **names: str) -> Any:
        """A configuration: name to the rest of the ModelConfig, as text."""
        from google.protobuf import text_format

        models = model_server_config_pb2.ModelConfigList()
        for name, rest in names.items():
            model = models.config.add(name=name, base_path=str(self.base / name), model_platform="tensorflow")
            text_format.Merge(rest, model)
        return models

    def asked(self, name: str, version: int | None = None, label: str = "") -> int:
        """Which version answers."""
        spec = model_pb2.ModelSpec(name=name)
        if version is not None:
            spec.version.value = version
        if label:
            spec.version_label = label
        return self.manager.find(spec).servable.version

    def states(self, name: str) -> dict[int, str]:
        return {found.number: found.state.name for found in self.manager.states(name, None)}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


def play(world: World, models: Any, then: Callable[[], Awaitable[None]]) -> None:
    async def work() -> None:
        await world.manager.start(models)
        try:
            await then()
        finally:
            await world.manager.stop()

    asyncio.run(work())


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(RequestError) as caught:
        call()
    return f"{caught.value.code.name} {caught.value.message}"
