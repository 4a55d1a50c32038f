"""Versions come and go: what is loaded, what replaces what, and what the status says. Nothing is loaded for real."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import RequestError, SetupError
from serving.server.model import State
from serving.server.model_manager import ModelManager


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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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


def test_a_new_version_takes_over_and_the_old_one_finishes_first(world: World) -> None:
    world.put("m", 1)

    async def then() -> None:
        old = world.made["m", 1]
        old.leases = 1
        world.put("m", 2)
        await world.until(lambda: world.asked("m") == 2)
        await world.until(lambda: world.states("m")[1] == "UNLOADING")
        assert code_of(lambda: world.asked("m", 1)) == "NOT_FOUND Servable not found for request: Specific(m, 1)"
        await asyncio.sleep(0.05)
        assert not old.closed
        old.leases = 0
        await world.until(lambda: old.closed)
        await world.until(lambda: world.states("m") == {2: "AVAILABLE", 1: "END"})

    play(world, world.config(m=""), then)
    assert world.made["m", 2].closed


def test_a_broken_version_replaces_nothing_and_is_tried_again_when_its_files_change(world: World) -> None:
    world.put("m", 1)

    async def then() -> None:
        folder = world.put("m", 2, bad=True)
        await world.until(lambda: world.states("m").get(2) == "END")
        await asyncio.sleep(0.1)
        assert world.asked("m") == 1
        assert world.loads.count(("m", 2)) == 1
        broken = world.manager.states("m", 2)[0]
        assert (broken.state, str(broken.error)) == (State.END, "INVALID_ARGUMENT: broken")
        (folder / "bad").unlink()
        await world.until(lambda: world.asked("m") == 2)
        assert world.manager.states("m", 2)[0].error is None

    play(world, world.config(m=""), then)


def test_a_start_steps_over_a_broken_newest_version(world: World) -> None:
    world.put("m", 1)
    world.put("m", 2, bad=True)

    async def then() -> None:
        assert world.states("m") == {2: "END", 1: "AVAILABLE"}
        assert world.asked("m") == 1

    play(world, world.config(m=""), then)


def test_a_deleted_version_goes_and_the_one_before_comes_back(world: World) -> None:
    world.put("m", 1)
    newest = world.put("m", 2)

    async def then() -> None:
        assert world.asked("m") == 2
        newest.rmdir()
        await world.until(lambda: world.states("m") == {2: "END", 1: "AVAILABLE"})

    play(world, world.config(m=""), then)


def test_policies_and_labels(world: World) -> None:
    for version in (1, 2, 3):
        world.put("m", version)
    rest = "model_version_policy { specific { versions: 1 versions: 3 } } version_labels { key: 'stable' value: 1 }"

    async def then() -> None:
        assert world.states("m") == {3: "AVAILABLE", 1: "AVAILABLE"}
        assert (world.asked("m"), world.asked("m", 1), world.asked("m", label="stable")) == (3, 1, 1)
        assert code_of(lambda: world.asked("m", label="x")).startswith("INVALID_ARGUMENT Unrecognized servable")
        assert code_of(lambda: world.asked("m", 2)).startswith("NOT_FOUND")

    play(world, world.config(m=rest), then)


def test_labels_are_not_known_before_the_start(world: World) -> None:
    assert code_of(lambda: world.asked("m", label="stable")).startswith("UNAVAILABLE ")


@pytest.mark.parametrize(
    ("rest", "told"),
    [("version_labels { key: 'stable' value: 7 }", "assign label to version 7"), ("", "a version of every model")],
)
def test_a_start_that_cannot_be(world: World, rest: str, told: str) -> None:
    world.put("m", 1, bad=not rest)
    with pytest.raises(SetupError, match=told):
        asyncio.run(world.manager.start(world.config(m=rest)))


def test_a_reload_replaces_the_whole_configuration(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, 1)

    async def then() -> None:
        await world.manager.reload(world.config(b=""))
        assert code_of(lambda: world.asked("a")) == "NOT_FOUND Servable not found for request: Latest(a)"
        assert (world.asked("b"), world.states("a")) == (1, {1: "END"})
        world.put("b", 2)
        await world.until(lambda: world.asked("b") == 2)
        both = world.config(b="model_version_policy { all { } } version_labels { key: 'new' value: 2 }", a="")
        await world.manager.reload(both)
        assert (world.asked("a"), world.asked("b", 1), world.asked("b", label="new")) == (1, 1, 2)

    play(world, world.config(a=""), then)


def test_reloads_that_are_refused_change_nothing(world: World) -> None:
    world.put("a", 1)

    async def refused(models: Any) -> grpc.StatusCode:
        with pytest.raises(RequestError) as caught:
            await world.manager.reload(models)
        return caught.value.code

    async def then() -> None:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        label = world.config(a="version_labels { key: 'next' value: 2 }")
        assert await refused(label) == grpc.StatusCode.FAILED_PRECONDITION
        twice = world.config(a="")
        twice.config.add().CopyFrom(twice.config[0])
        assert await refused(twice) == invalid
        assert await refused(world.config(a="base_path: 'relative/path'")) == invalid
        assert await refused(world.config(a="model_platform: 'caffe'")) == invalid
        assert await refused(world.config(a="model_platform: ''")) == invalid
        assert (world.asked("a"), world.states("a")) == (1, {1: "AVAILABLE"})
        assert await refused(world.config(a="", c="")) == grpc.StatusCode.UNKNOWN
        assert world.asked("a") == 1

    play(world, world.config(a=""), then)


def test_a_model_that_appears_in_the_folder_is_served(world: World) -> None:
    world.put("a", 1)
    names = ["a"]
    world.manager = ModelManager(
        world.load,  # type: ignore[arg-type]
        0.01,
        lambda: world.config(**dict.fromkeys(names, "")),
    )

    async def then() -> None:
        world.put("b", 5)
        names.append("b")
        await world.until(lambda: "b" in world.manager.models and bool(world.manager.models["b"].available))
        assert world.asked("b") == 5

    play(world, world.config(a=""), then)


class Followed:
    """A configuration that changes while the manager looks at it."""

    def __init__(self, world: World, models: Any) -> None:
        self.models: Any = models
        self.error = ""
        world.manager = ModelManager(world.load, 0.01, self.read)  # type: ignore[arg-type]

    def read(self) -> Any:
        if self.error:
            raise SetupError(self.error)
        return self.models


def labelled(*versions: int, **labels: int) -> str:
    """The rest of a ModelConfig with these versions and labels, as text."""
    wanted = " ".join(f"versions: {version}" for version in versions)
    named = " ".join(f"version_labels {{ key: '{label}' value: {number} }}" for label, number in labels.items())
    return f"model_version_policy {{ specific {{ {wanted} }} }} {named}"


def test_labels_follow_the_configuration_without_a_gap(world: World) -> None:
    for version in (1, 2):
        world.put("m", version)
    followed = Followed(world, world.config(m=labelled(1, stable=1)))

    async def then() -> None:
        old = world.made["m", 1]
        old.leases = 1  # the version before is still unloading when the label has moved
        followed.models = world.config(m=labelled(2, stable=2, canary=2))
        answers = set()
        while world.states("m")[1] != "UNLOADING":
            answers.add(world.asked("m", label="stable"))
            await asyncio.sleep(0)
        assert answers <= {1, 2}
        assert (world.asked("m", label="stable"), world.asked("m", label="canary")) == (2, 2)
        old.leases = 0
        followed.models = world.config(m=labelled(2, stable=2))
        await world.until(lambda: world.manager._labels == {"m": {"stable": 2}})
        followed.models = world.config(other="")
        await world.until(lambda: world.states("m")[2] == "END")
        assert code_of(lambda: world.asked("m", label="stable")).startswith("INVALID_ARGUMENT Unrecognized")

    play(world, followed.models, then)


def test_a_label_waits_for_a_version_that_does_not_load(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("m", 1)
    followed = Followed(world, world.config(m=labelled(1, stable=1)))

    async def then() -> None:
        bad = world.put("m", 2, bad=True)
        world.put("m", 3)
        followed.models = world.config(m=labelled(2, 3, stable=2, next=2))
        await world.until(lambda: world.states("m").get(3) == "AVAILABLE")
        await asyncio.sleep(0.1)
        assert (world.asked("m"), world.asked("m", label="stable")) == (3, 1)
        assert code_of(lambda: world.asked("m", label="next")).startswith("INVALID_ARGUMENT Unrecognized")
        (bad / "bad").unlink()
        await world.until(lambda: world.asked("m", label="stable") == 2)
        assert world.asked("m", label="next") == 2
        await world.until(lambda: world.states("m")[1] == "END")

    play(world, followed.models, then)
    assert [record.message for record in caplog.records if "label stable" in record.message] == [
        "m: label stable waits for version 2, which is not loaded"
    ]


def test_a_configuration_that_cannot_be_read_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("m", 1)
    followed = Followed(world, world.config(m=""))

    async def then() -> None:
        followed.error = "half a file"
        await asyncio.sleep(0.1)
        assert world.asked("m") == 1
        followed.error = ""
        world.put("n", 4)
        followed.models = world.config(m="", n="")
        await world.until(lambda: "n" in world.manager.models and world.states("n") == {4: "AVAILABLE"})

    play(world, followed.models, then)
    assert [record.message for record in caplog.records].count("half a file; what is loaded stays") == 1


def test_a_reload_ends_the_following_of_the_configuration(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, 1)
    followed = Followed(world, world.config(a=""))

    async def then() -> None:
        await world.manager.reload(world.config(b=""))
        await asyncio.sleep(0.1)
        assert world.states("a") == {1: "END"}
        assert world.asked("b") == 1

    play(world, followed.models, then)


async def given_up(work: Coroutine[Any, Any, None], when: Callable[[], bool], world: World) -> None:
    """Lets a client give a reload up at some moment."""
    task = asyncio.create_task(work)
    await world.until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_reload_whose_client_gives_up_is_finished(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, 1)

    async def then() -> None:
        world.may_load.clear()
        reload = world.manager.reload(world.config(a="", b=""))
        await given_up(reload, lambda: ("b", 1) in world.loads, world)
        assert world.states("b") == {1: "LOADING"}
        world.may_load.set()
        await world.until(lambda: world.states("b") == {1: "AVAILABLE"})
        old = world.made["b", 1]
        old.leases = 1
        removal = world.manager.reload(world.config(a=""))
        await given_up(removal, lambda: world.states("b") == {1: "UNLOADING"}, world)
        old.leases = 0
        await world.until(lambda: world.states("b") == {1: "END"})
        assert old.closed
        await world.manager.reload(world.config(a="", b=""))
        assert world.asked("b") == 1

    play(world, world.config(a=""), then)


def test_a_reload_that_fails_when_nobody_waits_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.put("a", 1)
    world.put("b", 1, bad=True)

    async def then() -> None:
        world.may_load.clear()
        await given_up(world.manager.reload(world.config(a="", b="")), lambda: ("b", 1) in world.loads, world)
        world.may_load.set()
        await world.until(lambda: "whose client has gone failed" in caplog.text)
        assert world.asked("a") == 1

    play(world, world.config(a=""), then)


def test_a_base_path_that_is_away_for_a_moment_takes_nothing_down(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("m", 1)

    async def then() -> None:
        away = (world.base / "m").rename(world.base / "away")
        await world.until(lambda: "what is loaded stays" in caplog.text)
        await asyncio.sleep(0.1)
        assert world.asked("m") == 1
        away.rename(world.base / "m")
        world.put("m", 2)
        await world.until(lambda: world.states("m") == {2: "AVAILABLE", 1: "END"})

    play(world, world.config(m=""), then)
    assert caplog.text.count("what is loaded stays") == 1
