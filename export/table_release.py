"""From a table on disk to a new lookup and search around an exported encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from export.attributes import choose_attributes
from export.catalogue import TABLE_FILE
from export.catalogue_changes import Change
from export.config import ExportConfig
from export.evaluation import EvaluationQueries, choose_queries, write_evaluation
from export.exported_encoder import ExportedEncoder
from export.golden import GoldenQuery, read_golden_pictures, write_golden
from export.lookup import Lookup, build_lookup
from export.manifest import created_now, library_versions, table_facts
from export.publish import link_tree
from export.release import Release, publish_release
from export.search import Search
from export.table_rows import TableRows
from export.warmup import write_warmup
from serving.contract import ASSETS_EXTRA, GOLDEN_FILE, SERVING_DEFAULT, Kind, Manifest, served_name
from trainer.data.items import LABEL
from trainer.errors import InputError
from trainer.retrieval import EmbeddingTable

__all__ = ["NewTable"]

_GOLDEN = 8
_QUERIES = 500


class NewTable:
    """Publishes a table that `export.catalogue` has written.

    Args:
        folder: of the table; its `assets.extra` becomes the lookup's.
        encoder: which embedded it.
        encoder_folder: of the encoder's version.
        config: what to publish, and how.
        examples: changes whose pictures are asked with, as golden requests.
    """

    def __init__(
        self,
        folder: Path,
        encoder: ExportedEncoder,
        encoder_folder: Path,
        config: ExportConfig,
        examples: Sequence[Change],
    ) -> None:
        self.folder, self.encoder, self.encoder_folder, self.config = folder, encoder, encoder_folder, config
        self._examples = examples
        table = folder / TABLE_FILE
        self.attributes, self.filterable = choose_attributes(table, config.attributes, config.filterable)
        self.rows = TableRows.from_parquet(table, self.attributes)

    def publish(self, exports: Path) -> Release:
        """Publishes lookup and search as the model's next version.

        Raises:
            InputError: the folder cannot be written, or the settings do not fit the table.
            VerificationError: what was made does not hold what it promises; nothing was published.
        """
        parts: dict[Kind, Callable[[Path], Manifest]] = {
            "lookup": lambda folder: self._write(folder, "lookup", self.lookup),
            "search": lambda folder: self._write(folder, "search", Search(self.encoder, self.lookup)),
        }
        config = self.config
        return publish_release(
            exports,
            config.model,
            parts,
            batching=config.batching.suited_to(config.target),
            keep=config.keep,
            labels=config.labels,
            served_from=config.served_from,
        )

    @cached_property
    def lookup(self) -> Lookup:
        """The lookup over the table."""
        return build_lookup(
            self.rows, self.config, self.filterable, self.encoder.fingerprint, self.encoder.manifest.no_match
        )

    @cached_property
    def golden(self) -> list[GoldenQuery]:
        """Half of the pictures are of the changes, the others those that the encoder was exported with."""
        news = [query for change in self._examples if (query := self._query(change)) is not None]
        there = (self.encoder_folder / GOLDEN_FILE).is_file()
        known = read_golden_pictures(self.encoder_folder) if there else []
        share = max(_GOLDEN // 2, _GOLDEN - len(known))
        return [*news[:share], *known][:_GOLDEN]

    def _query(self, change: Change) -> GoldenQuery | None:
        """A change's picture to ask with; None where a shopper could not ask with such a file."""
        path = Path(change.path)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        _, spoilt = self.encoder.embed_contents([content])
        if spoilt:
            return None
        attributes = dict(change.attributes)
        return GoldenQuery(change.id, content, path.suffix.lower(), attributes, text=attributes.get(LABEL, ""))

    def _write(self, folder: Path, kind: Kind, module: Any) -> Manifest:
        """Writes the SavedModel and `assets.extra` of one kind."""
        signatures = module.signatures()
        tf.saved_model.save(module, str(folder), signatures=signatures)
        named = {name: function for name, function in signatures.items() if name != SERVING_DEFAULT}
        write_golden(folder, named, self.golden, embed=self.encoder.embed)
        if kind == "lookup":
            link_tree(self.folder / ASSETS_EXTRA, folder / ASSETS_EXTRA)
            if (queries := self._queries()) is not None:
                write_evaluation(folder, queries, self.rows, self.config.top_k, {})
        sizes = self.config.batching.allowed_batch_sizes
        picture = self.golden[0].content if self.golden else _blank(self.encoder)
        write_warmup(folder, served_name(self.config.model, kind), signatures, sizes, picture=picture)
        return self._manifest(kind, tuple(named))

    def _queries(self) -> EvaluationQueries | None:
        """Whom to hold the lookup's answers for against an exact search: the test items, or else some of all."""
        try:
            if (tests := choose_queries(self.folder / TABLE_FILE, _QUERIES)) is not None:
                return tests
        except InputError:  # test items without a label are as good as others here
            pass
        wanted = np.unique(np.linspace(0, self.rows.count - 1, _QUERIES).round().astype(np.int64))
        ids, vectors, start = [], [], 0
        for chunk in self.rows.chunks():
            local = wanted[(wanted >= start) & (wanted < start + len(chunk))] - start
            ids.append(chunk.ids[local])
            vectors.append(chunk.vectors[local])
            start += len(chunk)
        if not start:
            return None
        names = np.concatenate(ids).astype(np.str_)
        return EvaluationQueries(EmbeddingTable(names, np.concatenate(vectors), {LABEL: names}), whole=False)

    def _manifest(self, kind: Kind, signatures: tuple[str, ...]) -> Manifest:
        encoder, config, searches = self.encoder.manifest, self.config, kind == "search"
        return Manifest(
            kind=kind,
            name=config.model,
            created=created_now(),
            libraries=library_versions(),
            target=config.target,
            signatures=signatures,
            embedding_dim=encoder.embedding_dim,
            precision=encoder.precision if searches else config.index.dtype,
            fingerprint=encoder.fingerprint,
            preprocessing=dict(encoder.preprocessing) if searches else {},
            labels=encoder.labels if searches else (),
            words=dict(encoder.words) if searches else {},
            **table_facts(self.lookup, config),
            no_match=dict(encoder.no_match),
            drift=dict(encoder.drift) if searches else {},
        )


def _blank(encoder: ExportedEncoder) -> bytes:
    size = int(encoder.manifest.preprocessing.get("image_size", 64))
    return bytes(tf.io.encode_jpeg(tf.zeros((size, size, 3), tf.uint8)).numpy())
