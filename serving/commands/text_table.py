"""A table for people."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["text_table"]

WIDEST = 48


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: frozenset[str] = frozenset(),
    whole: frozenset[str] = frozenset(),
) -> str:
    """Columns of equal width, two spaces between them.

    What a server answers may hold anything: characters that would steer a terminal are replaced, long texts cut.

    Args:
        header: names of the columns.
        rows: texts, as many as columns each.
        right: names of the columns that are aligned to the right.
        whole: names of the columns whose texts are not cut.
    """
    shown = [[_plain(cell, name in whole) for cell, name in zip(row, header, strict=True)] for row in [header, *rows]]
    widths = [max(len(row[place]) for row in shown) for place in range(len(header))]
    lines = []
    for row in shown:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _plain(text: str, whole: bool) -> str:
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return plain if whole or len(plain) <= WIDEST else plain[: WIDEST - 1] + "…"
