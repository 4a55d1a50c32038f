"""The job `robustness`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import Config
from trainer.config.robustness import CorruptionName
from trainer.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt_picture
from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT
from trainer.errors import InputError
from trainer.evaluation.analyses import analysis_path
from trainer.evaluation.robustness import CLEAN, format_robustness, robustness_row
from trainer.files import write_json
from trainer.plots.corruption_sheet import plot_corruption_sheet
from trainer.retrieval import EmbeddingTable, QueryMetrics, measure_queries
from trainer.training.corrupted_queries import APPLIED, corrupted_queries, read_reduced
from trainer.training.encoding import embedding_table
from trainer.training.picture_encoder import PictureEncoder
from trainer.training.run_context import RunContext

__all__ = ["run"]

_log = logging.getLogger(__name__)
_TRIED = 20
"""Pictures looked at for one to which every corruption applies."""


def run(config: Config, workdir: Path) -> None:
    """Asks the queries of the last evaluated split again, with spoilt pictures; the gallery stays clean.

    Writes `evaluation/<model>/robustness.json` (see `trainer.evaluation.robustness`) and `plots/robustness.png`, and
    prints a table a model. Embeddings of spoilt pictures are kept below `robustness/`, each corruption as soon as it is
    finished, so that a second call, or one after an interruption, computes only what is missing.

    Raises:
        InputError: `prepare` or `train` has not run, no split to evaluate has items, or a picture cannot be read.
    """
    context = RunContext.open(config, workdir, training=False)
    split = _last_split(context)
    sheet = _sheet(context, split)
    names = config.model.names if config.evaluate.robustness.models == "all" else config.model.names[-1:]
    metrics = ("accuracy", f"hit_rate@{min(config.evaluate.ks)}", f"precision@{max(config.evaluate.ks)}")
    for name in names:
        rows = list(_rows(context, name, split))
        path = analysis_path(workdir, name, "robustness")
        write_json(path, rows)
        print(f"{name}, {split}:\n{format_robustness(name, rows, metrics)}\nall metrics: {path}\n")
    print(f"one picture under all corruptions: {sheet}")


def _last_split(context: RunContext) -> str:
    present, asked = set(context.items[SPLIT]), context.config.evaluate.splits
    split = next((split for split in reversed(asked) if split in present), None)
    if split is None:
        raise InputError(f"evaluate.splits: expected a split with items, received {', '.join(asked)}")
    return split


def _rows(context: RunContext, name: str, split: str) -> Iterator[dict[str, Any]]:
    config = context.config
    table = embedding_table(context, name)
    clean = table.select(table.attributes[SPLIT] == split)
    measured = _measure(config, clean, clean)
    resamples = config.evaluate.resamples
    yield robustness_row(CLEAN, 0, "", clean, measured, None, resamples)
    encoder = PictureEncoder(context, name)
    for corruption in config.evaluate.robustness.corruptions:
        for strength, setting in zip(STRENGTHS, CORRUPTIONS[corruption].settings, strict=True):
            found = corrupted_queries(context, name, encoder, context.split(split), corruption, strength)
            queries = EmbeddingTable(found.ids, found.vectors, {**clean.attributes, **found.attributes})
            applied = queries.attributes[APPLIED]
            if not applied.all():
                _log.warning("%s applies to %d of %d pictures", corruption, applied.sum(), len(applied))
            if applied.any():
                spoilt, before = queries.select(applied), (clean.select(applied), measured.select(applied))
                after = _measure(config, spoilt, clean)
                yield robustness_row(corruption, strength, setting, spoilt, after, before, resamples)


def _measure(config: Config, queries: EmbeddingTable, gallery: EmbeddingTable) -> QueryMetrics:
    return measure_queries(
        queries,
        gallery,
        config.evaluate.ks,
        same_table=True,
        relevance=config.relevance,
        progress=len(queries) > 10_000,
    )


def _sheet(context: RunContext, split: str) -> Path:
    """Draws a picture of the split: the first to which all corruptions apply, or else the last of those looked at."""
    config, items = context.config, context.split(split).head(_TRIED)
    for identity, path, label in items[[ID, IMAGE_PATH, LABEL]].itertuples(index=False):
        picture = read_reduced(path, config.model.image_size)
        title = f"{label}, {identity}"
        shown: dict[str, Any] = {
            n: _strengths(config, picture, n, identity) for n in config.evaluate.robustness.corruptions
        }
        if all(spoilt is not None for strengths in shown.values() for _, spoilt in strengths):
            break
    return plot_corruption_sheet(picture, shown, context.workdir / "plots" / "robustness.png", title=title)


def _strengths(
    config: Config, picture: np.ndarray, corruption: CorruptionName, identity: str
) -> list[tuple[str, np.ndarray | None]]:
    return [
        (setting, corrupt_picture(picture, corruption, strength, seed=config.seed, identity=identity))
        for strength, setting in zip(STRENGTHS, CORRUPTIONS[corruption].settings, strict=True)
    ]
