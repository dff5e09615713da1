"""Recognising, cleaning and checking the columns of a catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.units import without_unit
from virtualobserver.columns import out_of_range
from virtualobserver.config.log import get_logger
from virtualobserver.conventions import LEFT_OUT
from virtualobserver.errors import CatalogError
from virtualobserver.typing import Value

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BETWEEN",
    "STARS",
    "TARGETS",
    "check_epochs",
    "check_extra",
    "check_kinds",
    "check_numbers",
    "check_positions",
    "clean_frame",
    "default_epoch",
    "from_zero",
    "gaia_release",
    "map_columns",
    "namespace_of",
    "native",
    "possible",
    "read_names",
    "tell_values",
    "whole_numbers",
]

_log = get_logger(__name__)
KINDS: Final = ("object", "field", "moving", "instrument")
"""What a source can be, as the database has it."""
_TOLD: Final = "told of its kinds"
"""Fact of a frame whose column ``kind`` was said to be another one, so that its parts do not say it again."""
BETWEEN: Final = "|"
"""Between several names of one source in one cell, as CDS writes them."""

# Usual names of each column, best first; compared without regard to case, and to a unit at the end of the name.
_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "name": (
        "name", "source_id", "object_id", "objectid", "wdj_name", "designation", "source", "gaiaedr3", "id",
    ),
    "source_id": ("source_id", "source", "gaiaedr3", "gaia", "objid"),
    "ra": ("ra", "ra_icrs", "objra", "ra_deg", "radeg", "raj2000", "_raj2000", "ramean"),
    "dec": ("dec", "de_icrs", "objdec", "dec_deg", "dedeg", "dej2000", "_dej2000", "decmean"),
    "pmra": ("pmra", "pm_ra"),
    "pmdec": ("pmdec", "pm_dec", "pmde"),
    "parallax": ("parallax", "plx"),
    "parallax_error": ("parallax_error", "e_plx"),
    "ra_error": ("ra_error", "e_ra_icrs", "e_radeg"),
    "dec_error": ("dec_error", "e_de_icrs", "e_dedeg"),
    "radial_velocity": ("radial_velocity", "rv", "radvel", "vcr"),
    "mag": ("mag", "phot_g_mean_mag", "gmag", "vtmag", "vmag", "magnitude"),
    "mag_error": ("mag_error", "magerr", "mag_err", "e_mag", "phot_g_mean_mag_error", "e_gmag", "e_vmag"),
    "mag_band": ("mag_band", "filter", "band"),
    "bp_rp": ("bp_rp", "bp-rp"),
    "g_rp": ("g_rp", "g-rp"),
    "alias": ("alias",),
    "kind": ("kind",),
    "epoch": ("ref_epoch", "epoch"),
}  # fmt: skip
TARGETS: Final = (
    "name", "ra", "dec", "pmra", "pmdec", "parallax", "radial_velocity", "mag", "mag_error", "mag_band", "alias",
    "kind", "epoch",
)  # fmt: skip
"""What a target list may have; the first three it must have."""
NUMBERS: Final = frozenset(TARGETS) - {"name", "mag_band", "alias", "kind"}
"""Those that are numbers."""
STARS: Final = (
    "source_id", "ra", "dec", "pmra", "pmdec", "parallax", "parallax_error", "mag", "bp_rp", "g_rp",
    "radial_velocity", "ra_error", "dec_error", "mag_error",
)  # fmt: skip
"""What a reference catalogue may have; positions it must have."""
_EPOCHS: Final = {"dr3": 2016.0, "dr2": 2015.5, "dr1": 2015.0}
_RELEASES: Final = (
    (re.compile(r"gaia_?e?dr3|I/35[05]/", re.IGNORECASE), "dr3"),
    (re.compile(r"gaia_?dr2|I/345/", re.IGNORECASE), "dr2"),
    (re.compile(r"gaia_?dr1|I/337/", re.IGNORECASE), "dr1"),
)
_GAIA_NAME: Final = re.compile(r"\s*Gaia\s+(E?DR[123])\s+(\d+)\s*", re.IGNORECASE)
_SHOWN: Final = 5
"""Rows a message names; more are counted."""
_EXACT_IN_FLOAT: Final = 2**53
"""Largest whole number up to which a float64 holds each."""


def clean_frame(frame: pd.DataFrame, catalog: str) -> pd.DataFrame:
    """Return a copy in native byte order, numbered from 0; several names in one cell are joined by `BETWEEN`.

    Other columns whose cells are lists or arrays are left out, and said to be.
    """
    if not frame.columns.is_unique:
        twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
        msg = f"the catalogue {catalog} has columns that are there twice: {', '.join(twice)}"
        raise CatalogError(msg)
    kept = {}
    left_out = dict(frame.attrs.get(LEFT_OUT, {}))
    for name in frame:
        column = frame[name]
        if column.dtype == object:
            first = next((value for value in column.head(100) if value is not None), None)
            if isinstance(first, list | tuple) and all(isinstance(one, str) for one in first):
                column = column.map(
                    lambda value: BETWEEN.join(map(str, value)) if value is not None else None
                )
            elif isinstance(first, list | tuple | dict | np.ndarray):
                _log.warning(
                    "a column with several values a row is left out", catalogue=catalog, column=str(name)
                )
                left_out[str(name)] = (len(first),)
                continue
            if isinstance(first, bytes):
                column = column.map(lambda value: value.decode() if isinstance(value, bytes) else value)
        elif isinstance(column.dtype, np.dtype) and not column.dtype.isnative:
            column = column.astype(column.dtype.newbyteorder("="))
        kept[str(name)] = column
    clean = frame.__class__(kept, index=frame.index).reset_index(drop=True)
    clean.attrs[_TOLD] = frame.attrs.get(_TOLD, False)
    clean.attrs[LEFT_OUT] = left_out
    clean.attrs["units"] = dict(frame.attrs.get("units", {}))
    clean.attrs["systems"] = dict(frame.attrs.get("systems", {}))
    return clean


def map_columns(
    frame: pd.DataFrame,
    given: Mapping[str, str],
    catalog: str,
    *,
    known: Sequence[str] = TARGETS,
    required: Sequence[str] = ("name", "ra", "dec"),
) -> dict[str, str]:
    """Return standard name to column, as `given` or recognised by the usual names.

    Parameters
    ----------
    known
        The standard names: `TARGETS` or `STARS`.
    required
        Those that have to be found.

    Raises
    ------
    CatalogError
        If a standard name or a column is not known, or one of `required` is missing.
    """
    lower = {without_unit(str(name)).lower(): str(name) for name in reversed(frame.columns)}
    lower |= {str(name).lower(): str(name) for name in reversed(frame.columns)}
    mapping = {}
    for standard, column in given.items():
        if standard not in known:
            near = get_close_matches(standard, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"
            msg = f"columns of catalogue {catalog}: {standard!r} is not known; {hint}"
            raise CatalogError(msg)
        if (shape := frame.attrs.get(LEFT_OUT, {}).get(column)) is not None:
            several = "x".join(map(str, shape))
            msg = (
                f"column {column!r} of the catalogue {catalog} has {several} values a row and cannot be {standard}; "
                "give each value its own column"
            )
            raise CatalogError(msg)
        if column not in frame.columns:
            msg = f"the catalogue {catalog} has no column {column!r} for {standard}; it has "
            msg += _listed(frame.columns)
            raise CatalogError(msg)
        mapping[standard] = column
    for standard in known:
        found = next((lower[name] for name in _USUAL[standard] if name in lower), None)
        if standard not in mapping and found is not None and found not in given.values():
            mapping[standard] = found
    if missing := [name for name in required if name not in mapping]:
        msg = (
            f"the catalogue {catalog} has no column for {', '.join(missing)}; it has "
            f"{_listed(frame.columns)}; say which one with columns: {{{missing[0]}: ...}}"
        )
        raise CatalogError(msg)
    return mapping


def check_kinds(
    frame: pd.DataFrame, columns: Mapping[str, str], given: Mapping[str, str], catalog: str
) -> bool:
    """Return whether the column ``kind`` says what sources are; one that was only guessed may mean something else.

    Raises
    ------
    CatalogError
        If it was named in the settings and holds something else than `KINDS`.
    """
    if "kind" not in columns:
        return False
    bad = {str(value) for value in native(frame[columns["kind"]]) if value is not None and value not in KINDS}
    if not bad:
        return True
    said = f"{columns['kind']!r} holds {_some(sorted(bad))}, and sources are {', '.join(KINDS)}"
    if "kind" in given:
        msg = f"the catalogue {catalog}: column {said}; leave kind out of columns, or mend the column"
        raise CatalogError(msg)
    if not frame.attrs.get(_TOLD):
        _log.warning("a column is not taken for the kind of source", catalogue=catalog, column=said)
    frame.attrs[_TOLD] = True
    return False


def check_extra(frame: pd.DataFrame, extra: Sequence[str], catalog: str) -> None:
    """Raise `CatalogError` naming the `extra` columns that the table does not have."""
    if missing := [name for name in extra if name not in frame.columns]:
        msg = f"the catalogue {catalog} has no column {', '.join(missing)} to keep; it has "
        msg += _listed(frame.columns)
        raise CatalogError(msg)


def read_names(column: pd.Series, catalog: str) -> tuple[NDArray[np.object_], str]:
    """Return the names as text and, if all are Gaia designations, their namespace.

    Raises
    ------
    CatalogError
        If a name is empty, there twice, has control characters, or is a number that lost digits.
    """
    if column.dtype.kind == "f":
        column = whole_numbers(column, catalog)
    missing = column.isna().to_numpy(dtype=bool)
    names = np.array([str(value).strip() for value in column], dtype=object)
    empty = missing | (names == "")
    if empty.any():
        msg = f"the catalogue {catalog} has rows without a name: {_rows(empty)}"
        raise CatalogError(msg)
    odd = np.array([not name.isprintable() for name in names], dtype=bool)
    if odd.any():
        msg = f"the catalogue {catalog} has names with control characters: {_rows(odd)}"
        raise CatalogError(msg)
    matches = [_GAIA_NAME.fullmatch(name) for name in names] if len(names) and "ai" in names[0] else [None]
    releases = {match.group(1).upper() for match in matches if match}
    namespace = ""
    if all(matches) and len({_release(name) for name in releases}) == 1:
        names = np.array([match.group(2) for match in matches if match], dtype=object)
        namespace = f"gaia_{_release(releases.pop())}"
    _refuse_twice(names, catalog)
    return names, namespace


def namespace_of(frame: pd.DataFrame, columns: Mapping[str, str], names: NDArray[np.object_]) -> str:
    """Return ``gaia_dr3`` if the names are Gaia's source numbers, else nothing."""
    lower = {str(name).lower() for name in frame.columns}
    signs = {"phot_g_mean_mag", "ref_epoch", "astrometric_excess_noise", "ruwe", "pwd"}
    is_gaia = columns["name"].lower() in {"source_id", "gaiaedr3"} and (
        lower & signs or columns["name"] == "GaiaEDR3"
    )
    return "gaia_dr3" if is_gaia and all(name.isdigit() for name in names[:100]) else ""


