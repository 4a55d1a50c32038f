"""Rows of metrics as tables of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer.report.blocks import Cell, Table, Whisker
from trainer.report.metric_names import as_number, metric_title
from trainer.report.results import Row

__all__ = ["metric_table", "number_cell", "plain_table", "shown_number"]

_NOTHING = "–"

_UNSAID: Mapping[str, tuple[Any, ...]] = {"queries_without_match": (None, 0), "queries_in_gallery": (None, 0)}
"""What says nothing when all rows have it, by key."""


def shown_number(value: Any) -> str:
    """Whole numbers with separators, others with three decimals, a dash for what is missing, texts as they are."""
    if isinstance(value, str | bool):
        return str(value) or _NOTHING
    number = as_number(value)
    if number is None:
        return _NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{number:,.3f}"


def number_cell(value: Any, *, small: str = "", whisker: Whisker | None = None) -> Cell:
    """A value as `shown_number` writes it, sorted as what it is."""
    sort = value if isinstance(value, str) else as_number(value)
    return Cell(shown_number(value), sort, small, whisker)


def plain_table(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    caption: str,
    *,
    half: bool = False,
) -> Table:
    """The rows as they are.

    Args:
        rows: of the table.
        columns: key of the rows to title, in order; one that no row has a value for is left out, and so are counts of
            what need not be there when it is not.
        caption: of the table.
        half: whether two of them stand beside each other where the page is wide.
    """
    present = [key for key in columns if any(row.get(key) not in _UNSAID.get(key, (None, "")) for row in rows)]
    cells = tuple(tuple(number_cell(row.get(key)) for key in present) for row in rows)
    return Table(caption, tuple(columns[key] for key in present), cells, half=half)


def metric_table(
    rows: Sequence[Row],
    leading: Mapping[str, str],
    metrics: Sequence[str],
    caption: str,
    *,
    folded: bool = False,
    best: bool = False,
    changes: bool = False,
) -> Table:
    """Rows of metrics with their intervals in numbers and drawn, on one scale a column.

    Args:
        rows: with the metrics and, where there are any, `intervals`: metric to `[low, high]`.
        leading: keys that come first, to their titles, as in `plain_table`.
        metrics: keys of the metrics to show.
        caption: of the table.
        folded: whether it is shown only when asked for.
        best: whether the best of each metric is marked, where there are several rows.
        changes: whether a column after each metric tells `change`, `change_intervals` and `p_value`.
    """
    first = plain_table(rows, leading, caption)
    columns = list(first.columns)
    cells = [list(row) for row in first.rows]
    for name in (name for name in metrics if any(as_number(row.get(name)) is not None for row in rows)):
        columns.append(metric_title(name))
        for line, cell in zip(cells, _metric_cells(rows, name, best and len(rows) > 1), strict=True):
            line.append(cell)
        if changes and any(_of_metric(row, "change", name) is not None for row in rows):
            columns.append(f"change of {metric_title(name)}")
            for line, row in zip(cells, rows, strict=True):
                line.append(_change_cell(row, name))
    return Table(caption, tuple(columns), tuple(tuple(line) for line in cells), folded)


def _metric_cells(rows: Sequence[Row], name: str, best: bool) -> list[Cell]:
    values = [as_number(row.get(name)) for row in rows]
    cells = _whiskered(values, [_interval(row, "intervals", name) for row in rows])
    highest = max((value for value in values if value is not None), default=None)
    return [replace(cell, best=best and cell.sort is not None and cell.sort == highest) for cell in cells]


def _whiskered(values: Sequence[float | None], intervals: Sequence[tuple[float, float] | None]) -> list[Cell]:
    drawn = [
        (*interval, value) for interval, value in zip(intervals, values, strict=True) if interval and value is not None
    ]
    if not drawn:
        return [number_cell(value) for value in values]
    low, high = min(map(min, drawn)), max(map(max, drawn))
    # A twentieth of the track stays free on either side, so that no dot is cut.
    start, width = low - 0.05 * (high - low), 1.1 * (high - low) or 1.0

    def percent(number: float) -> float:
        return round(100 * (number - start) / width, 1)

    cells = []
    for value, interval in zip(values, intervals, strict=True):
        if value is None or interval is None:
            cells.append(number_cell(value))
            continue
        whisker = Whisker(percent(interval[0]), percent(value), percent(interval[1]))
        cells.append(number_cell(value, small=f"{interval[0]:.3f}–{interval[1]:.3f}", whisker=whisker))
    return cells


def _of_metric(row: Row, key: str, name: str) -> Any:
    """What a mapping of metrics in a row says of one; None where there is no such mapping."""
    below = row.get(key)
    return below.get(name) if isinstance(below, Mapping) else None


def _interval(row: Row, key: str, name: str) -> tuple[float, float] | None:
    ends = _of_metric(row, key, name)
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return None
    low, high = as_number(ends[0]), as_number(ends[1])
    return None if low is None or high is None else (low, high)


def _change_cell(row: Row, name: str) -> Cell:
    change = as_number(_of_metric(row, "change", name))
    if change is None:
        return number_cell(None)
    small = []
    interval = _interval(row, "change_intervals", name)
    if interval:
        small.append(f"{_signed(interval[0])} to {_signed(interval[1])}")
    chance = as_number(_of_metric(row, "p_value", name))
    if chance is not None:
        small.append("p < 0.001" if chance < 0.001 else f"p = {chance:.3f}")
    return Cell(_signed(change), change, "\n".join(small))


def _signed(number: float) -> str:
    return f"{number:+.3f}".replace("-", "−")
