"""What exposures are gathered into: windows of one line on one grid, and the columns all lines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.product import Target
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra import lines as spectra
from virtualobserver.observatories.harps.reader import Exposure
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.typing import Record

__all__ = ["LineRows", "Star", "columns_of", "star_velocity", "start_rows", "windows_of"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Star:
    """What is known of the star itself: velocity (km/s) and where it comes from, and facts for the meta."""

    v_star: float
    v_source: str
    facts: Record = field(default_factory=dict)


@dataclass
class LineRows:
    """The windows of one line as they are read, one row for each exposure."""

    name: str
    rest: float
    grid: FloatArray
    flux: list[NDArray[np.float32]] = field(default_factory=list)
    factor: list[NDArray[np.float32] | None] = field(default_factory=list)
    mask: list[NDArray[np.uint16]] = field(default_factory=list)
    native: list[tuple[FloatArray, NDArray[np.float32], NDArray[np.bool_]] | None] = field(
        default_factory=list
    )

    def add(self, exposure: Exposure, reach: float) -> None:
        """Resample an exposure onto the grid; off-grid ones keep their own pixels within `reach` (km/s)."""
        ones = np.ones(exposure.wave.size)
        row = spectra.resample(exposure.wave, exposure.flux, ones, exposure.mask, self.grid)
        self.flux.append(row.flux.astype(np.float32))
        self.mask.append(row.mask)
        if not row.interpolated:
            self.factor.append(None)
            self.native.append(None)
            return
        self.factor.append(row.error.astype(np.float32))
        near = np.abs(spectra.velocity(exposure.wave, self.rest)) < reach
        good = exposure.mask[near] == 0
        self.native.append((exposure.wave[near], exposure.flux[near].astype(np.float32), good))


def windows_of(settings: HARPSSettings) -> list[tuple[float, float]]:
    """Return the stretches of wavelength (Å, air, barycentric) that the lines need."""
    grids = [_grid(rest, settings) for rest in settings.lines.values()]
    return [(float(grid[0]), float(grid[-1])) for grid in grids]


def _grid(rest: float, settings: HARPSSettings) -> FloatArray:
    return spectra.grid_around(
        rest, half_width=settings.half_width, unit=settings.half_width_unit, step=settings.wave_step
    )


def start_rows(settings: HARPSSettings) -> list[LineRows]:
    """Return the empty windows of all lines."""
    return [LineRows(name, rest, _grid(rest, settings)) for name, rest in settings.lines.items()]


def star_velocity(
    exposures: Sequence[Exposure],
    target: Target,
    settings: HARPSSettings,
    gaia: Record,
    simbad: Record,
) -> tuple[float, str]:
    """Return the barycentric velocity of the star (km/s) and where it comes from."""
    if settings.radial_velocity is not None:
        return settings.radial_velocity, "setting"
    for key in ("radial_velocity", "rv"):
        value = target.extra.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            return float(value), "catalogue"
    own = [e for e in exposures if not e.quality & flags.QUALITY_FOREIGN]
    measured = [e.facts.rv for e in own if np.isfinite(e.facts.rv)]
    if measured:
        return float(np.median(measured)), "pipeline"
    for known, name in ((gaia, "gaia"), (simbad, "simbad")):
        value = known.get("radial_velocity")
        if value is not None and np.isfinite(value):
            return float(value), name
    stated = [e.facts.rv_target for e in own if np.isfinite(e.facts.rv_target)]
    stated = [v for v in stated if v != 0.0]
    return (float(np.median(stated)), "header") if stated else (0.0, "none")


def columns_of(exposures: Sequence[Exposure], archive_ids: Sequence[str]) -> dict[str, Array]:
    """Return the columns of the epochs that do not depend on the line."""
    facts = [e.facts for e in exposures]
    mjd = np.array([f.mjd for f in facts], dtype=np.float64)
    longitudes = np.array([f.site.lon for f in facts])
    return {
        "mjd": mjd,
        "night": np.array(
            [spectra.night_of(t, lon).item() for t, lon in zip(mjd, longitudes, strict=True)], dtype=np.int64
        ),
        "era": np.array([spectra.era_of(f.mjd, f.instrument, f.mode) for f in facts], dtype=np.int64),
        "exptime": np.array([f.exptime for f in facts], dtype=np.float64),
        "berv": np.array([f.berv for f in facts], dtype=np.float64),
        "rv": np.array([f.rv for f in facts], dtype=np.float64),
        "airmass": np.array([f.airmass for f in facts], dtype=np.float64),
        "snr_header": np.array([f.snr_header for f in facts], dtype=np.float64),
        "archive_id": np.array(archive_ids, dtype=np.str_),
        "object": np.array([f.object for f in facts], dtype=np.str_),
    }
