"""From a table of any origin to light curves: times, fluxes, bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.columns import possible, units_of
from virtualobserver.conventions import (
    FLAG_BAD_ERROR,
    FLAG_NOT_FINITE,
    FLAG_RANGE,
    MAD_TO_SIGMA,
    MAG_TO_FLUX,
    MJD_ZERO_JD,
    SECONDS_PER_DAY,
    UNIT_FLUX,
)
from virtualobserver.data.foreign.curves import foreign_bits
from virtualobserver.data.product import Product, RawRef
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.data.units import unit_of
from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.io.tables import TIMES
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.statistics import light_curve_statistics, mad
from virtualobserver.maths.photometry import flux_error_from_mag, flux_from_mag
from virtualobserver.maths.times import GEOCENTRE, Site, mjd_at_telescope, offline_astropy
from virtualobserver.observatories.folder.read import frame_of, known_unit, need, numbers, texts
from virtualobserver.observatories.folder.settings import NO_PRESET, PRESETS, FolderSettings, TimeSettings
from virtualobserver.observatory import Aux
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Layout", "curves_of", "once", "product_of"]

FloatArray = NDArray[np.float64]

_SAID: Final = 15_020.0
"""MJD of 1900: earlier times have to be said, since Julian dates less 2450000 are as small. Plates begin in 1885."""
_LARGEST: Final = 1e25
"""No flux in any usual unit is larger (the Sun has 2e20 uJy): 1e30 and the like are marks of missing ones. Chosen."""
_ZERO: Final = re.compile(r"B?JD\s*-\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_DATES: Final = re.compile(r"[A-Z]*JD\b", re.IGNORECASE)
"""``MJD`` or ``BJD - 2457000, days`` in place of a unit: such times are days, whose zero the settings say."""
_SCALES: Final = {"ut": "utc", "ut1": "utc", "": None}
_PLACES: Final = {"TOPOCENTER": "telescope", "BARYCENTER": "barycentre", "HELIOCENTER": "heliocentre"}
"""Words of VOTable for our scales and places; others are left to the settings."""
_SAME_ZERO: Final = 1e-6
"""Days: zeros of time are whole or half days, or a reference as exact as the times."""
_OURS: Final = ("flux", "flux_error", "mag", "mag_error", "band", "quality", "exptime", "ra", "dec", "series")
_WANTED: Final = {"exptime": "s", "ra": "deg", "dec": "deg", "light_travel": "d", "time": "d"}


@dataclass(frozen=True)
class Layout:
    """What is where, of settings and preset: ``names`` of columns by what they hold, and the times."""

    names: dict[str, str]
    time: TimeSettings
    band: str

    @classmethod
    def of(cls, settings: FolderSettings) -> Layout:
        """Put settings over the preset; what neither says is in `names` only if it is set."""
        preset = PRESETS.get(settings.preset, NO_PRESET)
        said = {name: value for name, value in settings.columns if isinstance(value, str)}
        names = {**preset.columns, **said}
        time = preset.time if settings.time == TimeSettings() else settings.time
        band = preset.band if settings.band is None else settings.band
        return cls(names, time, band)

    def column(self, frame: pd.DataFrame, what: str) -> str | None:
        """Return the column that holds something: the one that is set, else one of our name if there is one."""
        return self.names.get(what) or (what if what in _OURS and what in frame else None)


def curves_of(raw: RawRef, aux: Aux, settings: FolderSettings) -> Iterator[tuple[str, str, TimeSeries]]:
    """Yield series, band and light curve for each of them in a piece of raw data.

    Epochs without a time are left out, those without a flux flagged, and those out of order sorted; values that
    cannot be, such as a magnitude of 99, are taken out and their epochs flagged. `aux` counts them.

    Raises
    ------
    InvalidFile
        If the file is none that can be read, or there are fluxes and none has an error above zero.
    BadKeyword
        If a column is missing or is text, holds something else, such as Julian dates for modified ones, or a unit is
        not known or not one of its kind.
    """
    frame = frame_of(raw, settings.columns.object)
    if frame.empty:
        aux.note("files without a row")
    layout = Layout.of(settings)
    table = _Table(frame, layout, settings, raw.archive_id, np.zeros(len(frame), dtype=bool))
    columns, unit = table.columns()
    meta: RecordDict = {"flux": "total", "file": raw.archive_id}
    columns |= table.times(aux, meta)
    columns["flags"] = columns["flags"] | np.where(table.odd, FLAG_RANGE, 0)
    aux.note("epochs with a value that cannot be, taken out", int(table.odd.sum()))
    bands = table.labels("band", str(raw.header.get("band", "")) or layout.band)
    series = table.labels("series", str(raw.header.get("series", "")))
    timed = np.isfinite(columns["mjd"])
    aux.note("epochs without a time", int((~timed).sum()))
    lost, bad = ((columns["flags"][timed] & bit) != 0 for bit in (FLAG_NOT_FINITE, FLAG_BAD_ERROR))
    aux.note("epochs whose flux or error is not a number", int(lost.sum()))
    aux.note("epochs whose error is zero or negative", int((bad & ~lost).sum()))
    if np.isfinite(columns["flux"][timed]).any() and (lost | bad).all():
        msg = f"{raw.archive_id}: none of its {len(lost)} epochs has a flux with an error above zero; check the file"
        raise InvalidFile(msg)
    for one, band in sorted(set(zip(series[timed].tolist(), bands[timed].tolist(), strict=True))):
        rows = np.flatnonzero(timed & (series == one) & (bands == band))
        yield (
            one,
            band,
            _curve({name: values[rows] for name, values in columns.items()}, band, unit, meta, aux),
        )


def product_of(series: str, band: str, curve: TimeSeries) -> Product[TimeSeries]:
    """Return a light curve with its summary numbers; magnitudes are told of fluxes in µJy only."""
    numbers = light_curve_statistics(
        curve.mjd, curve.flux, curve.flux_error, flags=curve.flags, exptime=curve.columns.get("exptime")
    ).as_columns()
    if curve.flux_unit != UNIT_FLUX:
        numbers = {name: None if name.startswith("mag_") else value for name, value in numbers.items()}
    name = "_".join(part for part in (series, band) if part)
    return Product(curve, series=name, band=band, statistics=numbers)


def _curve(columns: dict[str, Array], band: str, unit: str, meta: RecordDict, aux: Aux) -> TimeSeries:
    mjd = columns["mjd"]
    if np.any(np.diff(mjd) < 0):
        aux.note("epochs not in order of time, sorted", int((np.diff(mjd) < 0).sum()))
        order = np.argsort(mjd, kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
    columns = once(columns, aux)
    aux.note("epochs at a time that occurs twice, kept", int((np.diff(columns["mjd"]) == 0).sum()))
    if not (columns["flags"] == 0).any():
        aux.note("light curves without a good epoch, in which nothing can be found")
    units = {**units_of(columns), "flux": unit, "flux_error": unit}
    return TimeSeries(columns, units=units, meta=meta, band=band, flux_unit=unit)


def once(columns: dict[str, Array], aux: Aux) -> dict[str, Array]:
    """Return columns without rows that repeat an earlier one in time, flux and error; `aux` counts them."""
    facts = np.stack(
        [np.asarray(columns[name], np.float64) for name in ("mjd", "flux", "flux_error")], axis=1
    )
    # as bits: a value that is not a number equals itself, and zero its negative
    bits = np.where(np.isnan(facts), np.nan, facts + 0.0).view(np.int64)
    _, first = np.unique(bits, axis=0, return_index=True)
    if len(first) == len(facts):
        return columns
    aux.note("rows that repeat another, left out", len(facts) - len(first))
    first.sort()
    return {name: values[first] for name, values in columns.items()}


@dataclass(frozen=True)
class _Table:
    frame: pd.DataFrame
    layout: Layout
    settings: FolderSettings
    name: str
    odd: NDArray[np.bool_]
    """Rows of which a value was taken out; marked as columns are read."""

    def labels(self, what: str, otherwise: str) -> NDArray[np.str_]:
        column = self.layout.column(self.frame, what)
        if column is None:
            return np.full(len(self.frame), otherwise)
        return texts(self.frame, column, what, self.name)

    def columns(self) -> tuple[dict[str, Array], str]:
        """Return all columns but the times, and the unit of the flux."""
        flux, error, unit, more = self._fluxes()
        columns: dict[str, Array] = {"flux": flux, "flux_error": error, **more}
        columns["flags"] = self._flags(flux, error)
        for what in ("exptime", "ra", "dec"):
            if (column := self.layout.column(self.frame, what)) is not None:
                columns[what] = self._converted(column, what)
        if "exptime" not in columns and self.settings.exptime is not None:
            columns["exptime"] = np.full(len(self.frame), self.settings.exptime)
        if (quality := self.layout.column(self.frame, "quality")) is not None:
            columns["quality"] = self._quality(quality)[0]
        for name in self.settings.columns.keep:
            values = need(self.frame, name, "keep", self.name)
            text = values.dtype == object
            columns.setdefault(name, texts(self.frame, name, "keep", self.name) if text else
                               numbers(self.frame, name, "keep", self.name))  # fmt: skip
        return columns, unit

    def _fluxes(self) -> tuple[FloatArray, FloatArray, str, dict[str, Array]]:
        if (column := self.layout.column(self.frame, "flux")) is None:
            if self.layout.column(self.frame, "mag") is None:
                need(self.frame, "flux", "flux", self.name)  # says which columns there are
            return self._from_mags()
        flux = numbers(self.frame, column, "flux", self.name)
        marks = np.abs(flux) > _LARGEST
        np.logical_or(self.odd, marks, out=self.odd)
        flux = np.where(marks, np.nan, flux)
        unit = self._unit("flux", column)
        if unit is None:
            msg = f"{self.name}: nothing says the unit of the flux; say units: {{flux: mJy}}, or '' if it is relative"
            raise BadKeyword(msg)
        error = self._error("flux", flux)
        factor, error_factor = 1.0, 1.0
        error_column = self.layout.column(self.frame, "flux_error")
        theirs = self._unit("flux_error", error_column) if error_column is not None else None
        if theirs is not None:
            error_factor = self._factor(theirs, unit, "flux_error")
        if unit and unit_of(unit).is_equivalent(UNIT_FLUX):
            factor, unit = self._factor(unit, UNIT_FLUX, "flux"), UNIT_FLUX
        return flux * factor, error * error_factor * factor, unit, {}

    def _from_mags(self) -> tuple[FloatArray, FloatArray, str, dict[str, Array]]:
        mag = numbers(self.frame, self.layout.column(self.frame, "mag") or "mag", "mag", self.name)
        mag = self._possible("mag", mag)
        error = self._possible("mag_error", self._error("mag", mag))
        if self.settings.magnitudes == "ab":
            return (
                flux_from_mag(mag),
                flux_error_from_mag(mag, error),
                UNIT_FLUX,
                {"mag": mag, "mag_error": error},
            )
        known = mag[np.isfinite(mag)]
        zero = float(np.median(known)) if known.size else 0.0
        flux = flux_from_mag(mag, zero_point=zero)
        return flux, flux * error * MAG_TO_FLUX, "", {}

    def _error(self, what: str, values: FloatArray) -> FloatArray:
        column = self.layout.column(self.frame, f"{what}_error")
        if column is not None:
            return numbers(self.frame, column, f"{what}_error", self.name)
        if self.settings.errors == "column":
            msg = (
                f"{self.name}: no column of errors; there are {', '.join(map(str, self.frame.columns))}; say "
                f"which in columns: {{{what}_error: …}}, or errors: scatter takes the scatter of neighbours"
            )
            raise BadKeyword(msg)
        known = values[np.isfinite(values)]
        scatter = mad(np.diff(known)) * MAD_TO_SIGMA / np.sqrt(2.0)
        return np.full(values.size, scatter)

    def _unit(self, what: str, column: str) -> str | None:
        """Return the unit of a column as settings or file say; None if neither does."""
        said = dict(self.settings.units).get(what)  # type: ignore[call-overload]
        found = self.frame.attrs.get("units", {}).get(column) if said is None else said
        return None if found is None else known_unit(str(found), what, self.name)

    def _factor(self, unit: str, wanted: str, what: str) -> float:
        from astropy.units import UnitConversionError

        try:
            return float(unit_of(unit).to(unit_of(wanted)))
        except UnitConversionError:
            msg = f"{self.name}: the unit of {what} is {unit!r}, which cannot become {wanted or 'a pure number'!r}"
            raise BadKeyword(msg) from None

    def _converted(self, column: str, what: str) -> FloatArray:
        values = numbers(self.frame, column, what, self.name)
        unit = self._unit(what, column)
        return self._possible(what, values if not unit else values * self._factor(unit, _WANTED[what], what))

    def _possible(self, what: str, values: FloatArray) -> FloatArray:
        """Return values of one of our columns with NaN for those that cannot be, and mark their rows."""
        try:
            columns, rows, _ = possible({what: values})
        except BadKeyword as error:
            way = (
                "; or say time: {format: jd, scale: utc}"
                if what == "mjd" and "Julian dates" in str(error)
                else ""
            )
            msg = f"{self.name}: {error}{way}"
            raise BadKeyword(msg) from None
        np.logical_or(self.odd, rows, out=self.odd)
        return columns[what]

    def _flags(self, flux: FloatArray, error: FloatArray) -> NDArray[np.int64]:
        flags = np.where(np.isfinite(flux) & np.isfinite(error), 0, FLAG_NOT_FINITE).astype(np.int64)
        flags |= np.where(error > 0, 0, FLAG_BAD_ERROR)
        column = self.layout.column(self.frame, "quality")
        return flags if column is None else flags | self._quality(column)[1]

    def _quality(self, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bits as they came, and ours."""
        values = numbers(self.frame, column, "quality", self.name)
        hidden = ~np.isfinite(values)
        bits = np.where(hidden, 0, values).astype(np.int64)
        judged = bits if self.settings.quality_bits is None else bits & self.settings.quality_bits
        return bits, foreign_bits(np.ma.MaskedArray(judged, mask=hidden))

    def times(self, aux: Aux, meta: RecordDict) -> dict[str, Array]:
        """Return ``mjd`` at the telescope, and ``bjd_tdb`` where the times are that; `meta` says what was done."""
        how = self.layout.time
        column = self.layout.names.get("time", "mjd")
        if how.scale is None and column != "mjd":
            msg = (
                f"{self.name}: nothing says what the times in {column!r} are; say it, such as "
                "time: {format: jd, scale: tdb, place: barycentre}"
            )
            raise BadKeyword(msg)
        scale = how.scale or "utc"
        self._check_said(column, how, scale)
        mjd = self._mjd(column, how, scale) + self._to_middle(how)
        if how == TimeSettings() and np.isfinite(mjd).any() and np.nanmedian(mjd) < _SAID:
            first = float(np.nanmin(mjd))
            msg = (
                f"{self.name}: the times in {column!r} begin at {first:.10g}, as MJD before 1900; if 2450000 was taken "
                "off, say time: {format: jd, zero: 2450000, scale: utc}; if they are old plates, time: {scale: utc}"
            )
            raise BadKeyword(msg)
        found: dict[str, Array] = {}
        if scale == "tdb" and how.place == "barycentre":
            found["bjd_tdb"] = mjd + MJD_ZERO_JD
        told, travel = "none", self.layout.names.get("light_travel")
        position = None
        if travel is not None and travel in self.frame:
            found["mjd"] = mjd_at_telescope(mjd - self._converted(travel, "light_travel"), scale=scale)
            told = f"column {travel} taken out"
        else:
            if how.place != "telescope":
                position = _position(aux)
                told = "left in, as the star has no position" if position is None else "taken out"
            site = GEOCENTRE if how.site is None else Site(*how.site)
            found["mjd"] = mjd_at_telescope(mjd, scale=scale, place=how.place, position=position, site=site)
            if position is not None and how.site is None:
                told += ", at the centre of the Earth"
            if told.startswith("left in"):
                aux.note(
                    "epochs whose light travel time is left in, as the star has no position", int(mjd.size)
                )
        meta["time"] = {"scale": scale, "place": how.place, "light_travel": told}
        return found

    def _mjd(self, column: str, how: TimeSettings, scale: str) -> FloatArray:
        if how.format == "iso":
            read = self._mjd_of_text(texts(self.frame, column, "time", self.name), column, scale)
            return self._possible("mjd", read)
        values = numbers(self.frame, column, "time", self.name)
        self._check_zero(column, how)
        if unit := self._unit_of_time(column):
            values = values * self._factor(unit, "d", "time")
        # the zero first: a Julian date as one float is good to 40 µs only
        return self._possible(
            "mjd", np.asarray(values + (how.zero - (MJD_ZERO_JD if how.format == "jd" else 0.0)))
        )

    def _unit_of_time(self, column: str) -> str | None:
        """Return the unit of the times by settings, column or file; units that are sentences are left to the zero."""
        if (said := dict(self.settings.units).get("time")) is not None:
            return known_unit(said, "time", self.name)
        times = self.frame.attrs.get(TIMES, {}).get(column, {})
        for text in (self.frame.attrs.get("units", {}).get(column), times.get("unit")):
            if text and not _DATES.match(str(text)):
                with suppress(DataError):
                    return str(unit_of(str(text)))
        return None

    def _check_said(self, column: str, how: TimeSettings, scale: str) -> None:
        """Refuse times of which the file itself says another scale, place or zero than the settings."""
        said = self.frame.attrs.get(TIMES, {}).get(column, {})
        zero = how.zero + (0.0 if how.format == "jd" else MJD_ZERO_JD)
        told = {"scale": (_SCALES.get(said.get("scale"), said.get("scale")), scale)}
        if "light_travel" not in self.layout.names:
            told["place"] = (_PLACES.get(said.get("place")), how.place)
        if (
            how.format != "iso"
            and isinstance(said.get("zero"), int | float)
            and abs(said["zero"] - zero) > _SAME_ZERO
        ):
            told["zero of time (JD)"] = (f"{said['zero']:.10g}", f"{zero:.10g}")
        for name, (theirs, ours) in told.items():
            if theirs and theirs not in {ours, "unknown"}:
                such = "scale: tdb, place: barycentre"
                if name.startswith("zero"):
                    such = f"format: {how.format}, zero: {said['zero'] - zero + how.zero:.15g}"
                msg = (
                    f"{self.name}: the file says that the {name} of {column!r} is {theirs}, and by the settings it is "
                    f"{ours}; say time as the file has it, such as time: {{{such}}}"
                )
                raise BadKeyword(msg)

    def _check_zero(self, column: str, how: TimeSettings) -> None:
        """Refuse a zero that is not the one which missions write as the unit: ``BJD - 2454833, days``."""
        unit = str(self.frame.attrs.get("units", {}).get(column) or "")
        told = _ZERO.match(unit)
        if how.format == "jd" and told is not None and float(told[1]) != how.zero:
            msg = (
                f"{self.name}: the unit of {column!r} is {unit!r}, and the settings have zero: {how.zero:.10g}; "
                "say preset or time as the file has it"
            )
            raise BadKeyword(msg)

    def _mjd_of_text(self, values: NDArray[np.str_], column: str, scale: str) -> FloatArray:
        found = np.full(len(values), np.nan)
        use = values != ""
        with offline_astropy() as (_, time_class, _):
            try:
                if use.any():
                    found[use] = time_class(values[use], scale=scale).mjd
            except ValueError as error:
                msg = f"{self.name}: column {column!r} for time is not ISO 8601: {error}"
                raise BadKeyword(msg) from None
        return found

    def _to_middle(self, how: TimeSettings) -> FloatArray | float:
        if how.moment == "middle":
            return 0.0
        column = self.layout.column(self.frame, "exptime")
        if column is None and self.settings.exptime is None:
            msg = f"{self.name}: time: {{moment: {how.moment}}} needs an exposure time; say exptime"
            raise BadKeyword(msg)
        length = self.settings.exptime if column is None else self._converted(column, "exptime")
        half = np.asarray(length, dtype=np.float64) / (2 * SECONDS_PER_DAY)
        return np.asarray(half if how.moment == "start" else -half)


def _position(aux: Aux) -> tuple[float, float] | None:
    star = aux.target
    return None if star.ra is None or star.dec is None else (star.ra, star.dec)
