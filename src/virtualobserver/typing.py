"""Names of types that all rooms use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["QueryRow", "Record", "RecordDict", "Value"]

Value: TypeAlias = Any
"""One plain value, whose kind is known only when it is there: of a setting, a header card, a cell of a table."""

Record: TypeAlias = Mapping[str, Value]
"""Values by name, to be read: the cards of a header, the facts of a product, a row, what JSON holds."""

RecordDict: TypeAlias = dict[str, Value]
"""The same, made here."""

QueryRow: TypeAlias = Any
"""A row that the database answers, its columns as attributes."""
