"""Images that are not to be searched, as the tables ``quality`` of a night say."""

from __future__ import annotations

from collections.abc import Sequence

from virtualobserver.data.handles import Handle

__all__ = ["dropped_units"]


def dropped_units(products: Sequence[Handle]) -> frozenset[str]:
    """Return the units of the images whose ``use`` is false in a table of role ``quality``; none without one."""
    return frozenset(
        str(unit)
        for one in products
        if one.info.role == "quality" and one.info.kind == "table"
        for unit, use in zip(one.load()["unit"], one.load()["use"], strict=True)
        if not use
    )
