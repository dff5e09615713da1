"""What a container itself tells of the data it holds, as columns of ObsCore: region, exposure, wavelengths."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE, SECONDS_PER_DAY
from virtualobserver.data.image import Image
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.data.units import unit_of
from virtualobserver.data.world import has_world, world_of
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra.lines import air_to_vacuum
from virtualobserver.typing import Record, RecordDict

__all__ = ["obscore_of"]

_COUNTS: Final = frozenset({"adu", "electron", "photon", "ct", "count", "dn"})


def obscore_of(data: object, statistics: Record) -> RecordDict:
    """Return the columns of ObsCore 1.1 that a container knows, without those it does not.

    Parameters
    ----------
    data
        A light curve, a set of spectra, an image or a table.
    statistics
        Of the product; ``fwhm`` (pixels) of an image is its resolution.
    """
    if isinstance(data, TimeSeries):
        found = _exposed(data, data.mjd) | {"o_ucd": _what(data.flux_unit)}
    elif isinstance(data, SpectrumSet):
        found = _exposed(data.epochs, data.mjd) | _wavelengths(data)
        found |= {"em_xel": len(data.wave), "o_ucd": f"{_what(data.flux_unit)};em.wl"}
    elif isinstance(data, Image):
        found = {"o_ucd": _what(data.unit)} | _placed(data, statistics)
    else:
        found = {}
    return {name: value for name, value in found.items() if value is not None}


def _what(unit: str) -> str:
    """Return the UCD of fluxes in a unit: counted, or measured as a density."""
    counted = unit.lower().split("/")[0].strip() in _COUNTS
    return "phot.count" if counted else "phot.flux.density"


def _exposed(epochs: Table, mjd: Array) -> RecordDict:
    """Return start, end and sum of the exposures of epochs that tell them."""
    if "exptime" not in epochs or epochs["exptime"].dtype.kind not in "iuf":
        return {}
    seconds = epochs["exptime"]
    known = np.isfinite(seconds) & (seconds > 0) & np.isfinite(mjd)
    if not known.any():
        return {}
    half = seconds[known] / 2 / SECONDS_PER_DAY
    return {
        "t_min": float((mjd[known] - half).min()),
        "t_max": float((mjd[known] + half).max()),
        "t_exptime": float(seconds[known].sum()),
        "t_resolution": float(np.median(seconds[known])),
    }


def _wavelengths(data: SpectrumSet) -> RecordDict:
    """Return the range in metres in vacuum; nothing of a grid that is no wavelength."""
    from astropy.units import UnitConversionError

    ends = np.array([np.nanmin(data.wave), np.nanmax(data.wave)]) if np.isfinite(data.wave).any() else None
    try:
        per_angstrom = float(unit_of(data.wave_unit).to("Angstrom"))
    except (DataError, UnitConversionError):
        return {}
    if ends is None or ends[0] <= 0:
        return {}
    ends = ends * per_angstrom
    low, high = air_to_vacuum(ends) if data.medium == "air" else ends
    return {"em_min": float(low) * 1e-10, "em_max": float(high) * 1e-10}


def _placed(image: Image, statistics: Record) -> RecordDict:
    """Return the pixels, and centre, diameter, outline and resolution if the header has world coordinates."""
    if image.data.ndim != 2 or not image.data.size:
        return {}
    ny, nx = image.data.shape
    found: RecordDict = {"s_xel1": nx, "s_xel2": ny}
    if not has_world(image.header):
        return found
    try:
        world = world_of(image.header)
    except BadKeyword:
        return found
    if not world.has_celestial or world.naxis != 2:
        return found
    x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5, (nx - 1) / 2])  # corners, then the middle
    y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5, (ny - 1) / 2])
    places = world.pixel_to_world(x, y).icrs
    ra, dec = places.ra.deg, places.dec.deg
    if not np.isfinite(ra + dec).all():
        return found
    across = max(float(places[0].separation(places[2]).deg), float(places[1].separation(places[3]).deg))
    corners = " ".join(f"{one:.6f} {two:.6f}" for one, two in zip(ra[:4], dec[:4], strict=True))
    found |= {
        "s_ra": float(ra[4]),
        "s_dec": float(dec[4]),
        "s_fov": across,
        "s_region": f"POLYGON ICRS {corners}",
    }
    fwhm = statistics.get("fwhm")
    if isinstance(fwhm, int | float) and fwhm > 0:
        found["s_resolution"] = float(fwhm) * across * ARCSEC_PER_DEGREE / float(np.hypot(nx, ny))
    return found
