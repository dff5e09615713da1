"""Images that are not to be searched, as the tables ``quality`` of a night say."""

from __future__ import annotations

from collections.abc import Sequence

from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.table import Table

__all__ = ["dropped_units"]


def dropped_units(products: Sequence[Handle]) -> frozenset[str]:
    """Return the units of the images whose ``use`` is false in a table of role ``quality``; none without one."""
    return frozenset(
        str(unit)
        for one in of_kind(products, Table)
        if one.info.role == "quality"
        for unit, use in zip(one.load()["unit"], one.load()["use"], strict=True)
        if not use
    )
