"""From the epochs of all objects near a star to one light curve for each season and filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from virtualobserver.columns import units_of
from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BAD_ERROR,
    FLAG_NOT_FINITE,
    FLAG_RANGE,
    LIMITING_MAG,
    OBJECT_ID,
)
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.cadence import circular_mean, seasons, tangent_offsets
from virtualobserver.maths.lightcurves.statistics import light_curve_statistics
from virtualobserver.maths.photometry import align_offsets, flux_error_from_mag, flux_from_mag
from virtualobserver.maths.times import Site, bjd_tdb, julian_year, mid_exposure
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatories.ztf.table import Columns
from virtualobserver.typing import RecordDict

__all__ = [
    "PALOMAR",
    "join",
    "lightcurves",
    "month_of",
    "unique_series",
    "why_not",
]

PALOMAR = Site(lon=-116.8599, lat=33.3573, height=1712.0)
"""Of the Samuel Oschin telescope: degrees, metres."""
_PER_EPOCH = (
    "chi", "sharp", "airmass", "clrcoeff", "expid", "field", "exposure_offset", "exposure_factor",
)  # fmt: skip
_ERROR_SCALE = {"zg": (1.15, 0.004), "zr": (1.15, 0.004), "zi": (1.0, 0.007)}
"""Factor and floor (mag) of the errors of each filter."""


def join(tables: Sequence[Columns]) -> Columns:
    """Put the epochs of one or several answers together; an exposure of an object counts once, the first time.

    A column that one answer lacks is NaN there (0 for integers). Times become ``mjd``, the middle of the
    exposure, and ``mjd_start`` (both UTC).
    """
    tables = [_with_times(table) for table in tables if len(table["oid"])]
    if not tables:
        return {}
    names = {name: column.dtype for table in tables for name, column in table.items()}
    joined = {
        name: np.concatenate([table.get(name, _blank(len(table["oid"]), dtype)) for table in tables])
        for name, dtype in names.items()
    }
    # to 0.1 s, for the forms of an answer differ in the digits they write; exposures are 30 s apart
    times = np.round(np.nan_to_num(joined["mjd"], nan=-1.0, posinf=-1.0, neginf=-1.0) * 1e6).astype(np.int64)
    # bulk files know no exposures, and may round times to minutes: there the same row has the same magnitude too
    known = np.isfinite(joined.get("exptime", np.full(len(times), np.nan)))
    pairs = np.column_stack((joined["oid"], times, np.where(known, 0, joined["mag"].view(np.int64))))
    _, first = np.unique(pairs, axis=0, return_index=True)
    return {name: column[np.sort(first)] for name, column in joined.items()}


def _blank(count: int, dtype: np.dtype) -> Array:
    return np.full(count, np.nan) if dtype.kind == "f" else np.zeros(count, dtype=dtype)


def lightcurves(epochs: Columns, aux: Aux, settings: ZTFSettings) -> list[Product[TimeSeries]]:
    """Reduce the pooled epochs of one source.

    Objects off the source's position or magnitude are left out; what remains is cut into seasons wherever
    all filters together pause longer than ``settings.gap``, then split by filter.

    Parameters
    ----------
    epochs
        Columns of shape (n,) as `join` returns them.
    aux
        The source; cuts for which it has no number are not made. It is told what is left out.
    settings
        Thresholds.

    Returns
    -------
    products
        One light curve for each season and filter, in order of their first exposure; none if nothing is left.

    Raises
    ------
    DataError
        If no epoch of the source has a magnitude with an error.
    """
    if not epochs:
        return []
    target = aux.target
    columns = _kept(epochs, aux, settings)
    if not len(columns["mjd"]):
        return []
    _refuse_unusable(columns, aux)
    if settings.align:
        columns["mag"] = _aligned(columns, settings)
    standard = _standard(columns, settings, target)
    number = seasons(standard["mjd_start"], settings.gap)
    parts = []
    for season in np.unique(number):
        for band in np.unique(columns["filtercode"][number == season]):
            rows = np.flatnonzero((number == season) & (columns["filtercode"] == band))
            rows = rows[np.lexsort((standard[OBJECT_ID][rows], standard["mjd"][rows]))]
            parts.append((str(band), {name: values[rows] for name, values in standard.items()}))
    parts.sort(key=lambda part: (float(part[1]["mjd_start"].min()), part[0]))
    names = unique_series(f"{month_of(float(part['mjd_start'].min()))}-{band}" for band, part in parts)
    return [_product(part, band, series) for (band, part), series in zip(parts, names, strict=True)]


def _kept(epochs: Columns, aux: Aux, settings: ZTFSettings) -> Columns:
    """Return the epochs of the source that have a time, and tell what the others are."""
    oids = np.unique(epochs["oid"])
    judged = {oid: why_not(epochs, oid, aux.target, settings) for oid in oids.tolist()}
    keep = np.ones(len(epochs["oid"]), dtype=bool)
    for oid, cause in judged.items():
        if cause:
            rows = epochs["oid"] == oid
            keep &= ~rows
            aux.note(f"epochs of {cause}", int(rows.sum()))
    cuts = [("epochs without a time", np.isfinite(epochs["mjd"]))]
    if settings.drop_flagged:
        cuts.append(("epochs flagged by the archive (drop_flagged)", epochs["catflags"] == 0))
    for cause, good in cuts:
        aux.note(cause, int((keep & ~good).sum()))
        keep &= good
    if "exptime" in epochs:
        blank = keep & ~np.isfinite(epochs["exptime"])
        aux.note("epochs without an exposure time, whose start is taken for their middle", int(blank.sum()))
    return {name: values[keep] for name, values in epochs.items()}


def _refuse_unusable(columns: Columns, aux: Aux) -> None:
    """Raise if nothing can be measured: a light curve of bad points only would look like a quiet star."""
    number, finite = np.isfinite(columns["mag"]), np.isfinite(columns["magerr"]) & (columns["magerr"] > 0)
    good = number & finite
    aux.note("epochs without a magnitude", int((~number).sum()))
    aux.note("epochs whose error is zero, negative or missing", int((number & ~finite).sum()))
    if not good.any():
        what = "a magnitude" if not number.any() else "a magnitude with an error above zero"
        msg = f"source {aux.target.name}: none of its {len(good)} epochs has {what}; check the file it comes from"
        raise DataError(msg)


def _with_times(epochs: Columns) -> Columns:
    """Return the columns with ``mjd`` = middle of the exposure and ``mjd_start``, both MJD (UTC).

    Where the length of the exposure is not known, its start stands for its middle: a quarter of a minute off.
    """
    columns = dict(epochs)
    if "mjd_start" in columns:  # a bulk file, whose times are converted all at once
        return columns
    columns["mjd_start"] = columns["mjd"]
    columns["mjd"] = mid_exposure(columns["mjd_start"], np.nan_to_num(columns["exptime"]))
    return columns


def why_not(columns: Columns, oid: int, target: Target, settings: ZTFSettings) -> str:
    """Say why an object is not the source, judged by the medians of its good epochs; empty if it is.

    Raises
    ------
    BadKeyword
        If one object has epochs in two filters.
    """
    good = (columns["catflags"] == 0) & np.isfinite(columns["mag"]) & np.isfinite(columns["mjd"])
    good &= np.isfinite(columns["ra"]) & np.isfinite(columns["dec"])
    mine = columns["oid"] == oid
    if len(bands := np.unique(columns["filtercode"][mine])) > 1:
        msg = f"source {target.name}: object {oid} has epochs in several filters: {', '.join(bands)}"
        raise BadKeyword(msg)
    rows = {name: values[mine & good] for name, values in columns.items()}
    placed = target.ra is not None and target.dec is not None
    compare_mag = target.mag is not None and settings.mag_range is not None
    if not placed and not compare_mag:
        return ""
    if not len(rows["mjd"]):
        return "objects without a good epoch to know them by"
    if placed and not _is_at_place(rows, target, settings):
        return "objects away from the position of the source"
    if compare_mag:
        assert target.mag is not None
        assert settings.mag_range is not None
        if not abs(float(np.median(rows["mag"])) - target.mag) <= settings.mag_range:
            return "objects whose magnitude is not that of the source"
    return ""


def _is_at_place(rows: Columns, target: Target, settings: ZTFSettings) -> bool:
    """Compare the position at each epoch with that of the source at the time.

    On the tangent plane a proper motion is a straight line at constant speed, at the poles as well.
    """
    assert target.ra is not None
    assert target.dec is not None
    east, north = tangent_offsets(rows["ra"], rows["dec"], target.ra, target.dec)
    years = julian_year(rows["mjd"]) - target.epoch
    pmra, pmdec = target.pmra or 0.0, target.pmdec or 0.0
    east, north = east - pmra * years / 1000.0, north - pmdec * years / 1000.0
    # not <=, so that a position on the far half of the sky (NaN) is out
    if not np.hypot(np.median(east), np.median(north)) <= settings.radius:
        return False
    # a moving star leaves a trail of objects and passes those of other stars
    moves = bool(pmra or pmdec)
    return not moves or float(np.mean(np.hypot(east, north) <= settings.track_radius)) > 0.5


def _aligned(columns: Columns, settings: ZTFSettings) -> NDArray[np.float64]:
    """Return magnitudes with the objects of each filter on one zero point."""
    mag = columns["mag"].copy()
    for band in np.unique(columns["filtercode"]):
        rows = columns["filtercode"] == band
        oid = columns["oid"][rows]
        good = columns["catflags"][rows] == 0
        offsets = align_offsets(
            oid, columns["mjd"][rows], mag[rows], good=good, max_error=settings.align_error
        )
        mag[rows] -= offsets.per_row(oid)
    return mag


def _standard(columns: Columns, settings: ZTFSettings, target: Target) -> Columns:
    """Return the columns of the product, by their standard names."""
    mag, error = columns["mag"], _errors(columns, settings)
    flags = np.where(columns["catflags"] != 0, FLAG_ARCHIVE, 0)
    flags |= np.where(np.isfinite(mag), 0, FLAG_NOT_FINITE)
    flags |= np.where(np.isfinite(error) & (error > 0), 0, FLAG_BAD_ERROR)
    if "out_of_range" in columns:
        flags |= np.where(columns["out_of_range"] != 0, FLAG_RANGE, 0)
    standard: Columns = {"mjd": columns["mjd"], "mjd_start": columns["mjd_start"]}
    if "hjd" in columns:
        standard["hjd"] = columns["hjd"]
    if settings.barycentric:
        standard["bjd_tdb"] = _barycentric(columns, target)
    standard |= {
        "flux": flux_from_mag(mag),
        "flux_error": flux_error_from_mag(mag, error),
        "mag": mag,
        "mag_error": error,
        "flags": flags.astype(np.int64),
    }
    if "exptime" in columns:  # bulk files know no exposure, and one position for all epochs
        standard |= {name: columns[name] for name in ("ra", "dec", "exptime")}
    standard |= {OBJECT_ID: columns["oid"], "catflags": columns["catflags"]}
    if "limitmag" in columns:
        standard[LIMITING_MAG] = columns["limitmag"]
    return standard | {name: columns[name] for name in _PER_EPOCH if name in columns}


def _errors(columns: Columns, settings: ZTFSettings) -> NDArray[np.float64]:
    """Return magnitude errors as the archive gives them, or as the scatter of constant stars wants them."""
    error: NDArray[np.float64] = columns["magerr"]
    if not settings.rescale_errors:
        return error
    for band, (factor, floor) in _ERROR_SCALE.items():
        error = np.where(columns["filtercode"] == band, np.hypot(factor * error, floor), error)
    return error


def _barycentric(columns: Columns, target: Target) -> NDArray[np.float64]:
    """Return BJD in TDB (d), where not known yet for the position of the source or of its epochs."""
    known = columns.get("bjd_tdb", np.full(len(columns["mjd"]), np.nan)).copy()
    if not (unknown := np.isnan(known)).any():
        return known
    if target.ra is not None and target.dec is not None:
        ra, dec = target.ra, target.dec
    else:
        ra, dec = circular_mean(columns["ra"]), float(np.nanmean(columns["dec"]))
    known[unknown] = bjd_tdb(columns["mjd"][unknown], ra, dec, PALOMAR)
    return known


def month_of(mjd: float) -> str:
    """Return year and month of an MJD, e.g. ``2018-06``; ``undated`` beyond the calendar."""
    if not -678575 < mjd < 2973483:
        return "undated"
    return str(np.datetime64("1858-11-17", "D") + np.timedelta64(int(np.floor(mjd)), "D"))[:7]


def unique_series(names: Iterator[str]) -> list[str]:
    """Give repeated names a number, ``2018-06-zg``, ``2018-06-zg-2`` ..., and keep the first as it is."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return result


def _product(columns: Columns, band: str, series: str) -> Product[TimeSeries]:
    oids = [int(oid) for oid in np.unique(columns[OBJECT_ID])]
    meta: RecordDict = {"oids": oids, "time": "middle of exposure"}
    if impossible := int(np.count_nonzero(columns["flags"] & FLAG_RANGE)):
        meta["out_of_range"] = impossible
    blank = int((~np.isfinite(columns["exptime"])).sum()) if "exptime" in columns else 0
    if blank:
        meta["time"] = f"middle of exposure; of {blank} epochs without an exposure time the start"
    data = TimeSeries(columns, units=units_of(columns), meta=meta, band=band)
    statistics = light_curve_statistics(
        data.mjd, data.flux, data.flux_error, flags=data.flags, exptime=columns.get("exptime")
    )
    return Product(data, series=series, band=band, statistics=statistics.as_columns())
