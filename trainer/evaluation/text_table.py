"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["text_table"]


def text_table(names: Sequence[str], lines: Sequence[Sequence[str]], *, numbers: Collection[str] = ()) -> str:
    """Columns side by side under their names and a rule.

    Args:
        names: of the columns.
        lines: one cell a column.
        numbers: names of the columns that are aligned to the right.

    Returns:
        The lines, without a newline at the end.
    """
    widths = [max([len(name), *(len(line[at]) for line in lines)]) for at, name in enumerate(names)]
    signs = [">" if name in numbers else "<" for name in names]
    table = [names, ["-" * width for width in widths], *lines]
    return "\n".join(
        "  ".join(f"{cell:{sign}{width}}" for cell, sign, width in zip(line, signs, widths, strict=True)).rstrip()
        for line in table
    )
