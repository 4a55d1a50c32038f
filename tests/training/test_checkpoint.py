"""Checkpoints: a whole model in one file, in one step, loaded by one call; anything else refused in one line."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import pytest

from trainer.errors import InputError
from trainer.models.head import build_head, compose
from trainer.models.hub_vit import build_hub_vit
from trainer.training.checkpoint import Progress, load_model, read_progress, read_record, restore, save_checkpoint
from trainer.training.optimizer import LayerwiseAdamW

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PROGRESS = Progress(
    "key",
    batch=12,
    epoch=2,
    best=(0.5, -1.25),
    waited=1,
    history=({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}),
    sums=(1.0, 2.0, 3.0),
)
Maker = Callable[[], keras.Model]


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def moved(model: keras.Model) -> keras.Model:
    """The model after a few steps of its optimiser."""
    model.compile(LayerwiseAdamW(0.01, multipliers=[0.5] * len(model.trainable_weights)))
    model.optimizer.build(model.trainable_weights)
    for step in range(3):
        random = np.random.default_rng(step)
        gradients = [keras.ops.convert_to_tensor(random.normal(size=w.shape), w.dtype) for w in model.trainable_weights]
        model.optimizer.apply(gradients, model.trainable_weights)
    return model


@pytest.fixture(scope="module")
def saved(tiny_model: Maker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    path = tmp_path_factory.mktemp("checkpoint") / "best.keras"
    model = moved(tiny_model())
    save_checkpoint(model, path, PROGRESS, {"labels": ["a", "b", "ü"]})
    return path, model


LOADER = """
import sys
import numpy as np
from trainer.training.checkpoint import load_model
answer = load_model(sys.argv[1])(np.load(sys.argv[2]))
np.savez(sys.argv[3], **{name: np.asarray(value) for name, value in answer.items()})
"""


def test_a_fresh_process_loads_it_by_one_call(saved: tuple[Path, keras.Model], tmp_path: Path) -> None:
    path, model = saved
    np.save(tmp_path / "pictures.npy", pictures())
    arguments = [str(path), str(tmp_path / "pictures.npy"), str(tmp_path / "answer.npz")]
    done = subprocess.run([sys.executable, "-c", LOADER, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = np.load(tmp_path / "answer.npz"), model(pictures())
    assert set(found) == {"embedding", "logits"}
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_progress_and_facts_come_back(saved: tuple[Path, keras.Model], tmp_path: Path) -> None:
    path, model = saved
    assert read_progress(path) == PROGRESS
    assert read_record(path)["labels"] == ["a", "b", "ü"]
    save_checkpoint(model, tmp_path / "plain.keras")
    assert read_progress(tmp_path / "plain.keras") is None
    assert read_progress(tmp_path / "none.keras") is None


def test_weights_and_optimizer_are_restored(saved: tuple[Path, keras.Model], tiny_model: Maker) -> None:
    path, model = saved
    other = tiny_model()
    other.compile(LayerwiseAdamW(0.01, multipliers=[0.5] * len(other.trainable_weights)))
    other.optimizer.build(other.trainable_weights)
    assert np.abs(np.asarray(other(pictures())["logits"]) - model(pictures())["logits"]).max() > 1e-3
    restore(other, path)
    for a, b in zip(
        [*other.weights, *other.optimizer.variables], [*model.weights, *model.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert int(other.optimizer.iterations) == 3


def dropping(rate: float = 0.5) -> keras.Model:
    """Two seed generators of the same path, in models of one shape."""
    images = keras.Input((8,))
    parts = []
    for name in ("a", "b"):
        inner = keras.Input((8,))
        parts.append(
            keras.Model(inner, keras.layers.Dropout(rate, name="dropout", seed=len(parts))(inner), name=name)(images)
        )
    return keras.Model(images, keras.layers.Concatenate()(parts))


def test_random_states_are_restored(tmp_path: Path) -> None:
    model, other = dropping(), dropping()
    rows = np.ones((4, 8), np.float32)
    model(rows, training=True)
    save_checkpoint(model, tmp_path / "model.keras")
    expected = [np.asarray(model(rows, training=True)) for _ in range(2)]
    for _ in range(3):
        other(rows, training=True)
    restore(other, tmp_path / "model.keras")
    for answer in expected:
        np.testing.assert_array_equal(other(rows, training=True), answer)


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_model_is_refused(saved: tuple[Path, keras.Model], tiny_vit: Path) -> None:
    wider = compose({"hub_vit": build_hub_vit(str(tiny_vit), 32)}, build_head({"hub_vit": 16}, 3, 9), 32, "hub_vit")
    assert "does not fit the model that is configured" in refusal(restore, wider, saved[0])


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    for call in (load_model, read_record):
        message = refusal(call, tmp_path / "best.keras")
        assert message == f"expected a checkpoint at {tmp_path / 'best.keras'}; there is none. Run train first"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(
    share: float, saved: tuple[Path, keras.Model], tiny_model: Maker, tmp_path: Path
) -> None:
    content = saved[0].read_bytes()
    torn = tmp_path / "torn.keras"
    torn.write_bytes(content[: int(share * len(content))])
    for call in (load_model, read_progress):
        assert "expected a .keras checkpoint, it cannot be read" in refusal(call, torn)
    assert "remove it to start anew" in refusal(restore, tiny_model(), torn)


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5", "progress.json"])
def test_a_spoilt_file_is_refused(member: str, saved: tuple[Path, keras.Model], tmp_path: Path) -> None:
    content = bytearray(saved[0].read_bytes())
    with zipfile.ZipFile(saved[0]) as archive:
        inside = archive.getinfo(member)
    for place in range(inside.header_offset + 200, inside.header_offset + 200 + min(300, inside.compress_size // 2)):
        content[place] ^= 0xFF
    spoilt = tmp_path / "spoilt.keras"
    spoilt.write_bytes(content)
    assert "spoilt.keras: expected a" in refusal(load_model, spoilt)


@pytest.mark.parametrize(
    "record", ["[]", '{"progress": {"key": "k"}}', '{"progress": {"other": 1}}', '{"progress": 3}']
)
def test_progress_of_another_kind_is_refused(record: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "last.keras", "w") as archive:
        archive.writestr("progress.json", record)
    assert "it holds another's; remove it" in refusal(read_progress, tmp_path / "last.keras")


def test_code_inside_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    images = keras.Input((4,))
    keras.Model(images, keras.layers.Lambda(lambda x: x + 1)(images)).save(tmp_path / "lambda.keras")
    message = refusal(load_model, tmp_path / "lambda.keras")
    assert "expected a checkpoint of this project, it cannot be loaded (" in message


def test_a_hub_module_that_is_gone_is_named(tiny_vit: Path, tmp_path: Path) -> None:
    moving = tmp_path / "module"
    moving.symlink_to(tiny_vit)
    save_checkpoint(build_hub_vit(str(moving), 32), tmp_path / "best.keras")
    assert load_model(tmp_path / "best.keras").output_shape == (None, 16)
    moving.unlink()
    assert refusal(load_model, tmp_path / "best.keras").startswith(
        "model.hub_vit.handle: expected a SavedModel's folder"
    )


def assert_intact(path: Path, model: keras.Model) -> None:
    assert os.listdir(path.parent) == [path.name]
    np.testing.assert_allclose(load_model(path)(pictures())["logits"], model(pictures())["logits"], atol=1e-6)
    assert read_progress(path) == PROGRESS


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    call: str, saved: tuple[Path, keras.Model], tiny_model: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, model = saved
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        message = refusal(save_checkpoint, tiny_model(), path, Progress("newer"))
    assert "No space left on device; the former file is kept" in message
    assert_intact(path, model)


def test_a_write_that_fails_halfway_leaves_the_last_good_checkpoint(
    saved: tuple[Path, keras.Model], tiny_model: Maker
) -> None:
    path, model = saved
    other = tiny_model()
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
    try:
        assert "cannot write" in refusal(save_checkpoint, other, path, Progress("newer"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert_intact(path, model)
