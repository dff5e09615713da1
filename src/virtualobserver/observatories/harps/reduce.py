"""From exposures to one set of spectra for each line: a common grid, errors, continuum, nights, quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import (
    SPECTRUM_MASK_COSMIC,
    SPECTRUM_MASK_EXPOSURE,
    SPECTRUM_MASK_FLAGGED,
    SPECTRUM_MASK_NOT_COVERED,
    SPECTRUM_MASK_NOT_FINITE,
    SPECTRUM_MASK_SPIKE,
)
from virtualobserver.data.product import Product
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra import lines as spectra
from virtualobserver.maths.spectra import noise as spectrum_noise
from virtualobserver.maths.spectra import strangers as strange
from virtualobserver.observatories.harps.reader import Exposure
from virtualobserver.observatories.harps.rows import LineRows, Star, columns_of
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.typing import Record, RecordDict

__all__ = ["build_products"]

LINE_NAMES: Final = {"K": "CaII K", "H": "CaII H"}
_BLOCKED: Final = {"H": ((3970.075, 150.0),)}
"""Other strong lines near a line: wavelength in air (Å) and the half width (km/s) kept out of its side bands."""
_FEW: Final = 4
"""Spectra; of fewer a median is no reference for their noise."""
_NOTHING: Final[Array] = np.empty(0)
_MANY: Final = 400
"""Spectra that give the reference and the correlation; more change neither."""
_UNITS: Final = {
    "mjd": "d", "exptime": "s", "berv": "km/s", "rv": "km/s", "v_file": "km/s",
}  # fmt: skip

_BEYOND: Final = 300.0
"""km/s outside of the side bands that are looked at too, so that a spectrum may be shifted against the others."""

FloatArray = NDArray[np.float64]
Stranger = tuple[int, int, str]
"""Row, quality bit and reason."""


def build_products(
    exposures: Sequence[Exposure],
    archive_ids: Sequence[str],
    lines: Sequence[LineRows],
    star: Star,
    settings: HARPSSettings,
) -> list[Product[SpectrumSet]]:
    """Return one product for each line; all have the same epochs, in order of time."""
    if not exposures:
        return []
    common = columns_of(exposures, archive_ids)
    order = np.lexsort((common["archive_id"], common["mjd"]))
    works = [_Work.begin(exposures, line, star, settings, order=order) for line in lines]
    for work in works:
        work.mark_rows()
        work.fit_continua()
    strange = [found for work in works for found in work.strangers(common["era"][order])]
    for work in works:
        work.leave_out(strange)
    return [_one_line(work, common) for work in works]


def _one_line(work: _Work, common: Mapping[str, Array]) -> Product[SpectrumSet]:
    order, line, star, settings = work.order, work.line, work.star, work.settings
    era = common["era"][order]
    share: dict[str, float] = {}
    correlation: dict[str, float] = {}
    for state in np.unique(era):
        a, rho = work.measure(np.flatnonzero(era == state), harps=bool(state < 20))
        share[str(state)], correlation[str(state)] = round(a, 4), round(rho, 4)
    columns: RecordDict = {name: values[order] for name, values in common.items()}
    columns |= work.columns()
    meta = {
        "line": LINE_NAMES.get(line.name, line.name),
        "rest": line.rest,
        "v_star": star.v_star,
        "v_star_source": star.v_source,
        "instrument": ", ".join(dict.fromkeys(e.facts.instrument for e in work.exposures)),
        "continuum_variable": "barycentric velocity in 1000 km/s",
        "side_bands": [settings.side_inner, settings.side_outer],
        "noise_share": share,
        "pixel_correlation": correlation,
        **star.facts,
    }
    data = SpectrumSet(
        wave=line.grid,
        flux=work.flux,
        error=work.error,
        mask=work.mask,
        epochs=Table(columns, units=_UNITS),
        flux_unit=next((e.flux_unit for e in work.exposures if e.flux_unit), ""),
        meta=meta,
    )
    return Product(data, series=line.name, band=line.name, statistics=work.statistics(columns))


@dataclass
class _Work:
    """The arrays of one line while they are made; rows are in order of time."""

    exposures: list[Exposure]
    settings: HARPSSettings
    line: LineRows
    star: Star
    order: NDArray[np.intp]
    flux: NDArray[np.float32]
    mask: NDArray[np.uint16]
    error: NDArray[np.float32]
    v: FloatArray
    side: NDArray[np.bool_]
    coefficients: FloatArray
    snr: FloatArray

    @classmethod
    def begin(
        cls,
        exposures: Sequence[Exposure],
        line: LineRows,
        star: Star,
        settings: HARPSSettings,
        *,
        order: NDArray[np.intp],
    ) -> _Work:
        """Stack the rows in order; a row's own windows are let go as they are stacked."""
        shape = (len(order), line.grid.size)
        flux, mask = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.uint16)
        for row, number in enumerate(order):
            flux[row], mask[row] = line.flux[number], line.mask[number]
            line.flux[number] = line.mask[number] = _NOTHING
        line.flux, line.mask = [], []
        v = spectra.velocity(line.grid, line.rest)
        blocked = [
            (center - half, center + half)
            for wave, half in _BLOCKED.get(line.name, ())
            for center in [float(spectra.velocity(wave, line.rest))]
        ]
        side = spectra.side_bands(
            v, star.v_star, inner=settings.side_inner, outer=settings.side_outer, blocked=blocked
        )
        # every line judges its own window, so that each has a copy of the quality bits
        own = [
            replace(exposures[n], reasons=list(exposures[n].reasons), wave=np.empty(0), flux=np.empty(0))
            for n in order
        ]
        error = np.full(shape, np.nan, dtype=np.float32)
        empty = np.full(len(order), np.nan)
        unknown = np.full((len(order), 3), np.nan)
        return cls(own, settings, line, star, order, flux, mask, error, v, side, unknown, empty)

    def mark_rows(self) -> None:
        """Turn what the pixels of a row show into bits of its quality."""
        for row, exposure in enumerate(self.exposures):
            bits, flux = self.mask[row], self.flux[row]
            covered = bits & SPECTRUM_MASK_NOT_COVERED == 0
            for bit, quality, what in (
                (SPECTRUM_MASK_NOT_FINITE, flags.QUALITY_NOT_FINITE, "pixels that are no numbers"),
                (SPECTRUM_MASK_SPIKE, flags.QUALITY_SPIKES, "pixels with absurd values"),
            ):
                if count := int((bits & bit != 0).sum()):
                    exposure.note(quality, f"{count} {what} in {self.line.name}")
            if not covered.all() and not exposure.quality & flags.QUALITY_UNREADABLE:
                missing = int((~covered).sum())
                exposure.note(flags.QUALITY_COVERAGE, f"{missing} pixels of {self.line.name} not covered")
            good = bits == 0
            if (ceiling := strange.saturated_pixels(np.where(good, flux, np.nan))).any():
                self.mask[row, ceiling] |= np.uint16(SPECTRUM_MASK_FLAGGED)
                told = f"{int(ceiling.sum())} pixels of {self.line.name} at the same highest value"
                exposure.note(flags.QUALITY_SATURATED, told)
            if not exposure.quality & flags.QUALITY_UNREADABLE and (
                good[self.side].sum() < 100 or not flux[good].any() or np.ptp(flux[good]) == 0
            ):
                exposure.note(flags.QUALITY_DEAD, f"no signal in {self.line.name}")
            if self.line.factor[self.order[row]] is not None and covered.any():
                exposure.note(flags.QUALITY_RESAMPLED, "interpolated onto the grid")
        self._mark_duplicates()
        for row, exposure in enumerate(self.exposures):
            if exposure.quality & flags.QUALITY_BAD:
                self.mask[row] |= np.uint16(SPECTRUM_MASK_EXPOSURE)

    def _mark_duplicates(self) -> None:
        """Of exposures that are there several times keep the newest reduction, of equally new ones the first."""
        seen: dict[tuple[str, float], Exposure] = {}
        for exposure in sorted(self.exposures, key=_reduced, reverse=True):
            if not np.isfinite(exposure.facts.mjd) or exposure.quality & flags.QUALITY_BAD:
                continue
            key = (exposure.facts.instrument, round(exposure.facts.mjd, 6))
            kept = seen.setdefault(key, exposure)
            if kept is not exposure:
                exposure.note(flags.QUALITY_DUPLICATE, f"the same exposure as {kept.name}")

    def fit_continua(self) -> None:
        """Fit the continuum of every exposure that is not bad already."""
        for r, exposure in enumerate(self.exposures):
            if exposure.quality & flags.QUALITY_BAD:
                continue
            use = self.side & (self.mask[r] == 0)
            self.coefficients[r] = spectrum_noise.continuum_fit(
                self.v[use] / 1000,
                self.flux[r, use].astype(np.float64),
                degree=self.settings.continuum_degree,
            )

    def strangers(self, era: Array) -> list[Stranger]:
        """Return which exposures do not belong among the others of their instrument state, and why."""
        found: list[Stranger] = []
        away = spectra.stellar_velocity(self.v, self.star.v_star)
        near = np.abs(away) < self.settings.side_outer + _BEYOND
        for state in np.unique(era):
            rows = [
                r
                for r in np.flatnonzero(era == state).tolist()
                if not self.exposures[r].quality & flags.QUALITY_BAD
                and np.isfinite(self.coefficients[r]).all()
                and self._level(r) > 0
            ]
            if not rows:
                continue
            normal = np.stack([self._normal(r)[near].astype(np.float32) for r in rows])
            compared = strange.compare(normal, away[near])
            berv = np.array([self.exposures[r].facts.berv for r in rows])
            other, moved = strange.of_another_star(compared), strange.wrongly_shifted(compared, berv)
            found += [
                (
                    rows[n],
                    flags.QUALITY_FOREIGN,
                    f"the spectrum around {self.line.name} is not that of the star",
                )
                for n in np.flatnonzero(other & ~moved)
            ]
            found += [
                (rows[n], flags.QUALITY_SHIFTED,
                 f"stands {compared.shift[n]:+.1f} km/s off the others; the correction for the Earth is {berv[n]:+.1f}")
                for n in np.flatnonzero(moved)
            ]  # fmt: skip
        return found

    def leave_out(self, found: Sequence[Stranger]) -> None:
        """Mask the exposures that any of the lines found strange."""
        for row, bit, reason in found:
            self.exposures[row].note(bit, reason)
            self.mask[row] |= np.uint16(SPECTRUM_MASK_EXPOSURE)
            self.coefficients[row] = np.nan

    def measure(self, rows: NDArray[np.intp], *, harps: bool) -> tuple[float, float]:
        """Find noise and cosmic rays of the exposures of one instrument state."""
        live = [r for r in rows if not self.exposures[r].quality & flags.QUALITY_BAD]
        live = [r for r in live if np.isfinite(self.coefficients[r]).all() and self._level(r) > 0]
        for r in set(rows) - set(live):
            if not self.exposures[r].quality & flags.QUALITY_BAD:
                self.exposures[r].note(flags.QUALITY_DEAD, f"no continuum beside {self.line.name}")
                self.mask[r] |= np.uint16(SPECTRUM_MASK_EXPOSURE)
                self.coefficients[r] = np.nan
        if not live:
            return 1.0, self.settings.pixel_correlation
        reference = self._reference(live)
        rho = self.settings.pixel_correlation if harps else self._correlation(live, reference)
        for r in live:
            self.snr[r] = self._snr(r, reference, rho, len(live))
        share = self._share(live, reference, rho)
        for r in live:
            self._errors(r, reference, share)
        return share, rho

    def _continuum(self, row: int) -> FloatArray:
        c = self.coefficients[row]
        x = self.v / 1000
        return np.asarray(c[0] + x * (c[1] + x * c[2]))

    def _level(self, row: int) -> float:
        return float(np.median(self._continuum(row)[self.side]))

    def _normal(self, row: int) -> FloatArray:
        """Return the normalised flux of a row, NaN where masked."""
        continuum = self._continuum(row)
        usable = (self.mask[row] == 0) & (continuum > 0)
        return np.where(usable, self.flux[row] / np.where(usable, continuum, 1.0), np.nan)

    def _reference(self, live: Sequence[int]) -> FloatArray | None:
        """Return the median of the normalised spectra, None where there are too few to tell noise from lines."""
        if len(live) < _FEW:
            return None
        some = [live[i] for i in np.linspace(0, len(live) - 1, min(len(live), _MANY)).astype(int)]
        stack = np.stack([self._normal(r).astype(np.float32) for r in some])
        return spectrum_noise.column_medians(stack)[0]

    def _residual(self, row: int, reference: FloatArray | None) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return normalised flux less the reference, on the pixels the detector had, within the side bands."""
        native = self.line.native[self.order[row]]
        if native is None:
            normal = self._normal(row)
            residual = normal if reference is None else normal - reference
            return residual, np.isfinite(residual) & self.side
        wave, flux, good = native
        x = spectra.velocity(wave, self.line.rest) / 1000
        c = self.coefficients[row]
        normal = flux / (c[0] + x * (c[1] + x * c[2]))
        if reference is not None:
            normal = normal - np.interp(wave, self.line.grid, reference)
        inside = np.interp(wave, self.line.grid, self.side.astype(float)) > 0.5
        return normal, good & inside & np.isfinite(normal)

    def _correlation(self, live: Sequence[int], reference: FloatArray | None) -> float:
        if reference is None:
            return self.settings.pixel_correlation
        found = [spectrum_noise.pixel_correlation(*self._residual(r, reference)) for r in live[:_MANY]]
        return float(np.clip(np.nanmedian(found), 0.0, 0.6)) if np.isfinite(found).any() else 0.0

    def _snr(self, row: int, reference: FloatArray | None, rho: float, n: int) -> float:
        residual, good = self._residual(row, reference)
        noise = spectrum_noise.noise_from_differences(residual, good, correlation=rho)
        if reference is not None:
            # the reference holds a share of this very spectrum: a median of n has π/2n of its variance
            noise /= np.sqrt(max(1.0 - 2.0 / n + np.pi / (2 * n), 0.5))
        return float(1.0 / noise) if noise > 0 else float("nan")

    def _share(self, live: Sequence[int], reference: FloatArray | None, rho: float) -> float:
        usable = [r for r in live if self.line.native[self.order[r]] is None and np.isfinite(self.snr[r])]
        if reference is None or len(usable) < 2 * _FEW:
            return 1.0
        some = [usable[i] for i in np.linspace(0, len(usable) - 1, min(len(usable), _MANY)).astype(int)]
        steps = np.stack(
            [(np.diff(self._normal(r) - reference) * self.snr[r]).astype(np.float32) for r in some]
        )
        spread = spectrum_noise.column_medians(steps)[1]
        middle = 0.5 * (reference[1:] + reference[:-1])
        near = np.abs(self.v[1:]) < self.settings.side_outer
        return spectrum_noise.noise_share(np.where(near, spread**2 / (2 * (1 - rho)), np.nan), middle)

    def _errors(self, row: int, reference: FloatArray | None, share: float) -> None:
        """Set the errors of a row in the unit of its flux, and mask its cosmic rays."""
        continuum = np.abs(self._continuum(row))
        shape = np.ones(self.v.size)
        if reference is not None:
            level = np.clip(np.where(np.isfinite(reference), reference, 1.0), 0.0, None)
            shape = np.sqrt(share + (1 - share) * level)
        factor = self.line.factor[self.order[row]]
        sigma = continuum * shape / self.snr[row]
        self.error[row] = sigma if factor is None else sigma * np.where(np.isfinite(factor), factor, 1.0)
        if reference is not None and self.settings.cosmic_threshold > 0 and np.isfinite(self.snr[row]):
            z = (self._normal(row) - reference) * self.snr[row] / np.maximum(shape, 0.05)
            hit = spectrum_noise.find_cosmics(z, threshold=self.settings.cosmic_threshold)
            if hit.any():
                self.mask[row, hit] |= np.uint16(SPECTRUM_MASK_COSMIC)
                self.exposures[row].note(
                    flags.QUALITY_COSMICS, f"{int(hit.sum())} pixels of cosmic rays in {self.line.name}"
                )

    def columns(self) -> dict[str, Array]:
        """Return the columns of the epochs that belong to this line."""
        return {
            "snr": self.snr,
            "quality": np.array([e.quality for e in self.exposures], dtype=np.int64),
            "reason": np.array(["; ".join(e.reasons) for e in self.exposures], dtype=np.str_),
            "frame": np.array([e.frame for e in self.exposures], dtype=np.str_),
            "medium": np.array([e.medium for e in self.exposures], dtype=np.str_),
            "c0": self.coefficients[:, 0],
            "c1": self.coefficients[:, 1],
            "c2": self.coefficients[:, 2],
        }

    def statistics(self, columns: Record) -> RecordDict:
        """Return the summary numbers of the product."""
        good = columns["quality"] & flags.QUALITY_BAD == 0
        mjd = columns["mjd"][np.isfinite(columns["mjd"])]
        snr = self.snr[good & np.isfinite(self.snr)]
        return {
            "n": len(good),
            "n_good": int(good.sum()),
            "n_nights": len(np.unique(columns["night"][good])),
            "t_min": float(mjd.min()) if mjd.size else None,
            "t_max": float(mjd.max()) if mjd.size else None,
            "snr_median": float(np.median(snr)) if snr.size else None,
            "snr_max": float(snr.max()) if snr.size else None,
            "v_star": self.star.v_star,
        }


def _reduced(exposure: Exposure) -> str:
    """Return when an exposure was reduced, as ISO 8601: as its file says, else as ESO archived it; empty if unknown."""
    return exposure.facts.written or exposure.name.partition("ADP.")[2]
