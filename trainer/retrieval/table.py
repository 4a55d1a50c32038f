"""The embedding table: what a trained model says about every picture of a catalogue."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.items import ID, LABEL
from trainer.errors import InputError
from trainer.files import atomic_path

__all__ = ["VECTOR", "EmbeddingTable"]

VECTOR = "vector"
ROW_GROUP = 8192


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Ids, vectors and attributes of N pictures, row by row. A frozen value: its arrays cannot be written to.

    It is checked once, here, and trusted by everything that reads it.

    Args:
        ids: `[N]` strings, none empty, none twice.
        vectors: `[N, D]` finite numbers, kept as float32. They need not have unit length.
        attributes: name to `[N]` strings, booleans or numbers. `label` must be there, as strings, none empty. Others
            are kept as given (`split`, `predicted_label`, `image_path`, ...); a missing string becomes `""`.

    Raises:
        InputError: a length differs, a value is not finite, an id is there twice, a type is not known, or N or D is 0.
    """

    ids: np.ndarray
    vectors: np.ndarray
    attributes: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        ids = _strings(ID, self.ids, required=True)
        vectors = _vectors(self.vectors, len(ids))
        if LABEL not in self.attributes:
            raise InputError(
                f"expected an embedding table with the attribute {LABEL!r}, received {sorted(self.attributes)}; "
                f"give the {LABEL} of every row"
            )
        attributes = {name: _attribute(name, values, len(ids)) for name, values in self.attributes.items()}
        _check_unique(ids)
        object.__setattr__(self, "ids", _locked(ids))
        object.__setattr__(self, "vectors", _locked(vectors))
        object.__setattr__(self, "attributes", {name: _locked(values) for name, values in attributes.items()})

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """D, the length of one vector."""
        return int(self.vectors.shape[1])

    @property
    def labels(self) -> np.ndarray:
        """`[N]` strings: the attribute `label`."""
        return self.attributes[LABEL]

    def select(self, mask_or_rows: np.ndarray) -> EmbeddingTable:
        """A new table of some of the rows.

        Args:
            mask_or_rows: `[N]` booleans, or `[M]` integers in `[0, N)` in the order wanted, none twice.

        Raises:
            InputError: the mask has another length, a row does not exist or is there twice, or nothing is selected.
        """
        chosen = np.asarray(mask_or_rows)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise InputError(f"expected a mask of {len(self)} rows, received one of shape {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise InputError(f"expected rows as one list of integers, received {chosen.dtype} of shape {chosen.shape}")
        if chosen.size == 0:
            raise InputError(f"expected at least one of the {len(self)} rows to be selected, received none")
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise InputError(f"expected rows from 0 to {len(self) - 1}, received {chosen.min()} to {chosen.max()}")
        return EmbeddingTable(
            ids=self.ids[chosen],
            vectors=self.vectors[chosen],
            attributes={name: values[chosen] for name, values in self.attributes.items()},
        )

    def write_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Writes the table as Parquet, a row group at a time and in one step (see `trainer.files.atomic_path`).

        The columns are `id` (string), `vector` (fixed-size list of D float32), then the attributes. What `read_parquet`
        gives back is the same to the last bit.

        Args:
            path: the file to write.

        Returns:
            The path.

        Raises:
            InputError: the file cannot be written.
        """
        with atomic_path(path) as aside, pq.ParquetWriter(aside, self._schema(), use_dictionary=[*self._text()]) as out:
            for start in range(0, len(self), ROW_GROUP):
                out.write_batch(self._batch(slice(start, start + ROW_GROUP)))
        return Path(path)

    @classmethod
    def read_parquet(cls, path: str | os.PathLike[str]) -> EmbeddingTable:
        """Reads what `write_parquet` wrote, a row group at a time: the peak is the table and one row group.

        Args:
            path: the file to read.

        Raises:
            InputError: the file is missing, is not Parquet, or is not an embedding table.
        """
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                dimension = _dimension(path, file.schema_arrow)
                size = file.metadata.num_rows
                vectors = np.empty((size, dimension), dtype=np.float32)
                columns: dict[str, list[np.ndarray]] = {n: [] for n in file.schema_arrow.names if n != VECTOR}
                start = 0
                for batch in file.iter_batches(batch_size=ROW_GROUP):
                    stop = start + batch.num_rows
                    vectors[start:stop] = batch.column(VECTOR).flatten().to_numpy().reshape(-1, dimension)
                    for name, parts in columns.items():
                        parts.append(_numpy(batch.column(name)))
                    start = stop
        except (OSError, pa.ArrowException, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"expected an embedding table (Parquet) at {path}, received: {reason}; write it anew"
            ) from error
        attributes = {name: _joined(parts) for name, parts in columns.items()}
        return cls(ids=attributes.pop(ID), vectors=vectors, attributes=attributes)

    def _text(self) -> list[str]:
        return [name for name, values in self.attributes.items() if values.dtype.kind == "U"]

    def _schema(self) -> pa.Schema:
        vector = pa.list_(pa.float32(), self.dimension)
        fields = [pa.field(ID, pa.string(), nullable=False), pa.field(VECTOR, vector, nullable=False)]
        for name, values in self.attributes.items():
            kind = pa.string() if values.dtype.kind == "U" else pa.from_numpy_dtype(values.dtype)
            fields.append(pa.field(name, kind, nullable=False))
        return pa.schema(fields)

    def _batch(self, rows: slice) -> pa.RecordBatch:
        schema = self._schema()
        flat = pa.array(self.vectors[rows].reshape(-1))
        arrays: list[Any] = [pa.array(self.ids[rows]), pa.FixedSizeListArray.from_arrays(flat, self.dimension)]
        arrays += [pa.array(values[rows]) for values in self.attributes.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _locked(values: np.ndarray) -> np.ndarray:
    """A view that cannot be written to; the caller's own array keeps its flags."""
    view = values.view()
    view.flags.writeable = False
    return view


def _vectors(given: Any, rows: int) -> np.ndarray:
    vectors = np.asarray(given)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InputError(
            f"expected vectors as numbers of shape [N, D], received {vectors.dtype} of shape {vectors.shape}; "
            "give one row of numbers for every id"
        )
    if vectors.shape[0] != rows:
        raise InputError(f"expected one vector for each of the {rows} ids, received {vectors.shape[0]}")
    if rows == 0 or vectors.shape[1] == 0:
        raise InputError(
            f"expected at least one row and one dimension, received vectors of shape {vectors.shape}; "
            "check that the split or the selection is not empty"
        )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    for start in range(0, rows, ROW_GROUP):
        broken = ~np.isfinite(vectors[start : start + ROW_GROUP]).all(axis=1)
        if broken.any():
            raise InputError(
                f"expected finite vectors, received NaN or infinity in row {start + int(broken.argmax())}; the "
                "model has diverged or the file is damaged"
            )
    return vectors


def _attribute(name: str, values: Any, rows: int) -> np.ndarray:
    if name in (ID, VECTOR):
        raise InputError(f"expected attributes beside {ID!r} and {VECTOR!r}, received one named {name!r}; rename it")
    array = np.asarray(values)
    array = array if array.dtype.kind in "biuf" else _strings(name, values, required=name == LABEL)
    if name == LABEL and array.dtype.kind != "U":
        raise InputError(f"expected {LABEL!r} as strings, received {array.dtype}; convert them to text")
    if array.shape != (rows,):
        raise InputError(f"expected {rows} values of {name!r}, one for each id, received shape {array.shape}")
    return np.ascontiguousarray(array)


def _strings(name: str, values: Any, required: bool) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"expected {name!r} as a list of strings, received shape {array.shape}")
    if array.dtype.kind != "U":
        if array.dtype.kind not in "OT" and array.size:
            raise InputError(f"expected {name!r} as strings, received {array.dtype}; convert them to text")
        array = np.array([_string(name, value) for value in array.tolist()], dtype=np.str_)
    if required and (array == "").any():
        row = int((array == "").argmax())
        raise InputError(f"expected {name!r} for every row, received none in row {row}; fill it or drop the row")
    return array


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    missing = value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))
    if not missing:
        raise InputError(
            f"expected {name!r} as strings or as numbers of one type, received {value!r}; convert them to text"
        )
    return ""


def _check_unique(ids: np.ndarray) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        twice = values[counts > 1]
        raise InputError(
            f"expected every id once, received {len(twice)} of them more than once, such as {str(twice[0])!r}; "
            "drop the rows that repeat"
        )


def _dimension(path: str | os.PathLike[str], schema: pa.Schema) -> int:
    missing = [name for name in (ID, VECTOR) if name not in schema.names]
    if missing:
        raise InputError(
            f"expected the columns {ID!r} and {VECTOR!r} in {path}, received {schema.names}; write it anew"
        )
    kind = schema.field(VECTOR).type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise InputError(
            f"expected {VECTOR!r} in {path} as a fixed-size list of float32, received {kind}; write it anew"
        )
    return int(kind.list_size)


def _numpy(column: pa.Array) -> np.ndarray:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(["" if value is None else value for value in column.to_pylist()], dtype=np.str_)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.str_)
