from __future__ import annotations

import pandas as pd
import pytest

from trainer.errors import InputError
from trainer.evaluation.comparison import PUBLISHED_ROWS, comparison_frame, format_table, write_comparison

ROWS = [
    {
        "mrr": 0.95,
        "map@r": 0.7123456,
        "recall@10": 0.1,
        "precision@10": 0.8,
        "precision@1": 0.925,
        "hit_rate@10": 0.99,
        "hit_rate@5": 0.98,
        "hit_rate@1": 0.925,
        "accuracy": 0.94208,
        "model": "fused",
        "split": "test",
        "gallery": "test",
        "queries": 526,
    },
    {"model": "a|b", "split": "test", "queries": 526, "accuracy": None, "hit_rate@1": float("nan"), "note": "x"},
]


def test_columns_come_in_reading_order():
    frame = comparison_frame(ROWS, published_protocol=False)
    assert list(frame.columns) == [
        *("model", "split", "gallery", "queries", "accuracy", "hit_rate@1", "hit_rate@5", "hit_rate@10"),
        *("precision@1", "precision@10", "recall@10", "map@r", "mrr", "note"),
    ]


def test_published_rows_are_shown_only_when_the_protocol_is_theirs():
    assert "source" not in comparison_frame(ROWS, published_protocol=False).columns
    frame = comparison_frame(ROWS, published_protocol=True)
    assert frame["source"].tolist() == ["published notebook"] * 4 + ["this run"] * 2
    assert frame["model"].tolist()[:4] == [row["model"] for row in PUBLISHED_ROWS]


def test_the_published_numbers():
    numbers = [
        [row.get(name) for name in ("accuracy", "hit_rate@1", "hit_rate@5", "hit_rate@10")] for row in PUBLISHED_ROWS
    ]
    assert numbers == [
        [0.8626, 0.8511, 0.9714, 0.9866],
        [0.8933, 0.8769, 0.9635, 0.9769],
        [0.38, None, None, None],
        [0.7481, 0.7654, 0.9442, 0.9769],
    ]


def test_a_table_for_the_terminal():
    lines = format_table(ROWS).splitlines()
    assert lines[0].split() == [
        *("model", "split", "gallery", "queries", "accuracy", "hit_rate@1", "hit_rate@5", "hit_rate@10"),
        *("precision@10", "map@r", "mrr", "note"),
    ]
    assert set(lines[1]) == {"-", " "}
    fused = "fused test test 526 0.9421 0.9250 0.9800 0.9900 0.8000 0.7123 0.9500 -"
    assert lines[2].split() == fused.split()
    assert lines[3].split() == ["a|b", "test", "-", "526", *"-------", "x"]
    # Numbers end where their heading ends, text starts where it starts.
    end = lines[0].index("accuracy") + len("accuracy")
    assert lines[2][:end].endswith(" 0.9421")
    assert lines[3][:end].endswith(" -")
    assert lines[3].startswith("a|b ")


def test_a_table_of_chosen_columns():
    assert format_table(ROWS[:1], columns=["model", "mrr", "absent"]).splitlines() == [
        "model     mrr  absent",
        "-----  ------  ------",
        "fused  0.9500       -",
    ]


def test_files(tmp_path):
    markdown, sheet = write_comparison(ROWS, tmp_path / "report", published_protocol=True)
    lines = markdown.read_text(encoding="utf-8").splitlines()
    assert markdown.name == "comparison.md"
    cells = [line.strip("| ").split(" | ") for line in lines[:8]]
    assert {len(line) for line in cells if "a\\" not in line[1]} == {15}
    assert cells[0][:5] == ["source", "model", "split", "gallery", "queries"]
    assert cells[2][1:6] == ["ResNet50 fine-tuned", "test", "test", "-", "0.8626"]
    assert cells[6][1:6] == ["fused", "test", "test", "526", "0.9421"]
    assert "| a\\|b |" in lines[7]
    assert "published notebook on Fashion Product Images (Small)" in lines[-1]

    frame = pd.read_csv(sheet)
    assert sheet.name == "comparison.csv"
    assert frame["map@r"].tolist()[4] == 0.7123456
    assert frame["hit_rate@1"].isna().tolist() == [False, False, True, False, False, True]
    assert frame["model"].tolist()[5] == "a|b"


