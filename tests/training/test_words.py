"""Models learn words: what is left, what is kept, and what full tuning may change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("words_program.py")), str(tmp_path_factory.mktemp("words"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def embeddings(answer: Answer, what: str = "asked") -> np.ndarray:
    return np.array(answer[what])


def test_a_text_encoder_learns_where_the_pictures_are(answers: dict[str, Any]) -> None:
    found = answers["locked"]
    history = found["history"][0]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert history[-1]["val_zero_shot"] > 0.8
    assert {"accuracy", "val_recall@10", "val_words", "learning_rate"} < set(history[0])
    assert found["stages"] == ["words-locked"]


def test_the_file_tells_whose_words_it_has(answers: dict[str, Any]) -> None:
    found = answers["locked"]
    facts = found["facts"]
    assert facts["model"] == "hub_vit"
    assert facts["image_model"] == found["image_key"]
    assert 0.01 <= facts["temperature"] <= 0.1
    assert facts["interpolation"] is None
    assert not found["optimiser"]  # three times the size, for nothing


def test_what_still_fits_is_kept(answers: dict[str, Any]) -> None:
    assert answers["again"] == answers["locked"]


def test_a_stopped_run_goes_on_to_the_same_on_two_devices(answers: dict[str, Any]) -> None:
    assert answers["stopped"] == ["best.keras", "last.keras"]
    whole, resumed = answers["locked"], answers["resumed on two devices"]
    for one, other in zip(whole["history"][0], resumed["history"][0], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    np.testing.assert_allclose(embeddings(whole), embeddings(resumed), atol=1e-4)


def test_full_tuning_moves_both_and_spares_the_backbone_of_other_models(answers: dict[str, Any]) -> None:
    before, after = answers["locked"], answers["full"]
    assert after["restored"]
    assert after["image_key"] != before["image_key"]
    assert after["facts"]["image_model"] == after["image_key"]
    assert np.abs(embeddings(after, "pictures") - embeddings(before, "pictures")).max() > 1e-2
    assert np.abs(embeddings(after) - embeddings(before)).max() > 1e-2
    assert [row["interpolation"] for row in after["facts"]["interpolations"]] == [0.5, 1.0]
    scores = {row["interpolation"]: row["val_words"] for row in after["facts"]["interpolations"]}
    assert scores[after["facts"]["interpolation"]] == max(scores.values())


def test_full_tuning_begins_with_the_locked_result(answers: dict[str, Any]) -> None:
    assert answers["full"]["stages"] == ["words-full", "words-locked"]
    assert answers["full"]["history"][1] == answers["locked"]["history"][0]
    locked = "words-locked/last.keras"
    assert answers["full"]["written"][locked] == answers["locked"]["written"][locked]


def test_full_tuning_is_kept_too(answers: dict[str, Any]) -> None:
    assert answers["full again"] == answers["full"]


def test_where_full_tuning_gains_nothing_the_model_is_what_it_was(answers: dict[str, Any]) -> None:
    before, after = answers["locked"], answers["nothing gained"]
    assert after["image_key"] == before["image_key"]
    assert after["facts"]["interpolation"] == 0.0
    np.testing.assert_array_equal(embeddings(after, "pictures"), embeddings(before, "pictures"))
    np.testing.assert_array_equal(embeddings(after), embeddings(before))
    # Only the shares are new: nothing is trained again for them.
    assert after["written"]["words-full/last.keras"] == answers["full"]["written"]["words-full/last.keras"]


def test_a_model_that_learns_no_words_any_longer_loses_them(answers: dict[str, Any]) -> None:
    assert "words.keras" in answers["locked"]["written"]
    assert "words.keras" not in answers["no words"]["written"]
    assert answers["no words"]["image_key"] == answers["locked"]["image_key"]


def test_the_sigmoid_loss_learns_in_bfloat16_with_fewer_items_than_a_batch(answers: dict[str, Any]) -> None:
    found = answers["sigmoid in bfloat16"]
    history = found["history"][0]
    assert history[-1]["loss"] < history[0]["loss"]
    np.testing.assert_allclose(np.linalg.norm(embeddings(found), axis=1), 1.0, atol=1e-5)


def test_a_presets_text_tower_is_taken_as_it_is(answers: dict[str, Any]) -> None:
    found = answers["preset"]
    assert found["stages"] == []
    assert found["facts"]["image_model"] == found["image_key"] == answers["locked"]["image_key"]
    np.testing.assert_allclose(embeddings(found), embeddings(found, "own"), atol=1e-5)