def default_epoch(text: str, columns: Mapping[str, str] = MappingProxyType({})) -> float | None:
    """Return the Julian year of positions where no column says it: 2016.0 in Gaia DR3, 2015.5 in DR2, else None.

    Parameters
    ----------
    text
        Whatever names a release of Gaia: a namespace, a file, a table.
    columns
        Our names to those of the table; VizieR's columns RAJ2000 are moved to 2000 already.
    """
    if columns.get("ra", "").lower().endswith("j2000"):
        return 2000.0
    return next((_EPOCHS[release] for pattern, release in _RELEASES if pattern.search(text)), None)


def gaia_release(name: str) -> str:
    """Return the namespace of a Gaia designation such as ``Gaia DR2 123``, else nothing."""
    match = _GAIA_NAME.fullmatch(name)
    return f"gaia_{_release(match.group(1).lower())}" if match else ""


def from_zero(ra: NDArray[np.float64], catalog: str) -> NDArray[np.float64]:
    """Return right ascensions (deg) of which those from -180 to 0 are counted from 0 to 360, and say so.

    Some tables count from -180 to 180. What lies below is no such angle, and is left for `check_positions`.
    """
    below = (ra >= -180.0) & (ra < 0.0)
    if not below.any():
        return ra
    _log.warning("right ascensions below 0 count as 360 more", catalogue=catalog, rows=int(below.sum()))
    # 360 less a hair is 360 in floating point, which is 0
    return np.where(below, np.mod(ra, 360.0) % 360.0, ra)


