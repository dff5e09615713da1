"""Values with units, as Python has them, as the plain numbers that settings and catalogues are made of."""

from __future__ import annotations

from typing import Any, Final

from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["plain_row"]

_UNITS: Final = {
    "ra": "deg", "dec": "deg", "radius": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "parallax": "mas",
    "radial_velocity": "km/s", "mag": "mag", "mag_error": "mag",
}  # fmt: skip


def plain_row(row: Record) -> RecordDict:
    """Return a row of a target list, or a cone, with plain numbers.

    Quantities are brought to degrees, mas/yr, mas, km/s and mag; a `SkyCoord` as ``ra`` gives ``ra`` and ``dec``
    (ICRS), a `Time` as ``epoch`` its Julian year. Everything else stays as it is.

    Raises
    ------
    ConfigError
        If a quantity has a unit of another kind or several values, or a `SkyCoord` stands beside a ``dec``.
    """
    found: RecordDict = dict(row)
    if hasattr(found.get("ra"), "icrs"):
        if "dec" in found:
            msg = f"{_named(row)}: a SkyCoord as ra stands for ra and dec, so leave dec out"
            raise ConfigError(msg)
        place: Value = found["ra"].icrs
        found |= {"ra": place.ra, "dec": place.dec}
    if hasattr(found.get("epoch"), "jyear"):
        found["epoch"] = float(found["epoch"].jyear)
    for name, value in found.items():
        if hasattr(value, "to_value"):
            found[name] = _number(name, value, row)
    return found


def _number(name: str, value: Any, row: Record) -> float:
    if name not in _UNITS:
        msg = f"{_named(row)}: {name} is {value}; give a plain number there, in the unit you want"
        raise ConfigError(msg)
    if not value.isscalar:
        msg = f"{_named(row)}: {name} has {len(value)} values where one is meant; give one row each"
        raise ConfigError(msg)
    try:
        return float(value.to_value(_UNITS[name]))
    except ValueError as error:
        msg = f"{_named(row)}: {name} is {value}, which cannot be in {_UNITS[name]}: {error}"
        raise ConfigError(msg) from error


def _named(row: Record) -> str:
    return f"catalogue row {row['name']!r}" if "name" in row else "cone"
