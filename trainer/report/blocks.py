"""What a page is made of, as values: the sections say what, the template says how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

__all__ = [
    "Block",
    "Cell",
    "Chart",
    "Drawing",
    "Gallery",
    "Grid",
    "Listing",
    "Picture",
    "QueryRow",
    "Section",
    "Table",
    "Whisker",
]


@dataclass(frozen=True)
class Whisker:
    """A value and its interval on the scale of its column: percent of the column's width, 0 to 100."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: what is read.
        sort: what a sort of the column goes by; None sorts last.
        small: below it, in small print; may have several lines.
        whisker: below it, as a drawing.
        best: whether it is the best of its column.
    """

    text: str
    sort: float | str | None = None
    small: str = ""
    whisker: Whisker | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a caption, which a reader can sort.

    Args:
        caption: what the table is about.
        columns: titles.
        rows: cells, as many in a row as there are columns. The first names the row.
        folded: whether it is shown only when asked for.
        half: whether two of them stand beside each other where the page is wide.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False
    half: bool = False

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For every column whether its values are numbers, which stand to the right."""
        return tuple(
            all(isinstance(row[at].sort, float | None) for row in self.rows) and at > 0
            for at in range(len(self.columns))
        )


@dataclass(frozen=True)
class Chart:
    """A figure that plotly draws.

    Args:
        name: unique in the page.
        caption: what it shows.
        description: the same for whoever cannot see it: what the axes are and what stands out.
        figure: `data` and `layout` of plotly, colours of the theme apart.
        height: pixels.
        least_width: pixels; where the page is narrower, the chart can be scrolled sideways.
        products: whether its points are products, whose pictures are shown when pointed at.
        cells: whether its cells are confusions, whose pictures are shown when clicked.
        half: whether two of them stand beside each other where the page is wide.
        note: a sentence below it.
    """

    kind: ClassVar[str] = "chart"
    name: str
    caption: str
    description: str
    figure: Mapping[str, Any]
    height: int = 360
    least_width: int = 0
    products: bool = False
    cells: bool = False
    half: bool = False
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A product's picture with a word to it.

    Args:
        product: its id, whose picture the page holds once.
        alt: what it shows, in words.
        lines: what stands below it.
        right: whether it is what was looked for; None where that is no question.
    """

    product: str
    alt: str
    lines: tuple[str, ...] = ()
    right: bool | None = None


@dataclass(frozen=True)
class QueryRow:
    """A query, a picture or words, and what it found, best first."""

    query: Picture | str
    found: tuple[Picture, ...]


@dataclass(frozen=True)
class Grid:
    """Queries with what they found, below each other."""

    kind: ClassVar[str] = "grid"
    caption: str
    rows: tuple[QueryRow, ...]
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other."""

    kind: ClassVar[str] = "gallery"
    caption: str
    pictures: tuple[Picture, ...]
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """A picture of its own, as wide as it is or as the page allows."""

    kind: ClassVar[str] = "drawing"
    caption: str
    picture: Picture


@dataclass(frozen=True)
class Listing:
    """Text as it is in a file, shown when asked for."""

    kind: ClassVar[str] = "listing"
    caption: str
    text: str


Block = Table | Chart | Grid | Gallery | Drawing | Listing


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Args:
        name: of its anchor, unique in the page.
        title: its heading.
        intro: what a reader should know first.
        blocks: what it holds. Without any, `missing` is said instead.
        missing: what to do to have it here.
        command: the job that does so.
    """

    name: str
    title: str
    intro: str = ""
    blocks: tuple[Block, ...] = field(default=())
    missing: str = ""
    command: str = ""