def check_numbers(frame: pd.DataFrame, columns: Mapping[str, str], catalog: str) -> None:
    """Raise `CatalogError` if truths stand where a number is meant."""
    for name, column in columns.items():
        if name in NUMBERS and frame[column].dtype.kind == "b":
            msg = f"the column {column!r} of catalogue {catalog} holds true and false, and {name} is a number"
            raise CatalogError(msg)


def check_positions(ra: NDArray[np.float64], dec: NDArray[np.float64], catalog: str) -> None:
    """Raise `CatalogError` naming the rows whose position (deg) is missing or out of range."""
    bad = out_of_range("ra", ra) | out_of_range("dec", dec) | np.isnan(ra) | np.isnan(dec)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        msg = (
            f"the catalogue {catalog} has positions missing or out of range (ra 0 to 360, dec -90 to "
            f"90 degrees): {_rows(bad)}; the first is ra {ra[row]}, dec {dec[row]}"
        )
        raise CatalogError(msg)


def check_epochs(column: pd.Series, catalog: str) -> None:
    """Raise `CatalogError` naming the rows whose epoch is no Julian year, such as an MJD."""
    bad = out_of_range("epoch", column.to_numpy(dtype=np.float64, na_value=np.nan))
    if bad.any():
        first = column[bad].iloc[0]
        msg = (
            f"the catalogue {catalog} has epochs that are no Julian years: {_rows(bad)}; the first is {first}"
        )
        raise CatalogError(msg)


