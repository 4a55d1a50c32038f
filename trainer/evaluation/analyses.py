"""What is looked at in every evaluated model beside its metrics: a table from name to function.

Each writes `RUN/evaluation/<model>/<name>.json`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from trainer.config import Config
from trainer.evaluation.zero_shot import EmbedTexts
from trainer.files import write_json
from trainer.retrieval import EmbeddingTable, QueryMetrics, RetrievalResult, find_neighbours

__all__ = ["ANALYSES", "DEPTH", "Analysis", "Evaluated", "analysis_path", "write_analyses"]

DEPTH = 50
"""How many neighbours `Evaluated.neighbours` holds at most."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One model as evaluated on one split: queries look among their own split, themselves left out.

    Args:
        config: of the run.
        workdir: of the run.
        model: its name.
        table: all items.
        split: whose items are the queries.
        queries: the items of that split, with `predicted_label` and `confidence` beside the source's attributes.
        measured: what each of them found, at the K of `config.evaluate.ks`.
        encode: makes the table of all items for another view of the pictures (`mirrored`); None where there is no
            model at hand to do so.
        embed_texts: puts N texts where the model puts pictures, `[N, D]` float32; None for a model without words.
    """

    config: Config
    workdir: Path
    model: str
    table: EmbeddingTable
    split: str
    queries: EmbeddingTable
    measured: QueryMetrics
    encode: Callable[[str], EmbeddingTable] | None = None
    embed_texts: EmbedTexts | None = None

    @cached_property
    def neighbours(self) -> RetrievalResult:
        """The `DEPTH` nearest of every query among the queries, fewer where there are fewer; searched on first use."""
        count = len(self.queries)
        own = np.arange(count)
        depth = min(DEPTH, count - 1)
        return find_neighbours(self.queries, self.queries, depth, exclude=own, progress=count > 10_000)


Analysis = Callable[[Evaluated], Any]
"""Answers what is written as JSON (no NaN), or None where the configuration does not ask for it."""

ANALYSES: Mapping[str, str] = {
    "per_class": "trainer.evaluation.slices:per_class",
    "slices": "trainer.evaluation.slices:slices",
    "curve": "trainer.evaluation.curve:curve",
    "findings": "trainer.evaluation.findings:findings",
    "dimensions": "trainer.evaluation.dimensions:dimensions",
    "ablations": "trainer.evaluation.ablation:ablations",
    "no_match": "trainer.evaluation.no_match:no_match",
    "words": "trainer.evaluation.words:words",
}
"""File stem to the place of an `Analysis`, `module:function`, imported when its turn comes."""


def analysis_path(workdir: Path, model: str, name: str) -> Path:
    """Where the result of an analysis is."""
    return workdir / "evaluation" / model / f"{name}.json"


def write_analyses(evaluated: Evaluated) -> tuple[Path, ...]:
    """Writes the result of every analysis that is asked for; what an earlier evaluation left of others is deleted.

    Args:
        evaluated: the model.

    Returns:
        The files written.

    Raises:
        InputError: the configuration asks an analysis for what the items do not have.
    """
    written = []
    for name, place in tqdm(ANALYSES.items(), desc=f"{evaluated.model}: analyses", leave=False):
        path = analysis_path(evaluated.workdir, evaluated.model, name)
        result = pkgutil.resolve_name(place)(evaluated)
        if result is None:
            path.unlink(missing_ok=True)
            continue
        write_json(path, result)
        written.append(path)
    return tuple(written)
