"""The sections that are about the whole run: the summary before the models, the rest behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config import as_yaml
from trainer.data.items import SPLIT, SPLITS
from trainer.evaluation import PUBLISHED_ROWS
from trainer.report.blocks import Block, Cell, Listing, Section, Table
from trainer.report.charts import training_charts
from trainer.report.metric_names import DEFINITIONS, as_number, headline, main_metrics, metric_title, metrics_in
from trainer.report.results import Row, RunResults
from trainer.report.tables import metric_table, number_cell, plain_table

__all__ = ["Tile", "best_model", "closing_sections", "model_tiles", "summary_section"]

_LEADING = {"model": "model", "queries": "queries", "queries_without_match": "without match"}


@dataclass(frozen=True)
class Tile:
    """A number that the page leads with: what it is, its value, its interval, and what to hold it against."""

    title: str
    value: str
    interval: str = ""
    beside: str = ""


def best_model(run: RunResults) -> str:
    """The model that the page shows first: the one with the best last main metric on the split that is shown; the last
    of the configuration where none was measured."""
    names = run.config.model.names
    rows = [row for row in run.metrics or () if _protocol(row) == (run.split, run.split) and row.get("model") in names]
    leading = main_metrics(metrics_in(rows))[-1:]
    if not leading:
        return names[-1]
    return str(max(rows, key=lambda row: as_number(row.get(leading[0])) or 0.0)["model"])


def model_tiles(run: RunResults, model: str) -> tuple[Tile, ...]:
    """The main metrics of a model on the split that is shown, among its own split; none where it was not measured."""
    rows = [row for row in run.metrics or () if _protocol(row) == (run.split, run.split) and row.get("model") == model]
    tiles = []
    for name in main_metrics(metrics_in(rows[:1])):
        (cell,) = metric_table(rows[:1], {}, [name], "").rows[0]
        tiles.append(Tile(metric_title(name), cell.text, cell.small, _published_best(run, name)))
    return tuple(tiles)


def _published_best(run: RunResults, name: str) -> str:
    values = [value for row in _published(run) if (value := as_number(row.get(name))) is not None]
    return f"published best {max(values):.3f}" if values else ""


def _published(run: RunResults) -> tuple[Row, ...]:
    if not run.config.evaluate.published:
        return ()
    return tuple(row for row in PUBLISHED_ROWS if row["split"] == run.split)


def summary_section(run: RunResults) -> Section:
    """All models side by side; where the run follows the published protocol, the published results too."""
    rows = run.metrics or ()
    protocols = list(dict.fromkeys(_protocol(row) for row in rows))
    protocols.sort(key=lambda protocol: protocol != (run.split, run.split))
    blocks: list[Block] = []
    for at, (split, gallery) in enumerate(protocols):
        chosen = [row for row in rows if _protocol(row) == (split, gallery)]
        published = [
            {**row, "model": f"published: {row['model']}"} for row in _published(run) if row["gallery"] == gallery
        ]
        shown = [*(published if split == run.split else ()), *chosen]
        among = "each other, themselves left out" if split == gallery else f"those of split {gallery}"
        caption = f"Split {split}: its pictures look among {among}"
        blocks.append(metric_table(shown, _LEADING, headline(metrics_in(shown)), caption, folded=at > 0, best=True))
    blocks += _details(run, rows)
    note = "Bold: the best of its column."
    if any(row.get("intervals") for row in rows):
        note += " Small print and bars: 95 % intervals."
    return Section("summary", "Summary", note, tuple(blocks), "No model has been measured yet.", "run")


def _details(run: RunResults, rows: Sequence[Row]) -> list[Block]:
    if not rows:
        return []
    leading = {"model": "model", "split": "split", "gallery": "gallery", **_LEADING}
    tables = [metric_table(rows, leading, metrics_in(rows), "All metrics", folded=True)]
    macro = [{**row, **row["macro"], "intervals": None} for row in rows if isinstance(row.get("macro"), Mapping)]
    if macro:
        names = [name for name in metrics_in(macro) if any(name in row["macro"] for row in macro)]
        tables.append(metric_table(macro, leading, names, "All metrics, macro", folded=True))
    meanings = tuple((Cell(name, name), Cell(meaning, meaning)) for name, meaning in DEFINITIONS)
    return [*tables, Table("What the numbers mean", ("name", "meaning"), meanings, folded=True)]


def _protocol(row: Row) -> tuple[str, str]:
    return str(row.get("split", "")), str(row.get("gallery", row.get("split", "")))


def closing_sections(run: RunResults) -> tuple[Section, ...]:
    """Other catalogues, training, and what the run was."""
    cross = []
    if run.cross_domain:
        rows = run.cross_domain
        leading = {
            "model": "model",
            "gallery": "gallery",
            "queries": "queries",
            "queries_unmapped": "left out",
            "queries_in_gallery": "in the gallery",
            "queries_without_match": "without match",
        }
        blocks = (metric_table(rows, leading, headline(metrics_in(rows)), "Queries from another catalogue"),)
        cross = [Section("cross-domain", "Other catalogue", "", blocks)]
    training = Section(
        "training",
        "Training",
        "",
        tuple(training_charts(run.histories)),
        "There is no history of training: a head that is computed in closed form has none.",
        "train",
    )
    return (*cross, training, Section("run", "The run", "", tuple(_run_blocks(run))))


def _run_blocks(run: RunResults) -> list[Block]:
    counts = run.items[SPLIT].value_counts()
    splits = [{"split": split, "pictures": int(counts[split])} for split in SPLITS if split in counts]
    blocks: list[Block] = [plain_table(splits, {"split": "split", "pictures": "pictures"}, "Catalogue", half=True)]
    facts = _flat(run.facts or {})
    if facts:
        rows = tuple((Cell(name, name), number_cell(value)) for name, value in facts)
        blocks.append(Table("The last job", ("what", "value"), rows))
    return [*blocks, Listing("Configuration", as_yaml(run.config))]


def _flat(facts: Row) -> list[tuple[str, Any]]:
    """Names and values of `run.json`, mappings unfolded and lists joined; what is not there is left out."""
    flat: list[tuple[str, Any]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat += [(key if name == "versions" else f"{name}, {key}", below) for key, below in value.items()]
        else:
            flat.append((name, " ".join(map(str, value)) if isinstance(value, list) else value))
    return [(name, str(value)) for name, value in flat if value is not None]