def test_the_markdown_of_another_protocol_does_not_mention_the_notebook(tmp_path):
    markdown, _ = write_comparison(ROWS, tmp_path, published_protocol=False)
    assert "notebook" not in markdown.read_text(encoding="utf-8")


SURE = {
    "model": "fused",
    "split": "test",
    "gallery": "test",
    "accuracy": 0.96,
    "accuracy_macro": 0.95,
    "hit_rate@1": 0.9449,
    "hit_rate@10": 0.99,
    "ndcg@10": 0.93,
    "intervals": {"accuracy": [0.941, 0.975], "hit_rate@1": [0.9238, 0.9630]},
    "macro": {"hit_rate@1": 0.94, "ndcg@10": None},
}


def test_intervals_and_macro_means_are_columns_of_the_sheet(tmp_path):
    _, sheet = write_comparison([SURE, {"model": "plain"}], tmp_path, published_protocol=False)
    frame = pd.read_csv(sheet)
    assert list(frame.columns) == [
        *("model", "split", "gallery", "accuracy", "accuracy_low", "accuracy_high", "accuracy_macro"),
        *("hit_rate@1", "hit_rate@1_low", "hit_rate@1_high", "hit_rate@1_macro", "hit_rate@10"),
        *("ndcg@10", "ndcg@10_macro"),
    ]
    assert frame.loc[0, ["hit_rate@1", "hit_rate@1_low", "hit_rate@1_high"]].tolist() == [0.9449, 0.9238, 0.9630]
    assert frame.loc[1].isna().sum() == len(frame.columns) - 1


def test_intervals_stand_beside_the_mean_and_macro_means_below(tmp_path):
    markdown, _ = write_comparison([SURE, {"model": "plain"}], tmp_path, published_protocol=True)
    text = markdown.read_text(encoding="utf-8")
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    heads = [[cell.strip() for cell in lines[0].strip("|").split("|")] for lines in tables]
    assert heads[0] == [
        *("source", "model", "split", "gallery", "accuracy", "accuracy_macro"),
        *("hit_rate@1", "hit_rate@5", "hit_rate@10", "ndcg@10"),
    ]
    assert "| 0.9600 [0.941, 0.975] | 0.9500 | 0.9449 [0.924, 0.963] | - | 0.9900 | 0.9300 |" in tables[0][6]
    # The published rows and ours that have none are not in the table of macro means.
    assert heads[1] == ["source", "model", "split", "gallery", "accuracy", "hit_rate@1", "ndcg@10"]
    assert tables[1][2:] == ["| this run | fused | test | test | 0.9500 | 0.9400 | - |"]
    assert "In brackets: the 95 % interval" in text


def test_a_terminal_shows_half_the_interval():
    lines = format_table([SURE, {"model": "plain", "hit_rate@1": 0.9}], columns=["model", "hit_rate@1", "hit_rate@10"])
    assert lines.splitlines() == [
        "model     hit_rate@1  hit_rate@10",
        "-----  -------------  -----------",
        "fused  0.9449 ±0.020       0.9900",
        "plain  0.9000                   -",
    ]
    shown = format_table([SURE]).splitlines()[0].split()
    assert shown == ["model", "split", "gallery", "accuracy", "accuracy_macro", "hit_rate@1", "hit_rate@10", "ndcg@10"]


@pytest.mark.parametrize("rows", [[], [{"split": "test"}], [{"model": ""}]])
def test_refusals(rows):
    with pytest.raises(InputError, match="each with a 'model'"):
        comparison_frame(rows, published_protocol=True)
