"""What is sent of a candidate: three requests, as plain data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from virtualobserver.conventions import UNIT_FLUX, ZERO_POINT_AB_UJY
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.data.units import unit_of
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

__all__ = ["FILTERS", "Candidate", "Destination", "digest", "point_keys", "requests_of", "source_id"]

FILTERS: Final[Mapping[str, str]] = {"zg": "ztfg", "zr": "ztfr", "zi": "ztfi"}
"""Names of bands in SkyPortal (those of sncosmo) where ours differ."""

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_\-;:+.]")
"""What an id of a source may not hold (``post_source`` of its handlers)."""
_MOST: Final = 5000
"""Points in one request. The server takes 10,000 at most in its newer versions; half of that stays below its limit of
bytes, too."""
_KEY: Final = 12
"""Hexadecimal digits by which a point is known again: 48 bits, by chance alike once in 10^7 uploads of 5000."""


@dataclass(frozen=True)
class Candidate:
    """A source with its light curves and what an analysis says of it.

    Parameters
    ----------
    name
        Name of the source.
    ra, dec
        Position (ICRS, deg).
    curves
        Light curves with the name of their band.
    facts
        What the annotation says, JSON-like.
    """

    name: str
    ra: float
    dec: float
    curves: Sequence[tuple[TimeSeries, str]] = ()
    facts: Record = field(default_factory=dict)


@dataclass(frozen=True)
class Destination:
    """Where candidates go: whose groups see them, and which instrument took their light.

    Parameters
    ----------
    groups
        Numbers of groups at the SkyPortal.
    instrument
        Number of the instrument there; None sends no photometry.
    origin
        Says where photometry and annotation come from; the same for all uploads of a project.
    filters
        Names of bands there, beside `FILTERS`.
    """

    groups: tuple[int, ...]
    instrument: int | None
    origin: str
    filters: Mapping[str, str] = field(default_factory=dict)


def source_id(name: str) -> str:
    """Return a name as SkyPortal takes it: letters, digits and ``_-;:+.``; all else becomes ``_``."""
    return _FOREIGN.sub("_", name)


def digest(payload: Record) -> str:
    """Return the fingerprint of a request."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def point_keys(payload: Record) -> list[str]:
    """Return a short fingerprint of each point of a request of photometry."""
    shared = json.dumps([payload[name] for name in ("instrument_id", "filter", "origin")])
    columns = zip(payload["mjd"], payload["flux"], payload["fluxerr"], strict=True)
    told = (f"{shared} {t!r} {flux!r} {error!r}".encode() for t, flux, error in columns)
    return [hashlib.sha256(one).hexdigest()[:_KEY] for one in told]


def requests_of(candidate: Candidate, where: Destination) -> tuple[RecordDict, list[RecordDict], RecordDict]:
    """Return what is sent of a candidate: its source, its photometry (a request for each light curve), its annotation.

    Fluxes are in microjansky with the AB zero point 23.9, errors with them; flagged epochs, and those without flux or
    error, stay at home.

    Raises
    ------
    DataError
        If it has no position, or the unit of a light curve cannot become microjansky.
    ConfigError
        If a light curve has no band.
    """
    if not np.isfinite([candidate.ra, candidate.dec]).all():
        msg = f"source {candidate.name} has no position, and SkyPortal needs one; give ra and dec in the catalogue"
        raise DataError(msg)
    name, groups = source_id(candidate.name), list(where.groups)
    source = {
        "id": name,
        "ra": candidate.ra,
        "dec": candidate.dec,
        "group_ids": groups,
        "origin": where.origin,
    }
    photometry = [
        part
        for curve, band in (candidate.curves if where.instrument is not None else ())
        for part in _photometry(candidate, curve, band, where)
    ]
    return source, photometry, {"origin": where.origin, "data": dict(candidate.facts), "group_ids": groups}


def _photometry(
    candidate: Candidate, curve: TimeSeries, band: str, where: Destination
) -> Iterator[RecordDict]:
    if not band:
        msg = f"a light curve of {candidate.name} has no band, and SkyPortal wants a filter; say band_names"
        raise ConfigError(msg)
    good = (
        np.isfinite(curve.flux) & (curve.flux_error > 0) & np.isfinite(curve.flux_error) & (curve.flags == 0)
    )
    scale = _scale(candidate.name, curve.flux_unit)
    rows = np.flatnonzero(good)
    for start in range(0, rows.size, _MOST):
        part = rows[start : start + _MOST]
        yield {
            "obj_id": source_id(candidate.name),
            "instrument_id": where.instrument,
            "group_ids": list(where.groups),
            "filter": where.filters.get(band) or FILTERS.get(band, band),
            "magsys": "ab",
            "zp": ZERO_POINT_AB_UJY,
            "origin": where.origin,
            "mjd": _plain(curve.mjd[part]),
            "flux": _plain(curve.flux[part] * scale),
            "fluxerr": _plain(curve.flux_error[part] * scale),
        }


def _plain(values: Array) -> list[float]:
    found: list[float] = np.asarray(values, dtype=np.float64).tolist()
    return found


def _scale(name: str, unit: str) -> float:
    from astropy.units import UnitConversionError

    try:
        return float(unit_of(unit).to(unit_of(UNIT_FLUX)))
    except UnitConversionError:
        msg = (
            f"a light curve of {name} in {unit or 'no unit'} cannot become microjansky, which SkyPortal wants"
        )
        raise DataError(msg) from None
