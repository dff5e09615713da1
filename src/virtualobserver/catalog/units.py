"""Columns of a catalogue in our units: as the file or the column's name says, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.columns import describe
from virtualobserver.errors import CatalogError
from virtualobserver.typing import Value

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["epoch_said", "in_our_units", "without_unit"]

_NO_UNIT: Final = frozenset({"", "-", "--", "---", "none", "unitless", "dimensionless", "see description"})
_WORDS: Final = {
    "degrees": "deg", "radians": "rad", "radian": "rad", "hours": "hourangle", "hour": "hourangle", "hr": "hourangle",
    "h": "hourangle", "arcseconds": "arcsec", "arcsecond": "arcsec", "years": "yr", "julian years": "yr",
    "julian year": "yr", "masyr": "mas/yr", "mas_yr": "mas/yr", "arcsecyr": "arcsec/yr", "arcsec_yr": "arcsec/yr",
    "deg_yr": "deg/yr", "kms": "km/s", "km_s": "km/s", "mps": "m/s",
}  # fmt: skip
_SEXAGESIMAL: Final = re.compile(r"[\"']?(h+|d+)\s*[: ]?\s*m+\s*[: ]?\s*s+[\"']?|sexagesimal", re.IGNORECASE)
# A unit at the end of a column's name: ra_rad, RA (rad), dec[deg], pmra_arcsec_yr.
_AT_THE_END: Final = re.compile(
    r"(?P<name>.+?)\s*[ _(\[]\s*(?P<unit>deg|degrees|rad|radians|hours?|hourangle|hr|arcsec|arcmin|mas|uas|mmag"
    r"|(?:mas|arcsec|deg|rad)[ _/]?yr|km[ _/]?s|m/s)\s*[)\]]?",
    re.IGNORECASE,
)
_PARTS: Final = (
    r"^\s*(?P<sign>[+-]?)\s*(?P<whole>\d{1,3})\s*[:hHd° ]\s*(?P<minutes>\d{1,2})\s*[:mM'′ ]\s*"
    r"(?P<seconds>\d{1,2}(?:\.\d*)?)\s*[sS\"″]?\s*$"
)
_OURS: Final = re.compile(r"ICRS( J?2000(\.0*)?)?|(eq_)?FK5( J?2000(\.0*)?)?|barycentric", re.IGNORECASE)
"""Systems of VOTable whose positions are ICRS; FK5 of J2000 is within 0.03 arcsec."""
_YEAR: Final = re.compile(r"J?(\d{4}(?:\.\d*)?)")
_DEGREES_PER_HOUR: Final = 15.0
"""By definition of hour angles."""


def without_unit(column: str) -> str:
    """Return the name of a column without the unit at its end: ``ra`` for ``ra_rad`` and ``RA (rad)``."""
    found = _AT_THE_END.fullmatch(column)
    return found["name"] if found else column


def in_our_units(frame: pd.DataFrame, used: Mapping[str, str], catalog: str) -> pd.DataFrame:
    """Return a copy whose `used` columns (our name to that of the table) are numbers in our units.

    The unit of a column is that in ``frame.attrs["units"]``, else the one at the end of its name, else ours.
    Positions may be text in hours, minutes and seconds (right ascension) and degrees, minutes and seconds. The
    attribute then says our units, so that a second time nothing changes.

    Raises
    ------
    CatalogError
        If a unit is not known or not one of such a column, a text is not a position, or the file says that positions
        are in another system than ICRS.
    """
    for ours in ("ra", "dec"):
        _check_system(frame, used.get(ours, ""), ours, catalog)
    original, frame = frame, frame.copy(deep=False)
    units = {str(name): str(unit) for name, unit in frame.attrs.get("units", {}).items()}
    for ours, theirs in used.items():
        wanted = describe(ours).unit
        if not wanted:
            continue
        said = units.get(theirs) or _unit_in_name(theirs)
        if ours in {"ra", "dec"} and frame[theirs].dtype.kind not in "iufb":
            frame[theirs] = _positions(original, used, ours, said, catalog)
        elif (factor := _factor(said, wanted, f"column {theirs!r} of catalogue {catalog}", ours)) != 1.0:
            frame[theirs] = _numbers(frame[theirs], theirs, catalog) * factor
        if said:
            units[theirs] = wanted
    frame.attrs["units"] = units
    return frame


def epoch_said(frame: pd.DataFrame, column: str) -> float | None:
    """Return the Julian year that a file gives for a column of positions, as `COOSYS` of VOTable does, or None."""
    _, said = frame.attrs.get("systems", {}).get(column, ("", ""))
    found = _YEAR.fullmatch(said)
    return float(found[1]) if found else None


def _check_system(frame: pd.DataFrame, column: str, ours: str, catalog: str) -> None:
    system, _ = frame.attrs.get("systems", {}).get(column, ("", ""))
    if system and not _OURS.fullmatch(system):
        msg = f"catalogue {catalog}: the file says that {column!r} is in {system}; {ours} is in ICRS, convert both"
        raise CatalogError(msg)


def _unit_in_name(column: str) -> str:
    found = _AT_THE_END.fullmatch(column)
    return found["unit"] if found else ""


def _numbers(column: pd.Series, name: str, catalog: str) -> NDArray[np.float64]:
    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        msg = f"the column {name!r} of catalogue {catalog} should hold numbers: {error}"
        raise CatalogError(msg) from error


def _factor(said: str, wanted: str, place: str, ours: str) -> float:
    """Return what makes a number in one unit one in ours."""
    from astropy.units import Unit, UnitConversionError

    if said.strip().lower() in _NO_UNIT or said == wanted:
        return 1.0
    unit = _parsed(said)
    if unit is None:
        msg = f"{place}: its unit {said!r} is not known; convert the column to {wanted}"
        raise CatalogError(msg)
    if ours == "ra" and unit.is_equivalent("h") and not unit.is_equivalent("deg"):
        return float(unit.to("h")) * _DEGREES_PER_HOUR
    if getattr(unit, "function_unit", None) is not None:  # mag(AB): a magnitude all the same
        unit = unit.function_unit
    try:
        if ours == "dec" and unit == Unit("hourangle"):
            raise UnitConversionError
        factor = float(unit.to(Unit(wanted)))
    except UnitConversionError:
        msg = f"{place}: its unit is {said}, which is no unit of {ours} ({wanted}); convert it or name another column"
        raise CatalogError(msg) from None
    # a year is a year (Julian, tropical); days are no epochs
    if ours == "epoch" and abs(factor - 1.0) > 1e-3:
        msg = f"{place}: epochs are Julian years such as 2016.0, not {said}"
        raise CatalogError(msg)
    # a unit spelt in another way must not change the last digit
    return 1.0 if ours == "epoch" or abs(factor - 1.0) < 1e-12 else factor


def _parsed(text: str) -> Value:
    from astropy.units import Unit

    inner = re.fullmatch(r".*\[(.*)\]", text.strip())
    for words in (text.strip(), inner[1].strip() if inner else ""):
        for spelt in (_WORDS.get(words.lower().replace("/", "_"), words), words.lower()):
            for form in (None, "vounit", "cds", "ogip", "fits"):
                if not spelt:
                    continue
                try:
                    return Unit(spelt, format=form)
                except (ValueError, TypeError):
                    continue
    return None


def _positions(
    frame: pd.DataFrame, used: Mapping[str, str], ours: str, said: str, catalog: str
) -> NDArray[np.float64]:
    """Return degrees of a position that is text: sexagesimal, or numbers."""
    import pandas as pd

    column, theirs = frame[used[ours]], used[ours]
    missing = column.isna().to_numpy(dtype=bool)
    text = column.astype(str).str.strip()
    numbers: NDArray[np.float64] = np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)
    if (np.isfinite(numbers) | missing).all():
        return numbers * _factor(said, "deg", f"column {theirs!r} of catalogue {catalog}", ours)
    other = used.get("dec" if ours == "ra" else "ra")
    if other is not None and frame[other].dtype.kind in "iuf" and not said:
        msg = f"catalogue {catalog}: column {theirs!r} holds no numbers but {other!r} does; "
        msg += "give both in degrees, or both as text in hours and degrees, minutes and seconds"
        raise CatalogError(msg)
    parts = text.str.extract(_PARTS)
    minutes, seconds = (pd.to_numeric(parts[name]).to_numpy(np.float64) for name in ("minutes", "seconds"))
    whole = pd.to_numeric(parts["whole"]).to_numpy(np.float64)
    wrong = ~missing & ~((minutes < 60) & (seconds < 60))
    in_hours = (
        ours == "ra" and not said.lower().strip("\"'").startswith("d") and not text.str.contains("[d°]").any()
    )
    if in_hours:
        wrong |= whole >= 24
    if wrong.any() or (said and not _SEXAGESIMAL.fullmatch(said) and _parsed(said) is None):
        row = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
        msg = f"catalogue {catalog}: column {theirs!r}, row {row + 1}: {text.iloc[row]!r} is no {ours}; "
        msg += "positions are degrees, or text such as 05:43:46.5 (hours) and -12:30:00 (degrees)"
        raise CatalogError(msg)
    degrees = (whole + minutes / 60 + seconds / 3600) * np.where(parts["sign"] == "-", -1.0, 1.0)
    return np.asarray(degrees * (_DEGREES_PER_HOUR if in_hours else 1.0))
