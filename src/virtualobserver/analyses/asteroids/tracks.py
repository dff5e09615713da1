"""The movers of a field, night by night, as the tables ``tracks`` have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.product import Aux
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.linking.paths import NightPath, path_of

__all__ = ["Night", "Track", "read_nights"]


@dataclass(frozen=True, eq=False)
class Track:
    """One mover in one night: its name there, its rows of the table in order of time, and its motion."""

    name: str
    rows: Table
    path: NightPath


@dataclass(frozen=True, eq=False)
class Night:
    """The movers of one table.

    Parameters
    ----------
    name
        Of the night.
    product
        Number of the handle.
    table
        As it was stored.
    tracks
        Its movers that have places at two times.
    """

    name: str
    product: int
    table: Table
    tracks: tuple[Track, ...]


def read_nights(products: Sequence[Handle], aux: Aux | None = None) -> list[Night]:
    """Read the tables ``tracks``, whichever method made them; what has no place on the sky is counted."""
    numbers = {id(one): number for number, one in enumerate(products)}
    nights = []
    for handle in of_kind(products, Table):
        if handle.info.role != "tracks":
            continue
        table, number = handle.load(), numbers[id(handle)]
        together = table.meta.get("method") == "stack"  # epochs of one path
        tracks = []
        for name in dict.fromkeys(table["track"].tolist()):
            rows = table.take(np.flatnonzero(table["track"] == name))
            rows = rows.take(np.argsort(rows["mjd"], kind="stable"))
            try:
                error = rows["ra_error"], rows["dec_error"]
                path = path_of(rows["mjd"], rows["ra"], rows["dec"], error, together=together)
            except NotEnoughData:
                if aux is not None:
                    aux.note("movers without places and errors at two times")
                continue
            tracks.append(Track(str(name), rows, path))
        nights.append(Night(handle.info.unit or f"night {number + 1}", number, table, tuple(tracks)))
    return nights
