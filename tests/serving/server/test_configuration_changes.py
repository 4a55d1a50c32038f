"""A configuration that changes under a running server: models, versions, labels, and whoever gives up waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fake_models import World, code_of, play

from serving.server.errors import SetupError
from serving.server.model_manager import ModelManager


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
