"""The tables that set models side by side: for the terminal, for a README, for a spreadsheet."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.text_table import text_table
from trainer.evaluation.zero_shot import ZERO_SHOT
from trainer.files import write_text

__all__ = ["PUBLISHED_ROWS", "comparison_frame", "format_table", "write_comparison"]

Row = Mapping[str, Any]

SOURCE = "source"
_NOTEBOOK = "published notebook"
_OURS = "this run"
_FIRST = ("source", "model", "split", "gallery", "queries", "accuracy", "accuracy_macro")
_AT_K = ("hit_rate", "precision", "recall", "ndcg")
_LAST = ("r_precision", "map@r", "mrr", "queries_without_match")
_INTERVALS, _MACRO = "intervals", "macro"
_PARTS = ("", "_low", "_high", "_macro")
"""What follows a metric's name in the names of its columns: nothing for the mean, then its interval, then the mean over
classes."""

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
_INTERVAL = "In brackets: the 95 % interval, from a bootstrap over queries."
_PUBLISHED = (
    'Rows marked "published notebook" are those of the published notebook on Fashion Product Images (Small), which '
    'calls hit_rate@K "Precision@K"; "-" is what it does not give.'
)


_WORDS = (
    f'Rows named "<model>{ZERO_SHOT}" tell labels by prompts alone, without the classifier; what they find are the '
    "model's own embeddings."
)


def comparison_frame(rows: Iterable[Row], *, published_protocol: bool) -> pd.DataFrame:
    """Rows of `metrics.json` as a table, columns in reading order.

    Args:
        rows: dicts of `model`, `split`, `gallery`, `queries`, `accuracy`, `accuracy_macro`, `hit_rate@K`,
            `precision@K`, `recall@K`, `ndcg@K`, `r_precision`, `map@r`, `mrr`; any may be missing or None but `model`.
            `intervals` maps some of these to a low and a high end, which become the columns `<metric>_low` and
            `<metric>_high`; `macro` maps some to their means over classes, `<metric>_macro`. Other keys come last.
        published_protocol: whether the run follows the protocol of the published notebook; then `PUBLISHED_ROWS` come
            first and a column `source` tells the two apart.

    Returns:
        One row a dict, missing values as None.

    Raises:
        InputError: there are no rows, or one has no `model`.
    """
    ours = [_flat(row) for row in rows]
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
    """Writes `comparison.md` and `comparison.csv`.

    The Markdown has four decimals, intervals in brackets, "-" for what is missing, and a second table of the means over
    classes; the CSV has all digits, and ends of intervals as columns of their own.

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
    """The rows as lines of text for a terminal: numbers to the right, four decimals, half the width of the interval
    after a "±", "-" for what is missing.

    Args:
        rows: as in `comparison_frame`.
        published_protocol: as in `comparison_frame`.
        columns: which to show, in order. By default those that tell models apart at a glance: not recall, and
            precision and NDCG only at the largest K.

    Returns:
        The lines, without a newline at the end.

    Raises:
        InputError: as in `comparison_frame`.
    """
    frame = comparison_frame(rows, published_protocol=published_protocol)
    shown = list(columns) if columns is not None else _headline(frame)
    records = frame.to_dict("records")
    widths = {name: max(len(_half_width(row, name)) for row in records) for name in shown}
    lines = [[_cell(row.get(name)) + f"{_half_width(row, name):{widths[name]}}" for name in shown] for row in records]
    numbers = [name for name in shown if all(_is_number(row.get(name)) for row in records)]
    return text_table(shown, lines, numbers=numbers)


def _markdown(frame: pd.DataFrame, published_protocol: bool) -> str:
    records = frame.to_dict("records")
    means = [name for name in frame.columns if not _part_of_another(name, frame)]
    tables = [_markdown_table(records, {name: name for name in means})]
    macro = {name: f"{name}_macro" for name in means if f"{name}_macro" in frame.columns}
    if len(macro) > ("accuracy" in macro):
        tables.append("Means over classes, each of which counts the same (macro):")
        about = {name: name for name in (SOURCE, *_FIRST[1:4]) if name in frame.columns}
        of_ours = [row for row in records if any(row[column] is not None for column in macro.values())]
        tables.append(_markdown_table(of_ours, about | macro))
    notes = [_HIT_RATE]
    notes += [_INTERVAL] if any(name.endswith("_low") for name in frame.columns) else []
    notes += [_PUBLISHED] if published_protocol else []
    notes += [_WORDS] if any(str(row["model"]).endswith(ZERO_SHOT) for row in records) else []
    return "\n\n".join([*tables, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _markdown_table(records: list[dict[Hashable, Any]], columns: Mapping[str, str]) -> str:
    """`columns` maps headings to names in the records."""
    rule = ["---:" if all(_is_number(row[name]) for row in records) else "---" for name in columns.values()]
    body = [
        [_cell(row[name]).replace("|", "\\|") + _brackets(row, name) for name in columns.values()] for row in records
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [[*columns], rule, *body])


def _flat(row: Row) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in (_INTERVALS, _MACRO)}
    for name, (low, high) in (row.get(_INTERVALS) or {}).items():
        flat |= {f"{name}_low": low, f"{name}_high": high}
    return flat | {f"{name}_macro": value for name, value in (row.get(_MACRO) or {}).items()}


def _part_of_another(name: str, frame: pd.DataFrame) -> bool:
    return name != "accuracy_macro" and any(
        name.endswith(part) and name.removesuffix(part) in frame.columns for part in _PARTS[1:]
    )


def _ends(row: Mapping[Hashable, Any], name: str) -> tuple[float, float] | None:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return None if low is None or high is None else (low, high)


def _brackets(row: Mapping[Hashable, Any], name: str) -> str:
    ends = _ends(row, name)
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _half_width(row: Mapping[Hashable, Any], name: str) -> str:
    ends = _ends(row, name)
    return f" ±{(ends[1] - ends[0]) / 2:.3f}" if ends else ""


def _headline(frame: pd.DataFrame) -> list[str]:
    hidden = {name for name in frame.columns if name.startswith("recall@") or _part_of_another(name, frame)}
    for metric in ("precision", "ndcg"):
        depths = [int(name.split("@")[1]) for name in frame.columns if re.fullmatch(rf"{metric}@\d+", name)]
        hidden |= {f"{metric}@{k}" for k in depths if k < max(depths)}
    return [name for name in frame.columns if name not in hidden | {"queries_without_match"}]


def _ordered(names: set[str]) -> list[str]:
    def place(name: str) -> tuple[int, int, int, str, int]:
        if name in _FIRST:
            return (0, _FIRST.index(name), 0, name, 0)
        part = next((part for part in _PARTS[1:] if name.endswith(part) and name.removesuffix(part) in names), "")
        whole = name.removesuffix(part)
        metric, _, k = whole.partition("@")
        after = _PARTS.index(part)
        if whole in _FIRST:
            return (0, _FIRST.index(whole), 0, whole, after)
        if metric in _AT_K and k.isdigit():
            return (1, _AT_K.index(metric), int(k), whole, after)
        return (2, _LAST.index(whole), 0, whole, after) if whole in _LAST else (3, 0, 0, whole, after)

    return sorted(names, key=place)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, numbers.Integral):
        return str(value)
    return f"{value:.4f}" if isinstance(value, numbers.Real) else " ".join(str(value).split())
