"""Words and the pictures they find, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from trainer.errors import InputError
from trainer.evaluation.analyses import analysis_path
from trainer.jobs import plot
from trainer.plots import plot_word_grid
from trainer.plots.style import RIGHT, WRONG


@pytest.fixture
def examples(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "picture.png"
    Image.new("RGB", (20, 30), "red").save(path)

    def found(label: str, right: bool) -> dict[str, Any]:
        values = {"colour": "", "label": label}
        return {"id": "p", "label": label, "image_path": str(path), "score": 0.5, "values": values, "right": right}

    return [
        {
            "kind": "best",
            "text": "$shirts of {a} <very> long name that goes on",
            "neighbours": [found("shirt", True)] * 3,
        },
        {"kind": "worst", "text": "рубашка", "neighbours": [found("a shoe with a long name", False)]},
    ]


def test_a_row_a_question(examples, tmp_path, monkeypatch):
    drawn: list[list[tuple[str, int, bool]]] = []
    framed: list[list[Any]] = []
    clear = Figure.clear

    def watch(figure: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(
            [
                ("\n".join(t.get_text() for t in a.texts) or a.get_title(), len(a.images), a.get_visible())
                for a in figure.axes
            ]
        )
        spines = [axes.spines["left"] for axes in figure.axes]
        framed.append([spine.get_edgecolor() if spine.get_visible() else None for spine in spines])
        clear(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "clear", watch)
    path = plot_word_grid(examples, tmp_path / "words.png", k=2)
    with Image.open(path) as picture:
        assert min(picture.size) > 200
        assert np.asarray(picture).std() > 10
    cells, frames = drawn[-1], framed[-1]
    assert frames[:5] == [None, to_rgba(RIGHT), to_rgba(RIGHT), None, to_rgba(WRONG)]
    assert cells[0][0].replace("\n", " ") == "best: $shirts of {a} <very> long name that goes on"
    assert [images for _, images, _ in cells] == [0, 1, 1, 0, 1, 0]
    assert cells[1][0] == "0.500\n-\nshirt"
    assert cells[4][0] == "0.500\n-\na shoe with a l…"
    assert not cells[5][2]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(InputError, match="at least one question in words"):
        plot_word_grid([], tmp_path / "words.png")


def test_the_job_draws_what_evaluation_found(examples, tmp_path):
    assert list(plot._word_tasks(tmp_path, "m")) == []
    path = analysis_path(tmp_path, "m", "words")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"examples": []}), encoding="utf-8")
    assert list(plot._word_tasks(tmp_path, "m")) == []
    path.write_text(json.dumps({"examples": examples}), encoding="utf-8")
    (task,) = plot._word_tasks(tmp_path, "m")
    assert task() == tmp_path / "plots" / "words-m.png"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.json.*run evaluate again"):
        list(plot._word_tasks(tmp_path, "m"))
