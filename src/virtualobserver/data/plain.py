"""Values in the plain form that JSON can hold, in which they are stored and hashed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Final

import numpy as np

from virtualobserver.typing import Value

__all__ = ["finite", "plain"]


_PLAIN: Final = frozenset({str, int, bool})


def finite(value: object) -> Value:
    """Return a number, or None for one that is NaN or infinite; anything else as it is.

    NumPy's numbers become those of Python.
    """
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: object, *, strict: bool = False) -> Value:
    """Return a value fit for JSON: NumPy's values and arrays as Python's, NaN and infinities as None.

    Mappings get keys of text; sets and tuples become lists; dates and paths text.

    Parameters
    ----------
    strict
        Refuse what JSON cannot hold instead of handing it on.

    Raises
    ------
    TypeError
        With `strict`, for anything else.
    """
    # most values are plain already, a hundred for each source
    if value is None or type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    value = finite(value)
    if isinstance(value, Mapping):
        return {_key(name): plain(item, strict=strict) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, strict=strict) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if strict and not (value is None or isinstance(value, str | int | float)):
        msg = f"a value of type {type(value).__name__} is not fit for JSON: {value!r:.80}"
        raise TypeError(msg)
    return value


def _key(name: object) -> str:
    return str(name.item() if isinstance(name, np.generic) else name)
