"""Questions to services of the Table Access Protocol (IVOA TAP 1.1), and answers as tables."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["tap_request", "votable_rows"]


def tap_request(url: str, adql: str, *, rows: int) -> tuple[str, dict[str, str]]:
    """Return address and parameters of a synchronous query for at most so many rows, as pyvo makes them."""
    from pyvo.dal import TAPQuery

    asked = TAPQuery(url, adql, mode="sync", language="ADQL", maxrec=rows)
    return str(asked.queryurl), {str(name): str(value) for name, value in asked.items()}


def votable_rows(content: bytes) -> Table:
    """Return the one table of a VOTable that was found whole and good, its columns by name."""
    from astropy.io.votable import parse_single_table

    with warnings.catch_warnings():
        # archives differ in how they spell units and versions
        warnings.simplefilter("ignore")
        return parse_single_table(io.BytesIO(content)).to_table(use_names_over_ids=True)
