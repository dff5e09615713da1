"""Headers as the Community Pipeline writes them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import MAD_TO_SIGMA, SECONDS_PER_DAY
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.observatories.decam.simulate.settings import SimulationSettings

__all__ = ["FILTERS", "ccd_cards", "moment_of", "primary_cards"]

FILTERS: Final = {
    "g": "g DECam SDSS c0001 4720.0 1520.0",
    "r": "r DECam SDSS c0002 6415.0 1480.0",
    "VR": "VR DECam c0007 6300.0 2600.0",
}
"""Names of filters in headers: middle and width in Angstrom."""
_MJD_ZERO: Final = datetime(1858, 11, 17, tzinfo=UTC)
"""By definition of the modified Julian date."""
_GAIN: Final = 4.0
"""Electrons per count of the zero points in headers."""


def moment_of(mjd: float) -> datetime:
    """Return a date as Python has it."""
    return _MJD_ZERO + timedelta(days=mjd)


def primary_cards(
    boresight: tuple[float, float],
    sim: SimulationSettings,
    *,
    band: str,
    mjd: float,
    exptime: float,
    expnum: int,
) -> RecordDict:
    """Return the cards of the primary header of an image; trailed exposures have no solved astrometry."""
    drifts = band == "VR"
    moment = moment_of(mjd)
    zero = sim.zero_point - 2.5 * math.log10(_GAIN)
    begin = moment.isoformat(timespec="microseconds").removesuffix("+00:00")
    cards: RecordDict = {
        "OBJECT": "drift" if drifts else "field", "PROCTYPE": "InstCal", "PRODTYPE": "image", "OBSTYPE": "object",
        "PIXSCAL1": 0.27, "PIXSCAL2": 0.27, "TELESCOP": "CTIO 4.0-m telescope", "OBSERVAT": "CTIO",
        "INSTRUME": "DECam", "OBS-LONG": 70.81489, "OBS-LAT": -30.16606, "OBS-ELEV": 2215.0, "EXPREQ": exptime,
        "EXPTIME": exptime, "EXPDUR": exptime, "DARKTIME": exptime + 0.7, "DATE-OBS": begin,
        "MJD-OBS": round(mjd, 10), "MJD-END": round(mjd + exptime / SECONDS_PER_DAY, 10), "OPENSHUT": begin,
        "TIMESYS": "UTC", "EXPNUM": expnum, "FILTER": FILTERS[band], "CENTRA": boresight[0],
        "CENTDEC": boresight[1], "TELRA": _sexagesimal(boresight[0] / 15),
        "TELDEC": _sexagesimal(boresight[1], signed=True), "AIRMASS": 1.42, "ZD": 45.2, "HA": "00:30:00.000",
        "DIMM2SEE": sim.seeing, "TELSTAT": "Offset" if drifts else "Track", "PROPID": sim.programme,
        "PLVER": sim.plver, "PLPROCID": "simulated", "ORIGIN": "simulation",
        "WCSCAL": "Failed" if drifts else "Successful", "SCAMPFLG": 2 if drifts else 0,
    }  # fmt: skip
    if not drifts:
        cards |= {"MAGZPT": zero, "MAGZERO": zero + 2.5 * math.log10(exptime), "NPHTMTCH": 500}
    return cards


def ccd_cards(
    ccd: str, sim: SimulationSettings, good: Array, *, gains: tuple[float, float], fwhm: float
) -> RecordDict:
    """Return the cards of an extension beside world coordinates; `good` are the pixels that are not masked."""
    from virtualobserver.observatories.decam.simulate.sky import CCD_NUMBERS

    middle = float(np.median(good)) if good.size else 0.0
    spread = MAD_TO_SIGMA * float(np.median(np.abs(good - middle))) if good.size else 0.0
    return {
        "EXTNAME": ccd, "DETPOS": ccd, "CCDNUM": CCD_NUMBERS[ccd], "LTV1": -1.0, "LTV2": -1.0, "GAINA": gains[0],
        "GAINB": gains[1], "RDNOISEA": sim.read_noise, "RDNOISEB": sim.read_noise, "SATURATA": sim.saturation,
        "SATURATB": sim.saturation, "FWHM": round(fwhm, 3), "ELLIPTIC": 0.05, "AVSKY": round(middle, 3),
        "AVSIG": round(spread, 3), "ARAWGAIN": 4.4,
    }  # fmt: skip


def _sexagesimal(value: float, *, signed: bool = False) -> str:
    milli = round(abs(value) * 3_600_000)
    hours, rest = divmod(milli, 3_600_000)
    minutes, seconds = divmod(rest, 60_000)
    sign = ("-" if value < 0 else "+") if signed else ""
    return f"{sign}{hours:02d}:{minutes:02d}:{seconds / 1000:06.3f}"
