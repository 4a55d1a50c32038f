"""The job `evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.config import Config
from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT, TRAIN
from trainer.evaluation import classification_metrics, format_table, write_comparison
from trainer.evaluation.raw_pixels import raw_pixel_vectors
from trainer.files import write_json
from trainer.retrieval import EmbeddingTable, retrieval_metrics

__all__ = ["embeddings_path", "run"]

_log = logging.getLogger(__name__)
_HEADLINE = ("model", "split", "gallery", "queries", "accuracy", "hit_rate@1", "hit_rate@5", "hit_rate@10")


def embeddings_path(workdir: Path, model: str) -> Path:
    """Where the embedding table of a model is written."""
    return workdir / "embeddings" / f"{model}.parquet"


def run(config: Config, workdir: Path) -> None:
    """Writes `embeddings/<model>.parquet`, `metrics.json`, `comparison.md` and `comparison.csv`; prints the table.

    Raises:
        InputError: `prepare` or `train` has not run, or a split to evaluate has no items.
    """
    rows: list[dict[str, Any]] = []
    for name, make in _tables(config, workdir):
        table = make()
        table.write_parquet(embeddings_path(workdir, name))
        rows += [_measure(config, name, table, split, gallery) for split, gallery in _protocols(config, table)]
    write_json(workdir / "metrics.json", rows)
    published = config.evaluate.published
    markdown, _ = write_comparison(rows, workdir, published_protocol=published)
    shown = [name for name in _HEADLINE if any(name in row for row in rows)]
    print(format_table(rows, published_protocol=published, columns=[*(["source"] if published else []), *shown]))
    print(f"\nall metrics: {workdir / 'metrics.json'}\ncomparison:  {markdown}")


def _tables(config: Config, workdir: Path) -> Iterator[tuple[str, Callable[[], EmbeddingTable]]]:
    from trainer.training.encoding import embedding_table
    from trainer.training.run_context import RunContext

    context = RunContext.open(config, workdir, training=False)
    for baseline in config.evaluate.baselines:
        yield baseline, partial(_raw_pixels, context.items)
    for name in config.model.names:
        yield name, partial(embedding_table, context, name)


def _raw_pixels(items: pd.DataFrame) -> EmbeddingTable:
    attributes = {name: items[name].to_numpy() for name in (LABEL, SPLIT, IMAGE_PATH)}
    return EmbeddingTable(items[ID].to_numpy(), raw_pixel_vectors(items[IMAGE_PATH].tolist()), attributes)


def _protocols(config: Config, table: EmbeddingTable) -> Iterator[tuple[str, str]]:
    present = set(table.attributes[SPLIT])
    for split in config.evaluate.splits:
        if split not in present:
            _log.warning("split %s has no items and is not evaluated", split)
            continue
        for gallery in config.evaluate.gallery:
            target = split if gallery == "split" else TRAIN
            if gallery == "split" or split != TRAIN:
                yield split, target


def _measure(config: Config, name: str, table: EmbeddingTable, split: str, gallery: str) -> dict[str, Any]:
    queries = table.select(table.attributes[SPLIT] == split)
    same = split == gallery
    found = retrieval_metrics(
        queries,
        queries if same else table.select(table.attributes[SPLIT] == gallery),
        config.evaluate.ks,
        same_table=same,
        progress=len(queries) > 10_000,
    )
    predicted = queries.attributes.get("predicted_label")
    accuracies = {} if predicted is None else classification_metrics(queries.labels, predicted)
    return {"model": name, "split": split, "gallery": gallery, "queries": found.pop("queries"), **accuracies, **found}
