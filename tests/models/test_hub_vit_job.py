"""`python -m trainer hub-vit`: a ViT from scratch or from a preset, as a module that can be fine-tuned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from trainer.__main__ import main
from trainer.errors import InputError
from trainer.jobs.hub_vit import write_hub_vit
from trainer.models.hub_vit import build_hub_vit

SMALL = ["--image-size", "32", "--patch-size", "16", "--layers", "1", "--heads", "2", "--width", "16"]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def backbone() -> Any:
    keras.utils.set_random_seed(4)
    return keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        dropout_rate=0.5,
        attention_dropout=0.5,
    )


def answer(folder: Path, **how: Any) -> np.ndarray:
    return hub.load(str(folder))(tf.constant(pictures() / 255.0, tf.float32), **how).numpy()


def test_from_scratch_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hub-vit", "--out", str(tmp_path / "deep" / "a"), *SMALL]) == 0
    said = f"{tmp_path}/deep/a: takes pictures [B, 32, 32, 3] in [0, 1], answers [B, 16]\n"
    assert capsys.readouterr().out.endswith(said)
    module = hub.load(str(tmp_path / "deep" / "a"))
    assert len(module.trainable_variables) == len(module.variables) == 22
    assert list(module.regularization_losses) == []
    assert answer(tmp_path / "deep" / "a").shape == (2, 16)
    assert os.listdir(tmp_path / "deep") == ["a"]
    assert (tmp_path / "deep" / "a").stat().st_mode & 0o777 == 0o755


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["hub-vit", "--out", str(tmp_path / name), *SMALL, "--seed", seed]) == 0
    np.testing.assert_array_equal(answer(tmp_path / "a"), answer(tmp_path / "b"))
    assert np.abs(answer(tmp_path / "a") - answer(tmp_path / "c")).max() > 1e-3


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1.0 / 127.5, -1.0), ([0.1, 0.02, 0.003], [-0.5, 0.25, 1.0]), (None, None)],
    ids=["one number", "one a channel", "none"],
)
def test_a_preset_sees_the_pixels_that_its_converter_makes(
    scale: Any, offset: Any, backbone: Any, tmp_path: Path
) -> None:
    backbone.save_to_preset(str(tmp_path / "preset"))
    converter = keras_hub.layers.ViTImageConverter(image_size=(32, 32), scale=scale, offset=offset)
    converter.save_to_preset(str(tmp_path / "preset"))
    assert main(["hub-vit", "--out", str(tmp_path / "module"), "--preset", str(tmp_path / "preset")]) == 0
    converted = np.asarray(converter(pictures().astype(np.float32)))
    if scale is not None:
        np.testing.assert_allclose(converted, pictures() * np.asarray(scale) + np.asarray(offset), atol=1e-4)
    expected = backbone(converted, training=False)[:, 0]
    np.testing.assert_allclose(answer(tmp_path / "module"), expected, atol=1e-4)
    np.testing.assert_allclose(build_hub_vit(str(tmp_path / "module"), 32)(pictures()), expected, atol=1e-4)


def test_training_drops_units_and_serving_does_not(backbone: Any, tmp_path: Path) -> None:
    write_hub_vit(backbone, tmp_path / "module")
    plain = answer(tmp_path / "module", training=False)
    np.testing.assert_array_equal(answer(tmp_path / "module"), plain)
    assert np.abs(answer(tmp_path / "module", training=True) - plain).max() > 1e-3


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["hub-vit", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_is_not_overwritten(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "there"
    if kind == "folder":
        place.mkdir()
    (place / "mine" if kind == "folder" else place).write_text("mine", encoding="utf-8")
    assert "is there already; expected a new folder" in refusal(["--out", str(place), *SMALL], capsys)
    assert (place / "mine" if kind == "folder" else place).read_text(encoding="utf-8") == "mine"


def test_an_empty_folder_is_filled(backbone: Any, tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    write_hub_vit(backbone, tmp_path / "module")
    assert (tmp_path / "module" / "saved_model.pb").is_file()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot write" in refusal(["--out", str(tmp_path / "file" / "module"), *SMALL], capsys)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), tf.errors.ResourceExhaustedError(None, None, "No space left")]
)
def test_a_full_disk_leaves_nothing_behind(
    error: Exception, backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(module: Any, folder: str) -> None:
        (Path(folder) / "half").write_text("", encoding="utf-8")
        raise error

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(InputError, match=r"^--out: cannot write .*No space left.*; give another folder$"):
        write_hub_vit(backbone, tmp_path / "module")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--layers", "0"], "--layers: expected a number above 0, received 0"),
        (["--image-size", "-32"], "--image-size: expected a number above 0, received -32"),
        (["--image-size", "40"], "--image-size: expected a multiple of --patch-size 16, received 40"),
        (["--heads", "3"], "--width: expected a multiple of --heads 3, received 16"),
        (["--preset", "no/such/preset"], "--preset: cannot load 'no/such/preset'"),
    ],
)
def test_impossible_settings_are_refused(
    change: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(["--out", str(tmp_path / "module"), *SMALL, *change], capsys)
    assert not (tmp_path / "module").exists()
