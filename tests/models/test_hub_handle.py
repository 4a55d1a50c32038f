"""From a handle to a folder, and one helpful line where there is none."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import InputError
from trainer.models.hub_handle import resolve_hub_handle

KAGGLE = "google/vit/tensorFlow2/base-patch16/1"
ADDRESS = "https://tfhub.dev/sayakpaul/vit_s16_fe/1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "saved_model.pb").write_bytes(b"")
    return tmp_path / "module"


def refusal(handle: str) -> str:
    with pytest.raises(InputError, match=r"^model\.hub_vit\.handle: ") as caught:
        resolve_hub_handle(handle)
    assert "\n" not in str(caught.value)
    assert repr(handle) in str(caught.value)
    return str(caught.value)


def fail(error: Exception) -> Any:
    def download(handle: str) -> str:
        raise error

    return download


def test_a_folder_is_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_hub_handle(str(folder)) == folder
    monkeypatch.chdir(folder.parent)
    assert resolve_hub_handle("module") == Path("module")


def test_a_folder_wins_over_a_kaggle_handle_of_the_same_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    place = Path("google/vit/tensorflow2/base")
    place.mkdir(parents=True)
    (place / "saved_model.pb").write_bytes(b"")
    assert resolve_hub_handle(str(place)) == place


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "is a folder without saved_model.pb; expected a TF2 SavedModel" in refusal(str(tmp_path))


@pytest.mark.parametrize("handle", ["no/such/folder", "vit", "google/vit", "a/b/pyTorch/c", "ftp://x/y", "/no/where"])
def test_what_is_no_handle_is_refused_with_what_would_be_one(handle: str) -> None:
    message = refusal(handle)
    assert "expected a SavedModel's folder, an https address or a Kaggle handle" in message
    assert "received" in message


def test_a_file_is_refused(folder: Path) -> None:
    assert "which is none of them" in refusal(str(folder / "saved_model.pb"))


@pytest.mark.parametrize("handle", [KAGGLE, "owner/model/tensorflow2/variation", "owner/model/keras/variation/12"])
def test_a_kaggle_handle_is_downloaded(handle: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("kagglehub.model_download", lambda name: asked.append(name) or str(folder))
    assert resolve_hub_handle(handle) == folder
    assert asked == [handle]


def test_a_kaggle_model_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kagglehub.model_download", lambda name: str(tmp_path))
    assert "was downloaded, but holds no saved_model.pb" in refusal(KAGGLE)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ValueError(""), RuntimeError("x" * 5000)])
def test_kaggle_without_a_network_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kagglehub.model_download", fail(error))
    message = refusal(KAGGLE)
    assert "cannot download" in message
    assert "check the handle and the network, or give a local folder" in message
    assert len(message) < 500


def test_an_address_is_downloaded_by_tf_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow_hub")
    monkeypatch.setattr("tensorflow_hub.resolve", lambda name: str(folder))
    assert resolve_hub_handle(ADDRESS) == folder


@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), OSError(28, "No space left on device")])
def test_an_address_without_a_network_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow_hub.resolve", fail(error))
    assert "check the handle and the network, or give a local folder" in refusal(ADDRESS)
