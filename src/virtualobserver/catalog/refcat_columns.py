"""Stars of any table: which column is what, of which year, and whether they can be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.columns import check_positions, clean_frame
from virtualobserver.catalog.reference import ReferenceStars
from virtualobserver.errors import CatalogError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_stars"]

# Usual names, best first; compared without regard to case.
_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "source_id": ("source_id", "source", "gaiaedr3", "gaia", "objid"),
    "ra": ("ra", "ra_icrs", "radeg", "raj2000", "_raj2000", "ramean"),
    "dec": ("dec", "de_icrs", "dedeg", "dej2000", "_dej2000", "decmean"),
    "pmra": ("pmra", "pm_ra"),
    "pmdec": ("pmdec", "pmde", "pm_dec"),
    "parallax": ("parallax", "plx"),
    "parallax_error": ("parallax_error", "e_plx"),
    "mag": ("mag", "phot_g_mean_mag", "gmag", "vtmag", "vmag", "magnitude"),
    "bp_rp": ("bp_rp", "bp-rp"),
    "g_rp": ("g_rp", "g-rp"),
    "radial_velocity": ("radial_velocity", "rv", "radvel", "vcr"),
    "ra_error": ("ra_error", "e_ra_icrs", "e_radeg"),
    "dec_error": ("dec_error", "e_de_icrs", "e_dedeg"),
    "mag_error": ("mag_error", "phot_g_mean_mag_error", "e_gmag", "e_vmag"),
}
_EPOCH_COLUMNS: Final = ("ref_epoch", "epoch")
_RELEASES: Final = (
    (re.compile(r"gaia_?e?dr3|I/35[05]/", re.IGNORECASE), 2016.0),
    (re.compile(r"gaia_?dr2|I/345/", re.IGNORECASE), 2015.5),
)
_EXACT_IN_FLOAT: Final = 2**53


def to_stars(
    frame: pd.DataFrame, text: str, *, epoch: float | None, columns: Mapping[str, str], name: str
) -> tuple[ReferenceStars, dict[str, str]]:
    """Return the stars of a table, and which of its columns are what.

    Parameters
    ----------
    text
        The file's name or the question: it may name a release of Gaia, whose epoch is known.
    epoch
        Julian year of the positions, if the table does not say.
    columns
        Our names to those of the table.
    name
        For messages.

    Raises
    ------
    CatalogError
        If columns are missing, positions are wrong, numbers of stars are there twice, or the epoch is not known.
    """
    frame = clean_frame(frame, name)
    if frame.empty:
        msg = f"reference catalogue {name}: the table has no rows"
        raise CatalogError(msg)
    used = _columns(frame, columns, name)
    values: dict[str, Any] = {
        ours: _numbers(frame[theirs], name) for ours, theirs in used.items() if ours != "source_id"
    }
    values["ra"] = np.where(values["ra"] < 0, values["ra"] + 360.0, values["ra"])
    check_positions(values["ra"], values["dec"], name)
    values["source_id"], by_row = _identities(frame, used, name)
    if by_row:
        used["source_id"] = "(number of the row)"
    year = epoch if epoch is not None else _epoch(frame, text, used, values, name)
    return ReferenceStars.build(values, epoch=float(year)), used


def _columns(frame: pd.DataFrame, given: Mapping[str, str], name: str) -> dict[str, str]:
    lower = {str(column).lower(): str(column) for column in reversed(frame.columns)}
    used: dict[str, str] = {}
    for ours, theirs in given.items():
        if ours not in _USUAL or theirs not in frame.columns:
            msg = f"reference catalogue {name}: {ours}={theirs}: "
            msg += (
                f"there are {', '.join(_USUAL)}"
                if ours not in _USUAL
                else f"no column {theirs!r} in the table"
            )
            raise CatalogError(msg)
        used[ours] = theirs
    for ours, usual in _USUAL.items():
        found = next((lower[each] for each in usual if each in lower), None)
        if ours not in used and found is not None:
            used[ours] = found
    if missing := [each for each in ("ra", "dec") if each not in used]:
        msg = f"reference catalogue {name}: no column for {', '.join(missing)} among "
        msg += f"{', '.join(map(str, frame.columns))}; say which with --column {missing[0]}=NAME"
        raise CatalogError(msg)
    return used


def _numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    if column.dtype.kind not in "iufb":
        msg = f"reference catalogue {name}: column {column.name!r} holds no numbers"
        msg += " (positions are degrees, not hours and minutes)"
        raise CatalogError(msg)
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _identities(frame: pd.DataFrame, used: Mapping[str, str], name: str) -> tuple[NDArray[np.int64], bool]:
    """Return the numbers of the stars; those of the rows where the table has none."""
    if "source_id" not in used or frame[used["source_id"]].dtype.kind not in "iuf":
        return np.arange(len(frame), dtype=np.int64), True
    column = frame[used["source_id"]]
    if column.isna().any():
        msg = f"reference catalogue {name}: rows without a number in column {column.name!r}"
        raise CatalogError(msg)
    if column.dtype.kind == "f":
        values = column.to_numpy(dtype=np.float64)
        if (values != np.floor(values)).any() or (np.abs(values) >= _EXACT_IN_FLOAT).any():
            msg = f"reference catalogue {name}: the numbers in column {column.name!r} lost digits as floating point"
            raise CatalogError(msg)
    numbers = column.to_numpy(dtype=np.int64)
    values, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        twice = ", ".join(map(str, values[counts > 1][:5].tolist()))
        msg = f"reference catalogue {name}: stars that are there twice: {twice}"
        raise CatalogError(msg)
    return numbers, False


def _epoch(
    frame: pd.DataFrame, text: str, used: Mapping[str, str], values: Mapping[str, Any], name: str
) -> float:
    """Return the Julian year of the positions: as the table says, or that of the release it names."""
    lower = {str(column).lower(): str(column) for column in frame.columns}
    for column in _EPOCH_COLUMNS:
        if column in lower and frame[lower[column]].dtype.kind in "iuf":
            years = np.unique(frame[lower[column]].to_numpy(dtype=np.float64, na_value=np.nan))
            if len(years) == 1 and np.isfinite(years[0]):
                return float(years[0])
            msg = f"reference catalogue {name}: its stars are of several epochs ({years[:3].tolist()} ...)"
            raise CatalogError(msg + "; bring them to one, or say which with --epoch")
    if used["ra"].lower().endswith("j2000"):  # VizieR has moved these itself
        return 2000.0
    for pattern, year in _RELEASES:
        if pattern.search(text):
            return year
    motion = np.nan_to_num(values["pmra"]) if "pmra" in values else np.zeros(1)
    if not motion.any():
        return 2000.0
    msg = f"reference catalogue {name}: of which Julian year are its positions? Say it with --epoch, e.g. 2016.0"
    raise CatalogError(msg)
