"""The job `export`: a run's model to an encoder, a lookup and a search."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.attributes import choose_attributes
from export.catalogue import write_catalogue
from export.config import ExportConfig
from export.encoder import Encoder
from export.evaluation import EvaluationQueries, choose_queries, write_evaluation
from export.finished_run import FinishedRun
from export.golden import GoldenQuery, choose_golden, write_golden
from export.lookup import Lookup, build_lookup
from export.manifest import created_now, library_versions, table_facts
from export.optimise.drift import measure_drift
from export.release import Release, publish_release
from export.search import Search
from export.table_rows import TableRows
from export.text.text_side import TextSide
from export.warmup import write_warmup
from serving.contract import EMBED_IMAGES, EMBEDDING, SERVING_DEFAULT, Kind, Manifest, served_name
from trainer.config import load_section
from trainer.data.items import ID, PICTURE_SHA256
from trainer.errors import InputError
from trainer.models.text_encoder import TextEncoder, load_text_encoder
from trainer.training.checkpoint import load_model

__all__ = ["export_config", "export_run", "run"]

_log = logging.getLogger(__name__)
_SAMPLE = 64
_SAME_MODEL = 0.9
"""Mean cosine below which vectors are not of a model that was optimised, but of another one."""


def export_config(options: argparse.Namespace) -> ExportConfig:
    """The configuration that the options give: the file, changed by the short options, changed by `--set`.

    Raises:
        ConfigError: one line about the first mistake.
    """
    short = {name: getattr(options, name) for name in ("model", "precision", "target", "keep")}
    changes = [f"{name}={value}" for name, value in short.items() if value is not None]
    return load_section(ExportConfig, options.config, [*changes, *options.changes])


def run(options: argparse.Namespace) -> None:
    """Exports, and prints what was published and what verification found.

    Raises:
        InputError: the run is not finished, or the configuration does not fit it.
        VerificationError: what was made does not hold what it promises; nothing was published.
    """
    release = export_run(options.workdir, options.out, export_config(options))
    for verification in release.verifications:
        print(verification)
    for folder in release.folders.values():
        print(f"published {folder}")
    for folder in release.pruned:
        print(f"removed {folder}")


def export_run(workdir: Path, exports: Path, config: ExportConfig) -> Release:
    """Exports one model of a finished run as its next version.

    Args:
        workdir: of the run.
        exports: folder of all served models; made when missing.
        config: what to export, and how.

    Returns:
        What was published.

    Raises:
        InputError: the run is not finished, or the configuration does not fit it.
        VerificationError: what was made does not hold what it promises; nothing was published.
    """
    run = FinishedRun(workdir, config.model)
    run.check()
    if exports.exists() and not exports.is_dir():
        raise InputError(f"--out: expected a folder, {exports} is none")
    exporter = _Exporter(run, config)
    _ = exporter.attributes  # what cannot be chosen is told before the model is loaded
    exporter.check_drift()
    parts: dict[Kind, Callable[[Path], Manifest]] = {
        "encoder": lambda folder: exporter.write(folder, "encoder", exporter.encoder),
        "lookup": lambda folder: exporter.write(folder, "lookup", exporter.lookup),
        "search": lambda folder: exporter.write(folder, "search", Search(exporter.encoder, exporter.lookup)),
    }
    return publish_release(
        exports,
        config.model,
        parts,
        batching=config.batching.suited_to(config.target),
        keep=config.keep,
        labels=config.labels,
        served_from=config.served_from,
        pictures=exporter.sample,
    )


@dataclass
class _Exporter:
    """Makes the modules once and writes each with all that lies beside it."""

    run: FinishedRun
    config: ExportConfig
    drift: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> Encoder:
        _log.info("loading %s", self.run.checkpoint)
        model = load_model(self.run.checkpoint)
        config = self.config
        return Encoder.from_model(
            model,
            self.run.labels,
            precision=config.precision,
            target=config.target,
            top_labels=config.top_labels,
            words=TextSide(self.text_encoder) if self.text_encoder is not None else None,
        )

    @cached_property
    def text_encoder(self) -> TextEncoder | None:
        path = self.run.words if self.config.words else None
        return load_text_encoder(path) if path is not None else None

    @cached_property
    def attributes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return choose_attributes(self.run.embeddings, self.config.attributes, self.config.filterable)

    @cached_property
    def rows(self) -> TableRows:
        rows = TableRows.from_parquet(self.run.embeddings, self.attributes[0])
        if rows.dimension != self.encoder.embedding_dim:
            raise InputError(
                f"{self.run.embeddings}: expected vectors of {self.encoder.embedding_dim} dimensions, as the model "
                f"makes, received {rows.dimension}; run python -m trainer evaluate again"
            )
        return rows

    @cached_property
    def lookup(self) -> Lookup:
        return build_lookup(self.rows, self.config, self.attributes[1], self.encoder.fingerprint, self.run.no_match)

    @cached_property
    def queries(self) -> EvaluationQueries | None:
        return choose_queries(self.run.embeddings)

    @cached_property
    def golden(self) -> list[GoldenQuery]:
        if self.queries is None:
            return []
        if self.text_encoder is None:
            return choose_golden(self.run.items, self.queries.vectors)
        chosen = choose_golden(self.run.items, self.queries.vectors, text=self.run.text_attribute)
        vectors = self.text_encoder.encode([query.text for query in chosen])
        return [dataclasses.replace(query, text_vector=vector) for query, vector in zip(chosen, vectors, strict=True)]

    @cached_property
    def sample(self) -> dict[str, str]:
        """Id to picture of some of the queries, spread evenly: as many as verification before publishing asks with."""
        if self.queries is None:
            return {}
        ids = self.queries.table.ids[:: -(-len(self.queries.table) // _SAMPLE)]
        return {name: str(path) for name, path in self.run.pictures(ids).items()}

    def check_drift(self) -> None:
        """Measures how far the optimised encoder moved, and refuses what moved too far."""
        if self.queries is None or len(self.queries.table) < 2:
            _log.warning("the run has no test items to measure the drift with")
            return
        limits = self.config.max_drift
        rows = np.unique(np.linspace(0, len(self.queries.table) - 1, limits.pictures).astype(np.int64))
        paths = self.run.pictures(self.queries.table.ids[rows])
        rows = rows[np.isin(self.queries.table.ids[rows], list(paths))]
        table = self.queries.table.select(rows)
        embed = self.encoder.signatures()[EMBED_IMAGES]

        def embedded(places: slice) -> np.ndarray:
            contents = [paths[name].read_bytes() for name in table.ids[places].tolist()]
            return embed(image_bytes=tf.constant(contents))[EMBEDDING].numpy()

        drift = measure_drift(table.vectors, table.labels, embedded)
        if drift.mean_cosine < _SAME_MODEL:
            raise InputError(
                f"expected {self.run.embeddings} to hold what {self.run.checkpoint} makes of the pictures, received "
                f"vectors of mean cosine {drift.mean_cosine:.3f} to it; run python -m trainer evaluate again"
            )
        print(drift)
        drift.check(limits.min_cosine, limits.max_hit_rate_loss)
        self.drift = drift.as_dict()

    def write(self, folder: Path, kind: Kind, module: Any) -> Manifest:
        """Writes the SavedModel and `assets.extra` of one kind."""
        signatures = module.signatures()
        tf.saved_model.save(module, str(folder), signatures=signatures)
        named = {name: function for name, function in signatures.items() if name != SERVING_DEFAULT}
        write_golden(folder, named, self.golden, decode=self.encoder.decode)
        if self.queries is not None:
            write_evaluation(folder, self.queries, self.rows, self.config.top_k, self.run.test_metrics)
        if kind == "lookup":
            items = self.run.items
            write_catalogue(folder, self.rows, dict(zip(items[ID], items[PICTURE_SHA256], strict=True)))
        write_warmup(
            folder,
            served_name(self.config.model, kind),
            signatures,
            self.config.batching.allowed_batch_sizes,
            picture=self.golden[0].content if self.golden else self._blank(),
        )
        return self._manifest(kind, tuple(named))

    def _blank(self) -> bytes:
        size = self.encoder.image_size
        return tf.io.encode_jpeg(tf.zeros((size, size, 3), tf.uint8)).numpy()

    def _manifest(self, kind: Kind, signatures: tuple[str, ...]) -> Manifest:
        encoder, config = self.encoder, self.config
        encodes = kind in ("encoder", "search")
        table: dict[str, Any] = {"top_k": min(config.top_labels, len(encoder.labels))}
        if kind in ("lookup", "search"):
            table = table_facts(self.lookup, config)
        return Manifest(
            kind=kind,
            name=config.model,
            created=created_now(),
            libraries=library_versions(),
            target=config.target,
            signatures=signatures,
            embedding_dim=encoder.embedding_dim,
            precision=encoder.precision if encodes else config.index.dtype,
            fingerprint=encoder.fingerprint,
            preprocessing=dict(encoder.preprocessing) if encodes else {},
            labels=tuple(encoder.labels) if encodes else (),
            no_match=self.run.no_match,
            words=encoder.words_facts if encodes else {},
            drift=self.drift if encodes else {},
            evaluation=tuple(self.run.metrics),
            **table,
        )
