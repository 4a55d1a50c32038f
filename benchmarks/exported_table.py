"""Writes EXPORTS/fused_lookup/1 of a random table, as the exporter does; the child of `benchmarks.serving`.

python -m benchmarks.exported_table --rows 1000 --out /tmp/exports
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import numpy as np
import tensorflow as tf

from benchmarks.exported_lookup import unit
from export.config import BatchingConfig, IndexConfig
from export.index import build_index
from export.lookup import Lookup
from export.manifest import created_now, library_versions, write_manifest
from export.model_config import write_batching
from export.table_rows import TableRows
from export.warmup import write_warmup
from serving.contract import Manifest, served_name

NAME, FINGERPRINT = "fused", "benchmark"


def write_table(out: Path, rows: int, dimension: int, top_k: int) -> Path:
    """Writes the version, with two attributes, one to filter by."""
    draw = np.random.default_rng(0)
    vectors = unit(draw.standard_normal((rows, dimension), dtype=np.float32))
    attributes = {
        "gender": draw.choice(["Men", "Women", "Unisex"], rows),
        "articleType": np.char.add("type ", draw.integers(0, 140, rows).astype(str)),
    }
    table = TableRows.from_arrays(np.arange(rows).astype(str), vectors, attributes)
    index = build_index(IndexConfig())
    index.index(table)
    lookup = Lookup(
        table,
        index,
        top_k=top_k,
        filterable=("gender",),
        fingerprint=FINGERPRINT,
        table_fingerprint=table.fingerprint(),
    )
    name, batching = served_name(NAME, "lookup"), BatchingConfig().suited_to("cpu")
    folder, signatures = out / name / "1", lookup.signatures()
    tf.saved_model.save(lookup, str(folder), signatures=signatures)
    write_warmup(folder, name, signatures, batching.allowed_batch_sizes)
    write_batching(folder, batching, pool=NAME)
    manifest = Manifest(
        kind="lookup",
        name=NAME,
        created=created_now(),
        libraries=library_versions(),
        target="cpu",
        signatures=tuple(signatures),
        embedding_dim=dimension,
        precision="float32",
        fingerprint=FINGERPRINT,
        table_fingerprint=lookup.table_fingerprint,
        item_count=rows,
        top_k=top_k,
        attributes=lookup.attributes,
        filterable=lookup.filterable,
    )
    write_manifest(folder, manifest)
    return folder


def main() -> int:
    """Writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--top-k", type=int, default=50, help="matches that an answer holds")
    parser.add_argument("--out", type=Path, required=True, help="folder of exported models")
    options = parser.parse_args()
    print(write_table(options.out, options.rows, options.dimension, options.top_k))
    return 0


if __name__ == "__main__":
    sys.exit(main())
