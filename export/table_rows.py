"""The rows of an embedding table, read in chunks: what a lookup is filled from, however large the catalogue is."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.data.items import ID
from trainer.errors import InputError
from trainer.files import atomic_path
from trainer.retrieval.table import VECTOR

__all__ = ["TableChunk", "TableRows", "column_names"]

CHUNK = 8192


@dataclass(frozen=True, eq=False)
class TableChunk:
    """Some rows that follow each other.

    Args:
        ids: `[n]` strings, NumPy's `object` dtype.
        vectors: float32 `[n, D]`.
        attributes: name to `[n]` strings, NumPy's `object` dtype.
    """

    ids: np.ndarray
    vectors: np.ndarray
    attributes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, mask_or_rows: np.ndarray) -> TableChunk:
        """Some of the rows: `[n]` booleans, or row numbers."""
        return TableChunk(
            self.ids[mask_or_rows],
            self.vectors[mask_or_rows],
            {name: values[mask_or_rows] for name, values in self.attributes.items()},
        )


class TableRows:
    """A catalogue's rows, readable again and again, a chunk at a time; all in memory only if they come from there.

    Args:
        count: N, the number of rows; may be 0.
        dimension: D, the length of every vector.
        attribute_names: of the attributes that every chunk has.
        read: begins a new pass over the rows.
    """

    def __init__(
        self, count: int, dimension: int, attribute_names: Sequence[str], read: Callable[[], Iterator[TableChunk]]
    ) -> None:
        self.count, self.dimension, self.attribute_names = count, dimension, tuple(attribute_names)
        self._read = read

    def __len__(self) -> int:
        return self.count

    def chunks(self) -> Iterator[TableChunk]:
        """The rows in order, some thousand at a time.

        Raises:
            InputError: the rows are no longer what they were when this was made.
        """
        seen = 0
        for chunk in self._read():
            seen += len(chunk)
            yield chunk
        if seen != self.count:
            raise InputError(
                f"expected {self.count} rows, received {seen}: the table has changed while it was read; start again"
            )

    @classmethod
    def from_parquet(
        cls,
        path: str | os.PathLike[str],
        attributes: Sequence[str],
        *,
        where: Callable[[TableChunk], np.ndarray] | None = None,
    ) -> TableRows:
        """Rows of what `EmbeddingTable.write_parquet` or `TableRows.write_parquet` wrote.

        Args:
            path: the file.
            attributes: columns to read beside ids and vectors; of any type, they become text; what is missing becomes
                the empty text.
            where: tells which rows of a chunk to keep, as `[n]` booleans; None keeps all. The file is then read once
                more, to count them.

        Raises:
            InputError: the file is missing, is no such table, or lacks a column.
        """
        with _opened(path) as file:
            dimension = _dimension(path, file.schema_arrow, attributes)
            count = file.metadata.num_rows

        def read() -> Iterator[TableChunk]:
            for chunk in _read_parquet(path, dimension, attributes):
                yield chunk if where is None else chunk.select(np.asarray(where(chunk), dtype=bool))

        if where is not None:
            count = sum(len(chunk) for chunk in read())
        return cls(count, dimension, attributes, read)

    @classmethod
    def from_arrays(
        cls, ids: Sequence[str] | np.ndarray, vectors: np.ndarray, attributes: Mapping[str, Sequence[str] | np.ndarray]
    ) -> TableRows:
        """Rows that are in memory.

        Args:
            ids: `[N]` strings.
            vectors: `[N, D]` numbers.
            attributes: name to `[N]` strings, numbers or booleans; they become text.

        Raises:
            InputError: a shape does not fit.
        """
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype.kind not in "fiu":
            raise InputError(
                f"expected vectors as numbers [N, D], D at least 1, received {vectors.dtype} of shape {vectors.shape}"
            )
        columns = {name: _column(values) for name, values in {ID: ids, **attributes}.items()}
        for name, values in columns.items():
            if len(values) != len(vectors):
                raise InputError(f"expected one {name!r} for each of {len(vectors)} vectors, received {len(values)}")

        def read() -> Iterator[TableChunk]:
            for start in range(0, len(vectors), CHUNK):
                part = slice(start, start + CHUNK)
                texts = {name: _texts(values.slice(start, CHUNK)) for name, values in columns.items()}
                yield TableChunk(texts.pop(ID), np.asarray(vectors[part], dtype=np.float32), texts)

        return cls(len(vectors), int(vectors.shape[1]), tuple(attributes), read)

    def fingerprint(self) -> str:
        """SHA-256 over ids, vectors and attributes: the same for the same rows in the same order, wherever they lie.

        Returns:
            64 hexadecimal digits.
        """
        digest = hashlib.sha256(repr((self.dimension, self.attribute_names)).encode())
        for chunk in self.chunks():
            # Row by row, so that it does not depend on where the chunks end.
            texts = [chunk.ids, *(chunk.attributes[name] for name in self.attribute_names)]
            vectors = np.ascontiguousarray(chunk.vectors, dtype="<f4")
            for row, vector in zip(zip(*texts, strict=True), vectors, strict=True):
                for text in row:
                    content = text.encode()
                    digest.update(len(content).to_bytes(8, "little") + content)
                digest.update(vector)
        return digest.hexdigest()

    def write_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Writes the rows as Parquet, a chunk at a time and in one step, as `from_parquet` reads them.

        The columns are `id` (string), `vector` (fixed-size list of D float32), then the attributes (string).

        Raises:
            InputError: the file cannot be written.
        """
        schema = pa.schema(
            [
                pa.field(ID, pa.string(), nullable=False),
                pa.field(VECTOR, pa.list_(pa.float32(), self.dimension), nullable=False),
                *(pa.field(name, pa.string(), nullable=False) for name in self.attribute_names),
            ]
        )
        with (
            atomic_path(path) as aside,
            pq.ParquetWriter(aside, schema, use_dictionary=list(self.attribute_names)) as out,
        ):
            for chunk in self.chunks():
                flat = pa.array(np.ascontiguousarray(chunk.vectors, dtype=np.float32).reshape(-1))
                arrays = [pa.array(chunk.ids, pa.string()), pa.FixedSizeListArray.from_arrays(flat, self.dimension)]
                arrays += [pa.array(chunk.attributes[name], pa.string()) for name in self.attribute_names]
                out.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        return Path(path)


