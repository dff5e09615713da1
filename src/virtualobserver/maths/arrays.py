"""Names of the types of arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Array"]

Array: TypeAlias = NDArray[Any]
"""Values of any type: of a column, of a plane as a file has it."""
