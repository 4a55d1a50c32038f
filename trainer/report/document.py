"""The page: sections, pictures, style and program in one file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs
from tqdm import tqdm

from trainer.config import Config
from trainer.files import write_text
from trainer.report.blocks import Chart, Section
from trainer.report.model_sections import model_sections
from trainer.report.products import Products
from trainer.report.results import read_model, read_run
from trainer.report.run_sections import Tile, best_model, closing_sections, model_tiles, summary_section
from trainer.report.theme import SURFACES, theme_templates

__all__ = ["write_report"]


@dataclass(frozen=True)
class _Model:
    name: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]


def write_report(config: Config, workdir: Path, path: Path) -> Path:
    """Writes all that is known of a run as one HTML file that loads nothing else.

    The page holds plotly.js (4.8 MB), the figures, and a small picture of every product that it shows. Of large
    catalogues it shows samples and says so: `class_charts.MOST_POINTS` on the map, the same for all models, and
    queries chosen out of `queries.MOST_QUERIES`. The same run gives the same file.

    Args:
        config: of the run.
        workdir: of the run; it is only read.
        path: the file to write, in one step.

    Returns:
        The path.

    Raises:
        InputError: `prepare` has not run, a file of the run is damaged, or the page cannot be written.
    """
    run = read_run(config, workdir)
    products = Products(run.items)
    # One model after the other, so that the embeddings of only one are held.
    models = [
        _Model(name, model_tiles(run, name), model_sections(run, read_model(run, name), products))
        for name in tqdm(config.model.names, desc="models", leave=False)
    ]
    opening, closing = summary_section(run), closing_sections(run)
    page = _environment().get_template("report.html.j2")
    sections = [opening, *closing, *(section for model in models for section in model.sections)]
    write_text(
        path,
        page.render(
            title=workdir.resolve().name,
            run=run,
            opening=opening,
            models=models,
            first=best_model(run),
            closing=closing,
            charts=_charts(sections),
            products=products.embedded(),
            templates=theme_templates(),
            surfaces=SURFACES,
            plotly=get_plotlyjs(),
        ),
    )
    return path


def _charts(sections: list[Section]) -> dict[str, Any]:
    return {block.name: block.figure for section in sections for block in section.blocks if isinstance(block, Chart)}


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("trainer.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
