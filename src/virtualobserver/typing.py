"""Names of types that all rooms use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Record", "RecordDict"]

Record: TypeAlias = Mapping[str, Any]
"""Values by name, to be read: the cards of a header, the facts of a product, a row, what JSON holds."""

RecordDict: TypeAlias = dict[str, Any]
"""The same, made here."""
