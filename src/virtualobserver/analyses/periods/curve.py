"""All light curves of a source as one: magnitudes, times of the light leaving the body, sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.periods.settings import PeriodsSettings
from virtualobserver.conventions import HOURS_PER_DAY, MJD_ZERO_JD
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Aux
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.ephemeris.brightness import phase_dimming
from virtualobserver.maths.ephemeris.perturbed import LIGHT_AU_PER_DAY

__all__ = ["Merged", "merge", "times_of"]

FloatArray = NDArray[np.float64]

NIGHT_GAP: Final = 0.3
"""A pause of so many days ends a night: days are longer, pauses for clouds mostly shorter."""
DENSE: Final = 5
"""Epochs of a night that its own zero point leaves enough of."""
_POGSON: Final = 2.5 / np.log(10)
"""Magnitudes per natural logarithm of flux, by definition."""


@dataclass(frozen=True, eq=False)
class Merged:
    """Good epochs of all light curves in order of time, shape (n,) each.

    `mjd` as stored, `days` when the light left the body (or reached the barycentre), `mag` reduced to unit distances
    and phase 0 as far as the columns allow, less the mean of each light curve; `product` which light curve; `reduced`
    the columns that this was done by in all of them.
    """

    mjd: FloatArray
    days: FloatArray
    mag: FloatArray
    error: FloatArray
    product: NDArray[np.int64]
    reduced: tuple[str, ...]

    def __len__(self) -> int:
        return self.mjd.size

    @property
    def hours(self) -> FloatArray:
        """Hours since the first epoch."""
        return np.asarray((self.days - self.days[0]) * HOURS_PER_DAY)

    def sessions(self, kind: str) -> NDArray[np.int64]:
        """Return the number of the session of each epoch; `kind` as in the settings."""
        if kind == "curve":
            return self.product
        night = np.concatenate([[0], np.cumsum(np.diff(self.mjd) > NIGHT_GAP)])
        _, session = np.unique(np.stack([self.product, night]), axis=1, return_inverse=True)
        session = session.ravel().astype(np.int64)
        if kind == "auto" and np.median(np.bincount(session)) < DENSE:
            return self.product
        return session


def merge(
    products: Sequence[Handle[TimeSeries]], settings: PeriodsSettings, aux: Aux | None = None
) -> Merged | None:
    """Return the good epochs of all light curves of a source, or None if there are too few."""
    parts = []
    reduced: list[tuple[str, ...]] = []
    plain = []
    for number, handle in enumerate(products):
        curve = handle.load()
        if settings.band is not None and curve.band != settings.band:
            continue
        mag, done = _reduced(curve)
        good = _good(curve, mag, aux)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = _POGSON * curve.flux_error / curve.flux
        if good.sum() > 1:
            reduced.append(done)
            plain.append(0 if "observer_distance" in curve or "bjd_tdb" in curve else int(good.sum()))
            mean = float(np.average(mag[good], weights=error[good] ** -2))
            parts.append(
                (
                    curve.mjd[good],
                    times_of(curve)[good],
                    mag[good] - mean,
                    error[good],
                    np.full(good.sum(), number),
                )
            )
    if not parts:
        return None
    if aux is not None and not all(plain):
        aux.note("epochs with times as at the telescope, beside others freed of the light's way", sum(plain))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[4], columns[0]))
    mjd, days, mag, error, product = (column[order] for column in columns)
    if mjd.size < settings.min_epochs or not np.ptp(days) > 0:
        return None
    return Merged(
        mjd,
        days,
        mag,
        error,
        product,
        tuple(name for name in reduced[0] if all(name in one for one in reduced)),
    )


def times_of(curve: TimeSeries) -> FloatArray:
    """Return the time of each epoch in days: when the light left the body, else at the barycentre, else as it came."""
    if "observer_distance" in curve:
        return np.asarray(curve.mjd - np.asarray(curve["observer_distance"], float) / LIGHT_AU_PER_DAY)
    if "bjd_tdb" in curve:
        return np.asarray(curve["bjd_tdb"], float) - MJD_ZERO_JD
    return curve.mjd


def _good(curve: TimeSeries, mag: FloatArray, aux: Aux | None) -> NDArray[np.bool_]:
    """Return which epochs are used; the others are counted. Magnitudes are the reduced ones."""
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(curve.flux) & (curve.flux > 0) & (curve.flux_error > 0)
        whole &= np.isfinite(times_of(curve)) & np.isfinite(curve.flux_error)
    clean = curve.flags == 0
    placed = np.isfinite(mag) | ~whole
    if aux is not None:
        aux.note("epochs with flags", int(np.sum(~clean)))
        aux.note("epochs without positive flux and error, or without a time", int(np.sum(clean & ~whole)))
        aux.note("epochs whose distance or phase angle is not known", int(np.sum(clean & ~placed)))
    return np.asarray(clean & whole & placed)


def _reduced(curve: TimeSeries) -> tuple[FloatArray, tuple[str, ...]]:
    """Return magnitudes as from unit distances at phase 0, as far as the columns say where the body was."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -_POGSON * np.log(curve.flux)
    done = []
    for name in ("heliocentric_distance", "observer_distance"):
        if name in curve:
            distance = np.asarray(curve[name], float)
            mag = mag - 5 * np.log10(np.where(distance > 0, distance, np.nan))
            done.append(name)
    if "phase_angle" in curve:
        mag = mag - phase_dimming(curve["phase_angle"])
        done.append("phase_angle")
    return np.asarray(mag), tuple(done)
