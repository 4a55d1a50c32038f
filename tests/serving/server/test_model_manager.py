"""Versions come and go: what is loaded, what replaces what, and what the status says. Nothing is loaded for real."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_models import World, code_of, play

from serving.server.errors import RequestError, SetupError
from serving.server.model import State
from serving.server.model_manager import ModelManager


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
