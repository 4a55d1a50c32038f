"""NumPy's part of a pickle, rebuilt with its sizes checked.

NumPy trusts a pickle: one that names a data type of objects, then takes that type's flags away, makes NumPy follow any
eight bytes of the file as a pointer. So nothing here lets a pickle change a data type, or an array that has data.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np

__all__ = ["array_from_buffer", "build_array", "build_dtype", "empty_array", "make_dtype", "make_scalar"]

_PLAIN_TYPES = re.compile(r"[biufcSUmMO?][0-9]{0,9}")


def make_dtype(code: object, align: object = False, copy: object = False) -> np.dtype[Any]:
    """A data type of its own by its code, as `numpy.dtype` in a pickle; no structured one, which tables do not hold."""
    if not isinstance(code, str) or not _PLAIN_TYPES.fullmatch(code):
        raise pickle.UnpicklingError(f"numpy.dtype of {code!r}")
    return np.dtype(code, copy=True)


def build_dtype(dtype: np.dtype[Any], state: object) -> None:
    """What a pickle says of a data type besides its code: the byte order, and the unit of a time."""
    if not isinstance(state, tuple) or len(state) < 3 or state[1] not in ("|", "=", "<") or state[2] is not None:
        raise pickle.UnpicklingError(f"numpy.dtype {dtype} with the state {state!r}")
    if dtype.kind not in "mM":
        return
    unit = state[8][1] if len(state) == 9 and isinstance(state[8], tuple) and len(state[8]) == 2 else None
    if np.datetime_data(dtype)[0] != "generic" or not isinstance(unit, tuple) or len(unit) != 4:
        raise pickle.UnpicklingError(f"numpy.dtype {dtype} with the state {state!r}")
    dtype.__setstate__((4, "<", None, None, None, -1, -1, 0, (None, unit)))  # type: ignore[attr-defined]


def empty_array(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
    """The empty array that a pickle starts with; `build_array` fills it."""
    return np.empty(0, np.int8)


def build_array(array: np.ndarray[Any, Any], state: object) -> None:
    """Gives an empty array its shape, type and data, once; NumPy holds them against each other."""
    if array.size:
        raise pickle.UnpicklingError("a NumPy array built twice")
    array.__setstate__(state)  # type: ignore[arg-type]


def array_from_buffer(buffer: object, dtype: object, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """An array around bytes of the pickle."""
    if not isinstance(buffer, bytes | bytearray) or not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError(f"a NumPy array of {dtype} around {type(buffer).__name__}")
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def make_scalar(dtype: object, data: object) -> Any:
    """One number, text or time."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, bytes):
        raise pickle.UnpicklingError(f"a NumPy scalar of {dtype}")
    (value,) = np.frombuffer(data, dtype)
    return value
