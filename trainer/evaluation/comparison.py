"""The tables that set models side by side: for the terminal, for a README, for a spreadsheet."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.files import write_text

__all__ = ["PUBLISHED_ROWS", "comparison_frame", "format_table", "write_comparison"]

Row = Mapping[str, Any]

SOURCE = "source"
_NOTEBOOK = "published notebook"
_OURS = "this run"
_FIRST = ("source", "model", "split", "gallery", "queries", "accuracy", "accuracy_macro")
_AT_K = ("hit_rate", "precision", "recall")
_LAST = ("map@r", "mrr", "queries_without_match")

PUBLISHED_ROWS: tuple[Row, ...] = (
    {
        "model": "ResNet50 fine-tuned",
        "split": "test",
        "gallery": "test",
        "accuracy": 0.8626,
        "hit_rate@1": 0.8511,
        "hit_rate@5": 0.9714,
        "hit_rate@10": 0.9866,
    },
    {
        "model": "ViT fine-tuned",
        "split": "test",
        "gallery": "test",
        "accuracy": 0.8933,
        "hit_rate@1": 0.8769,
        "hit_rate@5": 0.9635,
        "hit_rate@10": 0.9769,
    },
    {"model": "CLIP frozen, linear head", "split": "test", "gallery": "test", "accuracy": 0.3800},
    {
        "model": "ResNet + ViT embeddings",
        "split": "test",
        "gallery": "test",
        "accuracy": 0.7481,
        "hit_rate@1": 0.7654,
        "hit_rate@5": 0.9442,
        "hit_rate@10": 0.9769,
    },
)
"""The table of the published notebook on Fashion Product Images (Small).

Ten article types out of the first 20,000 rows of the catalogue, shuffled 60 / 20 / 20; about 525 test pictures query
each other by cosine similarity, the query left out. What it calls "Precision@K" is hit_rate@K. It may stand beside our
rows only when a run follows that protocol: on other classes, splits or galleries its numbers say nothing.
"""

_HIT_RATE = "hit_rate@K: the share of queries with their label among the K nearest, the query itself left out."
_PUBLISHED = (
    'Rows marked "published notebook" are those of the published notebook on Fashion Product Images (Small), which '
    'calls hit_rate@K "Precision@K"; "-" is what it does not give.'
)


def comparison_frame(rows: Iterable[Row], *, published_protocol: bool) -> pd.DataFrame:
    """Rows of `metrics.json` as a table, columns in reading order.

    Args:
        rows: dicts of `model`, `split`, `gallery`, `queries`, `accuracy`, `accuracy_macro`, `hit_rate@K`,
            `precision@K`, `recall@K`, `map@r`, `mrr`; any may be missing or None but `model`. Other keys come last.
        published_protocol: whether the run follows the protocol of the published notebook; then `PUBLISHED_ROWS` come
            first and a column `source` tells the two apart.

    Returns:
        One row a dict, missing values as None.

    Raises:
        InputError: there are no rows, or one has no `model`.
    """
    ours = [dict(row) for row in rows]
    if not ours or any(not row.get("model") for row in ours):
        raise InputError("expected at least one row of metrics, each with a 'model'; evaluate a model first")
    if published_protocol:
        published = [{SOURCE: _NOTEBOOK, **row} for row in PUBLISHED_ROWS]
        ours = [*published, *({SOURCE: _OURS, **row} for row in ours)]
    columns = _ordered({name for row in ours for name in row})
    return pd.DataFrame([[row.get(name) for name in columns] for row in ours], columns=columns, dtype=object)


def write_comparison(
    rows: Iterable[Row], folder: str | os.PathLike[str], *, published_protocol: bool
) -> tuple[Path, Path]:
    """Writes `comparison.md` (four decimals, "-" for what is missing) and `comparison.csv` (all digits, empty for it).

    Args:
        rows: as in `comparison_frame`.
        folder: where to; made when missing.
        published_protocol: as in `comparison_frame`.

    Returns:
        The paths of both files, Markdown first.

    Raises:
        InputError: as in `comparison_frame`, or the folder cannot be written.
    """
    frame = comparison_frame(rows, published_protocol=published_protocol)
    markdown, sheet = Path(folder) / "comparison.md", Path(folder) / "comparison.csv"
    write_text(markdown, _markdown(frame, published_protocol))
    write_text(sheet, frame.to_csv(index=False, lineterminator="\n"))
    return markdown, sheet


def format_table(rows: Iterable[Row], *, published_protocol: bool = False, columns: Sequence[str] | None = None) -> str:
    """The rows as lines of text for a terminal: numbers to the right, four decimals, "-" for what is missing.

    Args:
        rows: as in `comparison_frame`.
        published_protocol: as in `comparison_frame`.
        columns: which to show, in order. By default those that tell models apart at a glance: not recall, and
            precision only at the largest K (at 1 it is the hit rate).

    Returns:
        The lines, without a newline at the end.

    Raises:
        InputError: as in `comparison_frame`.
    """
    frame = comparison_frame(rows, published_protocol=published_protocol)
    shown = list(columns) if columns is not None else _headline(frame)
    records = frame.to_dict("records")
    cells = [[_cell(row.get(name)) for name in shown] for row in records]
    widths = [max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(shown)]
    signs = [">" if all(_is_number(row.get(name)) for row in records) else "<" for name in shown]
    lines = [shown, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(map(_padded, line, signs, widths)).rstrip() for line in lines)


def _markdown(frame: pd.DataFrame, published_protocol: bool) -> str:
    records = frame.to_dict("records")
    names = list(frame.columns)
    rule = ["---:" if all(_is_number(row[name]) for row in records) else "---" for name in names]
    body = [[_cell(row[name]).replace("|", "\\|") for name in names] for row in records]
    lines = ["| " + " | ".join(line) + " |" for line in [names, rule, *body]]
    notes = [_HIT_RATE, *([_PUBLISHED] if published_protocol else [])]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _headline(frame: pd.DataFrame) -> list[str]:
    depths = [int(name.split("@")[1]) for name in frame.columns if re.fullmatch(r"precision@\d+", name)]
    hidden = {f"precision@{k}" for k in depths if k < max(depths)}
    hidden |= {"queries_without_match"} | {name for name in frame.columns if name.startswith("recall@")}
    return [name for name in frame.columns if name not in hidden]


def _ordered(names: set[str]) -> list[str]:
    def place(name: str) -> tuple[int, int, int, str]:
        metric, _, k = name.partition("@")
        if name in _FIRST:
            return (0, _FIRST.index(name), 0, name)
        if metric in _AT_K and k.isdigit():
            return (1, _AT_K.index(metric), int(k), name)
        return (2, _LAST.index(name), 0, name) if name in _LAST else (3, 0, 0, name)

    return sorted(names, key=place)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def _padded(text: str, sign: str, width: int) -> str:
    return f"{text:{sign}{width}}"


def _cell(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, numbers.Integral):
        return str(value)
    return f"{value:.4f}" if isinstance(value, numbers.Real) else " ".join(str(value).split())
