"""The job `cross-domain`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.config import Config, DataConfig
from trainer.config.cross_domain import CrossDomainConfig
from trainer.data.freshness import with_true_hashes
from trainer.data.items import ID, IMAGE_PATH, LABEL, PICTURE_SHA256, SPLIT, read_items
from trainer.errors import InputError
from trainer.evaluation import bootstrap_intervals, format_table
from trainer.evaluation.cross_domain import LabelMapping, measure_across, right_across
from trainer.files import write_json
from trainer.jobs import prepare
from trainer.retrieval import EmbeddingTable
from trainer.training.encoding import PREDICTED_LABEL, embedding_table
from trainer.training.features import FeatureStores
from trainer.training.picture_encoder import PictureEncoder
from trainer.training.run_context import RunContext

__all__ = ["run"]

_log = logging.getLogger(__name__)
_FOLDER = "cross_domain"


def run(config: Config, workdir: Path) -> None:
    """Asks the items of another catalogue of the run's finished models; see `CrossDomainConfig`.

    Below `cross_domain/` it writes what `prepare` does, `features/`, `embeddings/<model>.parquet` of the queries, and
    `metrics.json`: a row a model with `model`, `gallery`, `queries` (of mapped labels), `queries_unmapped`,
    `queries_in_gallery` (whose picture lies in the gallery, byte for byte: such a query is no honest one),
    `queries_without_match`, `accuracy` (the predicted label is one of the right ones), the mean of every metric,
    `macro`, and `intervals` (95 %). Prints the table.

    Raises:
        InputError: no other catalogue is configured, it cannot be read, the mapping does not fit, or `prepare` or
            `train` has not run.
    """
    cross = config.evaluate.cross_domain
    if cross is None:
        raise InputError(
            "evaluate.cross_domain: expected the catalogue of the queries (data) and a CSV of labels (labels), "
            "received null; set both"
        )
    context = RunContext.open(config, workdir, training=False)
    mapping = LabelMapping.read(Path(cross.labels), context.labels)
    folder = workdir / _FOLDER
    prepare.run(config.model_copy(update={"data": _as_queries(cross.data)}), folder, undivided=True)
    items = with_true_hashes(read_items(folder))
    mapped = _mapped(items, mapping, cross)
    places = np.flatnonzero((context.items[SPLIT] == cross.gallery) | (cross.gallery == "all"))
    if not len(places):
        raise InputError(f"evaluate.cross_domain.gallery: expected a split with items, received {cross.gallery}")
    shared = _shared(mapped, context.items.iloc[places])
    counts = {"queries_unmapped": len(items) - len(mapped), "queries_in_gallery": shared}
    stores = FeatureStores(folder / "features", config.train.extraction_batch_size)
    rows = []
    for name in config.model.names:
        queries = _embedded(context, name, mapped, stores)
        queries.write_parquet(folder / "embeddings" / f"{name}.parquet")
        gallery = embedding_table(context, name).select(places)
        rows.append({"model": name, "gallery": cross.gallery, **counts, **_row(config, queries, gallery, mapping)})
    write_json(folder / "metrics.json", rows)
    headline = ("model", "gallery", "queries", "accuracy", *(f"hit_rate@{k}" for k in config.evaluate.ks))
    columns = [*headline, f"precision@{max(config.evaluate.ks)}"]
    print(f"\n{format_table(rows, columns=columns)}\n\nall metrics: {folder / 'metrics.json'}")


def _as_queries(data: DataConfig) -> DataConfig:
    """Without what only training needs: labels of many pictures, and copies kept apart."""
    selection = data.selection.model_copy(update={"min_per_label": 1})
    near = data.near_duplicates.model_copy(update={"enabled": False})
    return data.model_copy(update={"selection": selection, "near_duplicates": near})


def _mapped(items: pd.DataFrame, mapping: LabelMapping, cross: CrossDomainConfig) -> pd.DataFrame:
    known = items[LABEL].isin(mapping.right.keys())
    if not known.any():
        raise InputError(
            f"{cross.labels}: expected labels of the queries' catalogue as query_label, such as "
            f"{items[LABEL].iloc[0]!r}; none of its {items[LABEL].nunique()} labels has a row"
        )
    left_out = items.loc[~known, LABEL].value_counts()
    if len(left_out):
        named = ", ".join(f"{label} ({count})" for label, count in left_out.head(10).items())
        more = f" and {len(left_out) - 10} more labels" if len(left_out) > 10 else ""
        _log.warning("%d queries have a label without a row and are left out: %s%s", left_out.sum(), named, more)
    unused = sorted(mapping.right.keys() - set(items[LABEL]))
    if unused:
        _log.warning("no query has the label %s of %s", ", ".join(map(repr, unused[:10])), cross.labels)
    return items[known].reset_index(drop=True)


def _shared(queries: pd.DataFrame, gallery: pd.DataFrame) -> int:
    count = int(queries[PICTURE_SHA256].isin(gallery[PICTURE_SHA256]).sum())
    if count:
        _log.warning("%d of %d queries are pictures of the gallery: what they find says little", count, len(queries))
    return count


def _embedded(context: RunContext, name: str, items: pd.DataFrame, stores: FeatureStores) -> EmbeddingTable:
    encoded = PictureEncoder(context, name).encode_items(items, stores)
    attributes = {column: items[column].to_numpy() for column in (LABEL, IMAGE_PATH)}
    attributes[PREDICTED_LABEL] = encoded.predicted_labels
    return EmbeddingTable(items[ID].to_numpy(), encoded.embeddings, attributes)


def _row(config: Config, queries: EmbeddingTable, gallery: EmbeddingTable, mapping: LabelMapping) -> dict[str, Any]:
    measured = measure_across(queries, gallery, mapping, config.evaluate.ks, progress=len(queries) > 10_000)
    right = right_across(queries.labels, queries.attributes[PREDICTED_LABEL], mapping)
    row: dict[str, Any] = {"accuracy": float(right.mean()), **measured.means(), "macro": measured.macro()}
    if config.evaluate.resamples:
        values = {"accuracy": right, **measured.values}
        row["intervals"] = bootstrap_intervals(values, resamples=config.evaluate.resamples)
    return row