def possible(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a column in which what cannot be, such as a magnitude of 99, is missing (NaN)."""
    bad = out_of_range(name, values)
    return np.where(bad, np.nan, values) if bad.any() else values


def tell_values(columns: Mapping[str, NDArray[np.float64]], catalog: str) -> None:
    """Say which numbers of targets are not used: those that cannot be, and one half of a proper motion."""
    for name, values in columns.items():
        if bad := int(out_of_range(name, values).sum()):
            _log.warning("values that cannot be count as missing", catalogue=catalog, column=name, rows=bad)
    if not {"pmra", "pmdec"} & columns.keys():
        return
    east, north = (
        np.isfinite(columns[name]) if name in columns else np.array(False) for name in ("pmra", "pmdec")
    )
    if half := int(np.sum(east != north)):
        _log.warning("one half of a proper motion counts as none", catalogue=catalog, rows=half)


def native(column: pd.Series) -> list[Value]:
    """Return a column as plain Python values, None where there is none."""
    if column.dtype.kind == "M":
        column = column.astype(str)
    values: list[Value] = column.tolist()
    if column.dtype.kind in "iub":
        missing = column.isna().to_numpy(dtype=bool)
    elif column.dtype.kind == "f":
        missing = ~np.isfinite(column.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        missing = column.isna().to_numpy(dtype=bool)
        values = [value.item() if isinstance(value, np.generic) else value for value in values]
    return (
        [None if gone else value for value, gone in zip(values, missing, strict=True)]
        if missing.any()
        else values
    )


def _release(name: str) -> str:
    # The early third release has the numbers of the third.
    return name.lower().replace("edr3", "dr3")


def whole_numbers(column: pd.Series, catalog: str) -> pd.Series:
    """Return numbers of stars that came as floating point as whole ones, where none lost digits."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isfinite(values) & ((values != np.floor(values)) | (np.abs(values) >= _EXACT_IN_FLOAT))
    if bad.any():
        msg = (
            f"the names in column {column.name!r} of catalogue {catalog} are floating-point numbers, which "
            f"lose digits (some lost digits already): {_rows(bad)}; store them as whole numbers or text"
        )
        raise CatalogError(msg)
    return column.astype("Int64")


def _refuse_twice(names: NDArray[np.object_], catalog: str) -> None:
    if len(set(names)) == len(names):
        return
    rows: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        rows.setdefault(name, []).append(number)
    twice = [
        f"{name} (rows {', '.join(map(str, where[:_SHOWN]))})"
        for name, where in rows.items()
        if len(where) > 1
    ]
    msg = f"the catalogue {catalog} has names that are there twice: {_some(twice)}"
    raise CatalogError(msg)


def _rows(bad: NDArray[np.bool_]) -> str:
    return "rows " + _some(
        [str(number + 1) for number in np.flatnonzero(bad)[: _SHOWN + 1]], total=int(bad.sum())
    )


def _some(items: Sequence[str], *, total: int | None = None) -> str:
    total = len(items) if total is None else total
    more = f" and {total - _SHOWN} more" if total > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _listed(names: Value) -> str:
    return ", ".join(str(name) for name in names) or "none"
