"""The job `evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.config import Config
from trainer.data.items import ID, IMAGE_PATH, LABEL, SPLIT, TRAIN, attribute_columns
from trainer.errors import InputError
from trainer.evaluation import (
    bootstrap_interval,
    bootstrap_intervals,
    classification_metrics,
    format_table,
    right_predictions,
    write_comparison,
)
from trainer.evaluation.analyses import Evaluated, write_analyses
from trainer.evaluation.classification import PREDICTED_LABEL
from trainer.evaluation.raw_pixels import raw_pixel_vectors
from trainer.evaluation.slices import sliced_attributes
from trainer.evaluation.words import check_words
from trainer.evaluation.zero_shot import ZERO_SHOT, EmbedTexts, zero_shot_labels
from trainer.files import write_json
from trainer.retrieval import EmbeddingTable, QueryMetrics, measure_queries

__all__ = ["embeddings_path", "run"]

_log = logging.getLogger(__name__)
_HEADLINE = (
    "model",
    "split",
    "gallery",
    "queries",
    "accuracy",
    "hit_rate@1",
    "hit_rate@5",
    "hit_rate@10",
    "precision@10",
)


def embeddings_path(workdir: Path, model: str) -> Path:
    """Where the embedding table of a model is written."""
    return workdir / "embeddings" / f"{model}.parquet"


def run(config: Config, workdir: Path) -> None:
    """Writes `embeddings/<model>.parquet`, `metrics.json`, `comparison.md`, `comparison.csv`, and for every model, not
    for baselines, `evaluation/<model>/*.json` (see `write_analyses`); prints the table. A model with words has a second
    row, named `<model> zero-shot`, where prompts instead of its classifier tell the labels.

    Raises:
        InputError: `prepare` or `train` has not run, or a split to evaluate has no items.
    """
    rows: list[dict[str, Any]] = []
    for name, make in _tables(config, workdir):
        table = make()
        table.write_parquet(embeddings_path(workdir, name))
        rows += _evaluate(config, workdir, name, table, make)
    write_json(workdir / "metrics.json", rows)
    published = config.evaluate.published
    markdown, _ = write_comparison(rows, workdir, published_protocol=published)
    shown = [name for name in _HEADLINE if any(name in row for row in rows)]
    print(format_table(rows, published_protocol=published, columns=[*(["source"] if published else []), *shown]))
    if config.evaluate.resamples:
        print("±: half the width of the 95 % interval, by a bootstrap over queries")
    print(f"\nall metrics: {workdir / 'metrics.json'}\ncomparison:  {markdown}")


def _tables(config: Config, workdir: Path) -> Iterator[tuple[str, Callable[..., EmbeddingTable]]]:
    """Names, and what makes their tables; that of a model also takes a view of the pictures."""
    from trainer.training.encoding import embedding_table
    from trainer.training.run_context import RunContext

    context = RunContext.open(config, workdir, training=False)
    for baseline in config.evaluate.baselines:
        yield baseline, partial(_raw_pixels, context.items)
    for name in config.model.names:
        yield name, partial(embedding_table, context, name)


def _raw_pixels(items: pd.DataFrame) -> EmbeddingTable:
    attributes = {name: items[name].to_numpy() for name in (LABEL, SPLIT, IMAGE_PATH, *attribute_columns(items))}
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


def _evaluate(
    config: Config, workdir: Path, name: str, table: EmbeddingTable, make: Callable[..., EmbeddingTable]
) -> list[dict[str, Any]]:
    """Rows of `metrics.json`; of a model, not a baseline, also the analyses of the last split."""
    embed_texts = None
    if name in config.model.names:
        sliced_attributes(config, table)  # refuses what is not there before anything slow begins
        embed_texts = _embed_texts(config, workdir, name, table)
    of_split = cache(lambda split: table.select(table.attributes[SPLIT] == split))
    rows: list[dict[str, Any]] = []
    own: dict[str, QueryMetrics] = {}
    for split, gallery in _protocols(config, table):
        queries = of_split(split)
        measured = _measure(config, queries, of_split(gallery), split == gallery)
        rows.append({"model": name, "split": split, "gallery": gallery, **_row(config, queries, measured)})
        if embed_texts is not None:
            rows.append(_by_words(config, rows[-1], queries, np.unique(table.labels).tolist(), embed_texts))
        if split == gallery:
            own[split] = measured
    if rows and name in config.model.names:
        last = rows[-1]["split"]
        queries = of_split(last)
        measured = own.get(last) or _measure(config, queries, queries, True)
        write_analyses(Evaluated(config, workdir, name, table, last, queries, measured, make, embed_texts))
    return rows


def _embed_texts(config: Config, workdir: Path, name: str, table: EmbeddingTable) -> EmbedTexts | None:
    """What puts texts where the model puts pictures; None for a model without words.

    Raises:
        InputError: the model has learnt no words, another model than the one that there is now has, or the items do
            not have what is asked for.
    """
    if name not in config.models_with_words:
        return None
    check_words(config, table)
    from trainer.models.text_encoder import load_text_encoder
    from trainer.training.checkpoint import MODEL_FILE, WORDS_FILE, read_progress, read_record

    folder = workdir / "checkpoints" / name
    encoder = load_text_encoder(folder / WORDS_FILE)
    model = read_progress(folder / MODEL_FILE)
    if model is None or read_record(folder / WORDS_FILE).get("image_model") != model.key:
        raise InputError(
            f"expected words for the model {folder / MODEL_FILE}, received {folder / WORDS_FILE} of another one; "
            "run train again"
        )
    return encoder.encode


def _by_words(
    config: Config, row: dict[str, Any], queries: EmbeddingTable, labels: list[str], embed_texts: EmbedTexts
) -> dict[str, Any]:
    """The row of a model with its labels told by prompts; what its embeddings find is the same."""
    prompts = config.words.texts.prompts if config.words else ()
    predicted = zero_shot_labels(queries, labels, prompts, embed_texts)
    row = {**row, "model": row["model"] + ZERO_SHOT, **classification_metrics(queries.labels, predicted)}
    if config.evaluate.resamples:
        right = (queries.labels == predicted).astype(np.float64)
        interval = bootstrap_interval(right, resamples=config.evaluate.resamples)
        row["intervals"] = {**row["intervals"], "accuracy": interval}
    return row


def _measure(config: Config, queries: EmbeddingTable, gallery: EmbeddingTable, same_table: bool) -> QueryMetrics:
    return measure_queries(
        queries,
        gallery,
        config.evaluate.ks,
        same_table=same_table,
        relevance=config.relevance,
        progress=len(queries) > 10_000,
    )


def _row(config: Config, queries: EmbeddingTable, measured: QueryMetrics) -> dict[str, Any]:
    values: dict[str, np.ndarray] = dict(measured.values)
    accuracies: dict[str, float] = {}
    right = right_predictions(queries)
    if right is not None:
        accuracies = classification_metrics(queries.labels, queries.attributes[PREDICTED_LABEL])
        values = {"accuracy": right, **values}
    means = measured.means()
    row: dict[str, Any] = {"queries": means.pop("queries"), **accuracies, **means, "macro": measured.macro()}
    if config.evaluate.resamples:
        row["intervals"] = bootstrap_intervals(
            values, resamples=config.evaluate.resamples, progress=len(queries) > 10_000
        )
    return row
