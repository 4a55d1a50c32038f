"""Reading pickles that somebody else wrote without running what they hold.

A pickle is a program: it may import any function and call it. The reader here imports from a list only, and that list
holds plain containers and the data classes of NumPy, pandas and pyarrow. The list is matched on the exact pair of
module and name, so that no dotted name reaches from an admitted object to another one. Objects are rebuilt, never
classes or functions changed, and NumPy's own part is checked (see `numpy_pickles`).
"""

from __future__ import annotations

import inspect
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.numpy_pickles import (
    array_from_buffer,
    build_array,
    build_dtype,
    empty_array,
    make_dtype,
    make_scalar,
)
from trainer.errors import InputError

__all__ = ["load_pickle"]

# Python 2's names, which protocols 0 to 2 write, and NumPy 1's.
_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_INTEGERS = ("Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype")
_UNSIGNED = ("UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype")
_NUMBERS = (*_INTEGERS, *_UNSIGNED, "Float32Dtype", "Float64Dtype", "BooleanDtype")
_DTYPES = (*_NUMBERS, "CategoricalDtype", "StringDtype")
_INDEXES = ("DatetimeIndex", "Index", "MultiIndex", "RangeIndex")
_STRINGS = ("ArrowStringArray", "ArrowStringArrayNumpySemantics", "StringArray")
_CONTAINERS = ("bytearray", "bytes", "dict", "frozenset", "list", "range", "set", "slice", "tuple")
_ADMITTED: dict[str, tuple[str, ...]] = {
    "builtins": (*_CONTAINERS, "bool", "complex", "float", "int", "object", "str"),
    "collections": ("OrderedDict",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "pandas": (*_DTYPES, *_INDEXES, "Categorical", "DataFrame", "NA", "Series"),
    "pandas._libs.arrays": ("__pyx_unpickle_NDArrayBacked",),
    "pandas._libs.internals": ("_unpickle_block",),
    "pandas._libs.missing": ("NA", "_NA_pickle_workaround"),
    "pandas._libs.tslibs.nattype": ("_nat_unpickle",),
    "pandas._libs.tslibs.timedeltas": ("_timedelta_unpickle",),
    "pandas._libs.tslibs.timestamps": ("_unpickle_timestamp",),
    "pandas.arrays": (*_STRINGS, "BooleanArray", "DatetimeArray", "FloatingArray", "IntegerArray"),
    "pandas.core.arrays.boolean": ("BooleanArray", "BooleanDtype"),
    "pandas.core.arrays.categorical": ("Categorical",),
    "pandas.core.arrays.datetimes": ("DatetimeArray",),
    "pandas.core.arrays.floating": ("Float32Dtype", "Float64Dtype", "FloatingArray"),
    "pandas.core.arrays.integer": (*_INTEGERS, *_UNSIGNED, "IntegerArray"),
    "pandas.core.arrays.string_": ("StringArray", "StringDtype"),
    "pandas.core.arrays.string_arrow": ("ArrowStringArray", "ArrowStringArrayNumpySemantics"),
    "pandas.core.dtypes.dtypes": ("CategoricalDtype",),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.indexes.base": ("Index", "_new_Index"),
    "pandas.core.indexes.datetimes": ("DatetimeIndex", "_new_DatetimeIndex"),
    "pandas.core.indexes.multi": ("MultiIndex",),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.internals.managers": ("BlockManager", "SingleBlockManager"),
    "pandas.core.series": ("Series",),
    "pyarrow.lib": ("chunked_array", "py_buffer", "type_for_alias"),
}


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What `_codecs.encode` is for in a pickle of protocol 2 or less: bytes as text. No other codec is needed."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode with the codec {encoding!r}")
    return text.encode("latin1")


def _reconstructor(kind: type, base: type, state: object) -> object:
    """What protocols 0 and 1 make objects with; `kind` came through the list. A base with its own state is refused."""
    if base is not object or state is not None:
        raise pickle.UnpicklingError(f"copyreg._reconstructor of {kind!r} on {base!r}")
    return object.__new__(kind)


def _restore_array(data: Any) -> Any:
    """An Arrow array whose buffers are as long as its length says: reading another one would leave its memory."""
    import pyarrow as pa

    array = pa.lib._restore_array(data)
    array.validate(full=True)
    return array


class _NumpyArray:
    """Stands for `numpy.ndarray`, which a pickle names only to hand it to `_reconstruct`."""


_STAND_INS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("numpy", "dtype"): make_dtype,
    ("numpy", "ndarray"): _NumpyArray,
    ("numpy._core.multiarray", "_reconstruct"): empty_array,
    ("numpy._core.multiarray", "scalar"): make_scalar,
    ("numpy._core.numeric", "_frombuffer"): array_from_buffer,
    ("pyarrow.lib", "_restore_array"): _restore_array,
}


class _RefusedError(Exception):
    """A pickle asked for something outside the list."""


# The unpickler in Python, as pandas.read_pickle has it: the one in C does not let us see what BUILD changes.
_PythonUnpickler: Any = vars(pickle)["_Unpickler"]


class _DataUnpickler(_PythonUnpickler):
    dispatch = _PythonUnpickler.dispatch.copy()

    def find_class(self, module: str, name: str) -> Any:
        module = _RENAMED.get(module, module)
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if name not in _ADMITTED.get(module, ()):
            raise _RefusedError(f"{module}.{name}")
        return super().find_class(module, name)

    def load_build(self) -> None:
        target = self.stack[-2]
        if isinstance(target, np.dtype):
            build_dtype(target, self.stack.pop())
        elif isinstance(target, np.ndarray):
            build_array(target, self.stack.pop())
        elif isinstance(target, type) or inspect.isroutine(target):
            raise _RefusedError(f"a change of {getattr(target, '__name__', target)}")  # would last beyond this pickle
        else:
            super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle that holds data only: containers, numbers, text, dates, NumPy arrays, pandas tables.

    Args:
        path: the file. Pickles of pandas 2 and 3 and of NumPy 1 and 2 are read.

    Returns:
        What the pickle holds.

    Raises:
        InputError: the file is missing or torn, or it asks for anything else; the message names what.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            return _DataUnpickler(file, fix_imports=False).load()
    except _RefusedError as error:
        raise InputError(
            f"expected a pickle of plain, NumPy or pandas data in {path}, it asks for {error}, which is refused since "
            "a pickle can run anything; save the table as Parquet or CSV instead"
        ) from None
    except OSError as error:
        raise InputError(f"expected a readable pickle at {path}: {error.strerror or error}; check the path") from error
    except Exception as error:  # a torn or hostile pickle may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"expected a pickle of plain, NumPy or pandas data in {path}, it cannot be read ({reason}); "
            "save the table as Parquet or CSV instead"
        ) from error