def column_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of a Parquet file's columns.

    Raises:
        InputError: the file is missing, or is none.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def _opened(path: str | os.PathLike[str]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"expected an embedding table (Parquet) at {path}, received: {reason}; run python -m trainer evaluate"
        ) from error


def _dimension(path: str | os.PathLike[str], schema: pa.Schema, attributes: Sequence[str]) -> int:
    missing = [name for name in (ID, VECTOR, *attributes) if name not in schema.names]
    if missing:
        raise InputError(f"{path}: expected the columns {[ID, VECTOR, *attributes]}, it lacks {missing}; write it anew")
    kind = schema.field(VECTOR).type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise InputError(f"{path}: expected {VECTOR!r} as a fixed-size list of float32, received {kind}; write it anew")
    return int(kind.list_size)


def _read_parquet(path: str | os.PathLike[str], dimension: int, attributes: Sequence[str]) -> Iterator[TableChunk]:
    with _opened(path) as file:
        try:
            columns = [ID, VECTOR, *attributes]
            # A row group at a time: asked for all at once, Arrow 26 reads ahead without end.
            groups = range(file.metadata.num_row_groups)
            batches = (file.iter_batches(CHUNK, row_groups=[group], columns=columns) for group in groups)
            for batch in itertools.chain.from_iterable(batches):
                vectors = batch.column(VECTOR).flatten().to_numpy(zero_copy_only=False)
                if len(vectors) != batch.num_rows * dimension:
                    raise InputError(f"{path}: expected a vector in every row, received none in some; write it anew")
                yield TableChunk(
                    _texts(batch.column(ID)),
                    vectors.astype(np.float32, copy=False).reshape(-1, dimension),
                    {name: _texts(batch.column(name)) for name in attributes},
                )
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}; write it anew") from error


def _column(values: Sequence[str] | np.ndarray) -> pa.Array:
    """`values` as Arrow text, which takes far less memory than Python's strings; missing ones are null."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"expected a list of texts, received shape {array.shape}")
    if array.dtype.kind not in "OU":
        return pa.array(array).cast(pa.string())
    try:
        return pa.array(array.astype(object), from_pandas=True).cast(pa.large_string())
    except pa.ArrowException as error:
        raise InputError(f"expected texts, received: {str(error).splitlines()[0]}; convert them to text") from error


def _texts(column: pa.Array) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return np.asarray(pc.fill_null(column.cast(pa.large_string()), "").to_numpy(zero_copy_only=False), dtype=object)
