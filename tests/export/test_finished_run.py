"""What a run left: words only where they were learnt in the model's own space."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras

from export.finished_run import FinishedRun
from trainer.config import Config, as_yaml
from trainer.data.items import ID, IMAGE_PATH
from trainer.errors import InputError
from trainer.training.checkpoint import MODEL_FILE, WORDS_FILE, Progress, save_checkpoint


def some_model() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    run = FinishedRun(tmp_path, "resnet50")
    run.checkpoint.parent.mkdir(parents=True)
    assert run.checkpoint.name == MODEL_FILE
    save_checkpoint(some_model(), run.checkpoint, Progress("abc", finished=True))
    return run


def write_words(run: FinishedRun, image_model: str) -> Path:
    path = run.checkpoint.with_name(WORDS_FILE)
    save_checkpoint(some_model(), path, facts={"image_model": image_model})
    return path


def test_words_are_those_of_the_model(run: FinishedRun) -> None:
    assert run.words is None
    assert FinishedRun(run.workdir, run.name).words is None
    path = write_words(run, "abc")
    assert FinishedRun(run.workdir, run.name).words == path


def test_words_of_another_space_are_refused(run: FinishedRun) -> None:
    write_words(run, "of an older model")
    with pytest.raises(InputError, match="run train again, or export with --set words=false"):
        _ = run.words


def test_texts_to_ask_with_are_titles_or_labels(run: FinishedRun, tmp_path: Path) -> None:
    plain = {"model": {"names": ["resnet50"]}}
    titled = {**plain, "words": {"texts": {"title": "name"}}}
    for values, expected in ((plain, "label"), (titled, "name")):
        (tmp_path / "config.yaml").write_text(as_yaml(Config.model_validate(values)), encoding="utf-8")
        assert FinishedRun(tmp_path, "resnet50").text_attribute == expected


def test_pictures_that_are_away_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = FinishedRun(tmp_path, "resnet50")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"picture")
    paths = [str(tmp_path / name) for name in ("a.png", "gone.png", "b.png")]
    run.__dict__["items"] = pd.DataFrame({ID: ["a", "gone", "b"], IMAGE_PATH: paths})
    assert run.pictures(["b", "gone"]) == {"b": tmp_path / "b.png"}
    assert "1 of 2 test pictures are not there" in caplog.text
    with pytest.raises(InputError, match=r"gone.png; none of 1 is there"):
        run.pictures(["gone"])
    assert run.pictures([]) == {}
