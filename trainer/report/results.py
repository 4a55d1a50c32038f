"""What a run has left on disk. What is not there is None; what is damaged is an error that names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, TypeAdapter, ValidationError

from trainer.config import Config
from trainer.data.items import ID, SPLIT, read_items
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable

__all__ = [
    "Findings",
    "Found",
    "LabelError",
    "ModelResults",
    "NoMatch",
    "Row",
    "RunResults",
    "WordExample",
    "WordNeighbour",
    "WordTitles",
    "Words",
    "WorstQuery",
    "ZeroShot",
    "read_model",
    "read_run",
]

Row = Mapping[str, Any]
"""A row of metrics: names to numbers, texts, or further mappings; any may be missing."""

Read = TypeVar("Read")


class Found(BaseModel):
    """An item in a file of findings."""

    id: str
    label: str = ""
    image_path: str = ""
    score: float | None = None


class WorstQuery(Found):
    """A query that found little, with what it found."""

    precision: float | None = None
    neighbours: list[Found] = []


class LabelError(Found):
    """An item whose label is probably wrong."""

    suggested: str = ""
    split: str = ""


class Findings(BaseModel):
    """`findings.json`."""

    worst_queries: list[WorstQuery] = []
    confused_pairs: list[dict[str, Any]] = []
    confused_predictions: list[dict[str, Any]] = []
    label_errors: list[LabelError] = []


class NoMatch(BaseModel):
    """`no_match.json`."""

    threshold: float | None = None
    target: str = ""
    value: float | None = None
    reached: bool = True
    absent: float | None = None
    calibrated_on: str = ""
    on: dict[str, dict[str, Any]] = {}
    curve: list[dict[str, Any]] = []


class WordNeighbour(Found):
    """What a question in words found, and whether it is all that was asked for."""

    values: dict[str, str] = {}
    right: bool | None = None


class WordExample(BaseModel):
    """A question in words with what it found."""

    kind: str = ""
    text: str = ""
    matches: int | None = None
    precision: float | None = None
    neighbours: list[WordNeighbour] = []


class ZeroShot(BaseModel):
    """What telling labels by words came to."""

    labels: int | None = None
    queries: int | None = None
    accuracy: float | None = None
    accuracy_macro: float | None = None
    intervals: dict[str, Any] = {}
    confused: list[dict[str, Any]] = []


class WordTitles(BaseModel):
    """How titles found their products."""

    attribute: str = "title"
    queries: int | None = None
    gallery: int | None = None
    shared: int | None = None
    rows: list[dict[str, Any]] = []


class Words(BaseModel):
    """`words.json`."""

    zero_shot: ZeroShot | None = None
    titles: WordTitles | None = None
    queries: list[dict[str, Any]] = []
    composed: list[dict[str, Any]] = []
    examples: list[WordExample] = []


@dataclass(frozen=True, eq=False)
class ModelResults:
    """What is known of one model.

    Args:
        name: the model.
        table: its embeddings of the items of the split that is shown.
        per_class, curve, slices, findings, robustness, ablations, dimensions, no_match, words: the files of
            `RUN/evaluation/<model>/` under these names.
    """

    name: str
    table: EmbeddingTable | None
    per_class: Sequence[Row] | None
    curve: Sequence[Row] | None
    slices: Sequence[Row] | None
    findings: Findings | None
    robustness: Sequence[Row] | None
    ablations: Sequence[Row] | None
    dimensions: Sequence[Row] | None
    no_match: NoMatch | None
    words: Words | None


@dataclass(frozen=True, eq=False)
class RunResults:
    """What is known of a run.

    Args:
        config: of the run.
        workdir: of the run.
        items: the items table, by id.
        split: the split that is shown: the last one that is evaluated and has items.
        metrics: rows of `metrics.json`.
        facts: `run.json`.
        cross_domain: rows of `cross_domain/metrics.json`.
        histories: `model/stage` to its `history.csv`, a row an epoch.
    """

    config: Config
    workdir: Path
    items: pd.DataFrame
    split: str
    metrics: Sequence[Row] | None
    facts: Row | None
    cross_domain: Sequence[Row] | None
    histories: Mapping[str, pd.DataFrame]


def read_run(config: Config, workdir: Path) -> RunResults:
    """Reads what is known of the run as a whole.

    Args:
        config: of the run.
        workdir: of the run.

    Raises:
        InputError: `prepare` has not run, no split to evaluate has items, or a file is damaged.
    """
    items = read_items(workdir)
    present = set(items[SPLIT])
    split = next((split for split in reversed(config.evaluate.splits) if split in present), None)
    if split is None:
        raise InputError(f"evaluate.splits: expected a split with items, received {', '.join(config.evaluate.splits)}")
    histories = {
        f"{path.parent.parent.name}/{path.parent.name}": _read_history(path)
        for path in sorted(workdir.glob("checkpoints/*/*/history.csv"))
    }
    known = {*config.model.names, *config.model.backbones}
    return RunResults(
        config=config,
        workdir=workdir,
        items=items.set_index(ID),
        split=split,
        metrics=_read(workdir / "metrics.json", list[dict[str, Any]]),
        facts=_read(workdir / "run.json", dict[str, Any]),
        cross_domain=_read(workdir / "cross_domain" / "metrics.json", list[dict[str, Any]]),
        histories={name: history for name, history in histories.items() if name.partition("/")[0] in known},
    )


def read_model(run: RunResults, name: str) -> ModelResults:
    """Reads what is known of one model of a run.

    Args:
        run: the run.
        name: of the model.

    Raises:
        InputError: a file is damaged.
    """
    folder = run.workdir / "evaluation" / name
    rows = list[dict[str, Any]]
    return ModelResults(
        name=name,
        table=_read_table(run.workdir / "embeddings" / f"{name}.parquet", run.split),
        per_class=_read(folder / "per_class.json", rows),
        curve=_read(folder / "curve.json", rows),
        slices=_read(folder / "slices.json", rows),
        findings=_read(folder / "findings.json", Findings),
        robustness=_read(folder / "robustness.json", rows),
        ablations=_read(folder / "ablations.json", rows),
        dimensions=_read(folder / "dimensions.json", rows),
        no_match=_read(folder / "no_match.json", NoMatch),
        words=_read(folder / "words.json", Words),
    )


def _read(path: Path, kind: type[Read]) -> Read | None:
    if not path.exists():
        return None
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"expected what evaluation writes at {path}, received at {where}: {first['msg']}; delete or renew it"
        ) from error
    except OSError as error:
        raise InputError(f"expected to read {path}, received: {error.strerror}; delete or renew it") from error


def _read_table(path: Path, split: str) -> EmbeddingTable | None:
    if not path.exists():
        return None
    table = EmbeddingTable.read_parquet(path)
    if SPLIT not in table.attributes or not (chosen := table.attributes[SPLIT] == split).any():
        raise InputError(f"expected embeddings of split {split} in {path}, received none; run evaluate again")
    return table.select(chosen)


def _read_history(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected a training history (CSV) at {path}, received: {str(error).splitlines()[0]}; delete or renew it"
        ) from error
