"""What a column means, by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from virtualobserver.columns.column import Column, of
from virtualobserver.columns.obscore import OBSCORE
from virtualobserver.columns.ours import ELSEWHERE, GROUPS
from virtualobserver.conventions import NO_FILTER

__all__ = ["COLUMNS", "band_words", "describe", "find", "units_of"]

COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        **{column.name: column for group in GROUPS for column in group},
        **ELSEWHERE,
        **{f"obscore.{column.name}": column for column in OBSCORE},
    }
)
"""Every column by name, or by ``table.column`` where one table differs."""

# Columns whose names hold a number: the radius of the aperture in pixels.
_FAMILIES: Final = (
    (
        re.compile("flux_error_seeing"),
        of(
            "",
            "electron",
            "stat.error;phot.count",
            "Error of the light in an aperture as wide as the stars ask for",
        ),
    ),
    (
        re.compile("flux_seeing"),
        of("", "electron", "phot.count", "Light in an aperture as wide as the stars ask for"),
    ),
    (
        re.compile(r"flux_error_\d+(\.\d+)?"),
        of(
            "",
            "electron",
            "stat.error;phot.count",
            "Error of the light in an aperture of that radius in pixels",
        ),
    ),
    (
        re.compile(r"flux_\d+(\.\d+)?"),
        of("", "electron", "phot.count", "Light in an aperture of that radius in pixels"),
    ),
)
# What a column of fluxes is if its unit is one of counts.
_COUNTS: Final = frozenset({"electron", "adu", "ct", "count", "photon", "DN", "electron / s", "adu / s"})


def find(name: str, table: str = "") -> Column | None:
    """Return what is known of a column, or None.

    Parameters
    ----------
    name
        Its name.
    table
        Name of its table or view, if known: ``obscore``, ``efficiency``, ``epochs`` (of spectra) ...
    """
    if (found := COLUMNS.get(f"{table}.{name}") or COLUMNS.get(name)) is not None:
        return found
    for pattern, column in _FAMILIES:
        if pattern.fullmatch(name):
            return replace(column, name=name)
    return None


def describe(name: str, *, table: str = "", unit: str | None = None) -> Column:
    """Return what a column holds; nothing but its name where it is not ours.

    Parameters
    ----------
    name, table
        As in `find`.
    unit
        Its unit where the table itself says so, which goes before ours.
    """
    column = find(name, table) or Column(name)
    if unit is None or unit == column.unit:
        return column
    if unit in _COUNTS:
        column = replace(column, ucd=column.ucd.replace("phot.flux.density", "phot.count"))
    return replace(column, unit=unit)


def units_of(names: Iterable[str], *, table: str = "") -> dict[str, str]:
    """Return the units of those of the columns that are known and have one."""
    return {name: column.unit for name in names if (column := find(name, table)) and column.unit}


def band_words(band: str) -> str:
    """Return a band as people read it: where there was no filter, that."""
    return "no filter" if band == NO_FILTER else band
