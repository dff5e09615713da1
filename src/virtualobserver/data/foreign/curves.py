"""Light curves as time series of astropy and lightkurve, and back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import FLAG_ARCHIVE
from virtualobserver.data.foreign.columns import mjd_of
from virtualobserver.data.foreign.seen import Columns
from virtualobserver.data.units import unit_of
from virtualobserver.errors import DataError, LostFact
from virtualobserver.maths.arrays import Array

if TYPE_CHECKING:
    from collections.abc import Iterable

    import astropy.table
    import astropy.timeseries
    import lightkurve
    from astropy.time import Time

__all__ = ["curve_to_lightkurve", "curve_to_timeseries", "foreign_bits", "table_of_lightkurve", "with_mjd"]

_NAMES: Final = (("quality", "archive_quality"), ("flux_error", "flux_err"), ("flags", "quality"))
"""Our columns and those of lightkurve, in the order in which they are renamed."""
_BITS: Final = ("FLAGS", "virtualobserver.conventions")
"""Says in the meta of a LightCurve that its ``quality`` are our bits."""
_TIME: Final = "time"
_ORIGIN: Final = "time_origin"
"""In the meta: scale and format of the times as they came."""


def curve_to_timeseries(curve: Columns) -> astropy.timeseries.TimeSeries:
    """Return a light curve as astropy has it; see `TimeSeries.to_timeseries`."""
    from astropy.timeseries import TimeSeries as AstropyTimeSeries

    return AstropyTimeSeries(data=_without_mjd(curve), time=_time_of(curve))


def curve_to_lightkurve(curve: Columns, label: str | None) -> lightkurve.LightCurve:
    """Return a light curve as lightkurve has it; see `TimeSeries.to_lightkurve`."""
    import lightkurve

    table = _without_mjd(curve)
    _rename(table, _NAMES)
    table.meta.update([_BITS])
    named = label if label is not None else table.meta.get("LABEL", table.meta.get("object"))
    if named is not None:
        table.meta["LABEL"] = str(named)
    return lightkurve.LightCurve(data=table, time=_time_of(curve))


def _without_mjd(curve: Columns) -> astropy.table.Table:
    if _TIME in curve:
        msg = "the light curve has a column 'time', which astropy needs for its own; rename it first"
        raise DataError(msg)
    for unit in set(curve.units.values()):
        unit_of(unit)  # a Quantity needs one that astropy knows
    table = curve.to_astropy()
    table.remove_column("mjd")
    table.meta.pop(_ORIGIN, None)
    return table


def _time_of(curve: Columns) -> Time:
    from astropy.time import Time

    time = Time(curve["mjd"], format="mjd", scale="utc")
    how = curve.meta.get(_ORIGIN)
    if isinstance(how, dict) and {"scale", "format"} <= set(how):
        time = getattr(time, how["scale"])
        time.format = how["format"]
    return time


def with_mjd(table: astropy.table.Table) -> astropy.table.Table:
    """Return a table in which the times of an astropy `TimeSeries`, or in a column ``mjd``, are MJD in UTC."""
    from astropy.table import Table as AstropyTable
    from astropy.time import Time

    binned = "time_bin_start" in table.colnames and hasattr(table, "time_bin_center")
    own = next((name for name in (_TIME, "mjd") if isinstance(table.columns.get(name), Time)), "")
    if not binned and not own:
        return table
    plain = AstropyTable(table, copy=False)
    if binned:
        time = table.time_bin_center
        plain.remove_columns(["time_bin_start", "time_bin_size"])
        if "exptime" not in plain.colnames:
            plain["exptime"] = table["time_bin_size"].to_value("s")
            plain["exptime"].unit = "s"
    else:
        time = table[own]
        plain.remove_column(own)
    if "mjd" in plain.colnames:
        msg = "the times are there twice, as 'time' and as 'mjd'; remove the one"
        raise DataError(msg)
    plain["mjd"] = _utc(time)
    if (time.scale, time.format) != ("utc", "mjd"):
        plain.meta[_ORIGIN] = {"scale": time.scale, "format": time.format}
    return plain


def _utc(time: Time) -> Time:
    if time.scale == "local":
        msg = "times in the scale 'local' have no place in UTC; give them the scale in which they were taken"
        raise DataError(msg)
    if time.location is not None:
        msg = "a light curve holds no location of its times; the one of this object is left out"
        warnings.warn(msg, LostFact, stacklevel=5)
    return mjd_of(_TIME, time.utc)


def table_of_lightkurve(curve: lightkurve.LightCurve) -> astropy.table.Table:
    """Return the columns and meta of a LightCurve under our names."""
    from astropy.table import Table as AstropyTable

    table = AstropyTable(curve, copy=False)
    table.meta = dict(curve.meta)
    if "quality" not in table.colnames:
        msg = "the LightCurve has no column 'quality'; curve['quality'] = 0 says that every epoch is good"
        raise DataError(msg)
    if table.meta.get("LABEL") == table.meta.get("object"):
        table.meta.pop("LABEL", None)
    if table.meta.pop(_BITS[0], None) == _BITS[1]:
        _rename(table, [(theirs, ours) for ours, theirs in reversed(_NAMES)])
    else:
        _rename(table, [("flux_err", "flux_error")])
        table["flags"] = foreign_bits(table["quality"])
    return table


def foreign_bits(quality: object) -> Array:
    """Return bit 1 for all that another mission has a word against; what is hidden is not good."""
    hidden = np.asarray(getattr(quality, "mask", False))
    values = np.asarray(getattr(quality, "unmasked", quality))
    return np.where((values != 0) | hidden, FLAG_ARCHIVE, 0).astype(np.int64)


def _rename(table: astropy.table.Table, pairs: Iterable[tuple[str, str]]) -> None:
    for old, new in pairs:
        if old in table.colnames:
            if new in table.colnames:
                msg = f"the columns {old!r} and {new!r} would have one name; rename the second first"
                raise DataError(msg)
            table.rename_column(old, new)
