"""What the headers of the Community Pipeline say of an exposure and of a chip, and what is taken where they do not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.io.fits.keywords import number
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "AMPLIFIERS",
    "FWHM",
    "KEYS",
    "NAMES",
    "PIXEL",
    "SHAPE",
    "chip_facts",
    "chip_name",
    "exposure_facts",
    "night_of",
]

PIXEL: Final = 0.27
"""Arcsec; PIXSCAL1 of every header, 2.6 % more than pixels are: taken where world coordinates are missing only."""
FWHM: Final = 4.0
"""Pixels; the usual seeing of 1.05 arcsec. Taken where a header has none, and told."""
EXPTIME: Final = 20.0
"""Seconds; of the drift survey. Taken where a header has none, and told."""
SHAPE: Final = (4094, 2046)
"""Rows and columns of a chip whose edges were cut off by a pixel each."""
AMPLIFIERS: Final = 1023
"""First column of the second amplifier of such a chip."""
GAIN: Final = 4.0
"""Electrons/ADU; headers have 3.6 to 4.3. Taken where a header has none, and told."""
READ_NOISE: Final = 6.0
"""Electrons; most headers have 5.7 to 6.5. Taken where a header has none, and told."""
KEYS: Final = frozenset({
    "AIRMASS", "AVSKY", "CENTDEC", "CENTRA", "DARKTIME", "DATE-OBS", "DETPOS", "DTCALDAT", "EXPNUM",
    "EXPREQ", "EXPTIME", "EXTNAME", "FILTER", "FWHM", "MAGZERO", "MAGZPT", "MJD-OBS", "OBJECT", "OPENSHUT",
    "PLVER", "PRODTYPE", "SCAMPFLG", "WCSCAL", "ZIMAGE", "NAXIS1", "NAXIS2", "ZNAXIS1", "ZNAXIS2", "CRVAL1",
    "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "AMPSECA", "AMPSECB", "CCDSECA",
    "CCDSECB", "DATASECA", "DATASECB", "GAINA", "GAINB", "RDNOISEA", "RDNOISEB", "SATURATA", "SATURATB",
})  # fmt: skip
"""All that is asked of headers here, and by listings of folders; a chip has 200 more."""
NAMES: Final = frozenset({
    "AIRMASS", "CENTDEC", "CENTRA", "DARKTIME", "DATE-OBS", "DETPOS", "DTCALDAT", "EXPNUM", "EXPREQ", "EXPTIME",
    "EXTNAME", "FILTER", "MAGZERO", "MAGZPT", "MJD-OBS", "OBJECT", "OPENSHUT", "PLVER", "PRODTYPE", "SCAMPFLG",
    "WCSCAL",
})  # fmt: skip
"""What tells which exposure and chips masks and weights are of: what a chip itself is, its image says."""
_NOON: Final = 2 / 3
"""Days until 16 h UT, noon at Cerro Tololo: a night is called by the date on which it begins there, as the archive does
(caldat)."""
_SHUTTER: Final = 2.0
"""Seconds by which DATE-OBS, MJD-OBS and OPENSHUT may differ; in one header they are 8.2 s apart, the usual is 0.3."""
_EPOCH: Final = datetime(1858, 11, 17, tzinfo=UTC)
"""Day 0 of the modified Julian date, by definition."""
_SECTION: Final = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,")


def night_of(mjd: float) -> str:
    """Return the night of a time: the date of the noon before it, as the archive calls it (caldat)."""
    return (_EPOCH + timedelta(days=int(np.floor(mjd - _NOON)))).date().isoformat()


def exposure_facts(primary: Record) -> RecordDict:
    """Return what is known of an exposure: JSON-like, with ``notes`` on what was taken instead of a keyword.

    Parameters
    ----------
    primary
        Header of HDU 0.
    """
    notes: list[str] = []
    exptime = number(primary.get("EXPTIME"))
    if exptime is None or exptime <= 0:
        exptime = number(primary.get("EXPREQ")) or EXPTIME
        notes.append(f"no EXPTIME: {exptime:g} s taken")
    start = _mjd(primary.get("DATE-OBS"))
    mjd = number(primary.get("MJD-OBS"))
    opened = _mjd(primary.get("OPENSHUT"))
    if mjd is None:
        mjd, source = (start, "DATE-OBS") if start is not None else (opened, "OPENSHUT")
        notes.append("no MJD-OBS: " + (f"{source} taken" if mjd is not None else "the time is not known"))
    elif start is not None and abs(mjd - start) * SECONDS_PER_DAY > _SHUTTER:
        notes.append(
            f"MJD-OBS = {mjd:.10g} contradicts DATE-OBS = {primary.get('DATE-OBS')}; MJD-OBS is taken"
        )
    if start is not None and opened is not None and abs(start - opened) * SECONDS_PER_DAY > _SHUTTER:
        notes.append(f"OPENSHUT and DATE-OBS differ by {abs(start - opened) * SECONDS_PER_DAY:.1f} s")
    dark = number(primary.get("DARKTIME"))
    if dark is not None and dark < exptime:
        notes.append("DARKTIME is less than EXPTIME")
    text = str(primary.get("FILTER") or "").strip()
    zero = number(primary.get("MAGZERO"))
    if zero is None and (rate := number(primary.get("MAGZPT"))) is not None:
        zero = rate + 2.5 * float(np.log10(exptime))
    return {
        "exposure": _whole(primary.get("EXPNUM")),
        "night": night_of(mjd) if mjd is not None else str(primary.get("DTCALDAT") or ""),
        "mjd_start": mjd,
        "exptime": exptime,
        "filter": text,
        "band": text.split()[0] if text else "",
        "object": str(primary.get("OBJECT") or "").strip(),
        "airmass": number(primary.get("AIRMASS")),
        "plver": str(primary.get("PLVER") or "").strip(),
        "magzero": zero,
        "ra0": number(primary.get("CENTRA")),
        "dec0": number(primary.get("CENTDEC")),
        "solved": _solved(primary),
        "notes": notes,
    }


def chip_facts(header: Record) -> RecordDict:
    """Return what is known of a chip: gain (electron/ADU) and read noise (electron) by half, FWHM, sky, its place.

    ``amplifiers`` has (gain, read noise) of the lower and the upper half of the columns; both are the mean of A and B
    where the header does not say which half is A. ``ra, dec`` are the middle of the chip without the distortion.
    """
    notes: list[str] = []
    pairs = [_amplifier(header, one) for one in "AB"]
    known = [pair for pair in pairs if pair is not None]
    if not known:
        notes.append(f"no GAINA and RDNOISEA: {GAIN:g} electron/ADU and {READ_NOISE:g} electrons taken")
    mean = tuple(float(part) for part in np.mean(known or [(GAIN, READ_NOISE)], axis=0))
    halves = [mean, mean]
    low = _low_half(header)
    if low is not None and len(known) == 2:
        halves = [known[low], known[1 - low]]
    fwhm = number(header.get("FWHM"))
    if fwhm is None or not 1 < fwhm < 30:
        notes.append(f"no FWHM: {FWHM:g} pixels taken")
        fwhm = FWHM
    sky = number(header.get("AVSKY"))
    if sky is None:
        notes.append("no AVSKY: the clipped median of the image taken")
    saturation = [v for key in "AB" if (v := number(header.get(f"SATURAT{key}"))) is not None]
    ra, dec = _middle(header)
    return {
        "ccd": chip_name(header),
        "amplifiers": [list(half) for half in halves],
        "gain": mean[0],
        "read_noise": mean[1],
        "fwhm": fwhm,
        "avsky": sky,
        "saturation": min(saturation) if saturation else None,
        "ra": ra,
        "dec": dec,
        "notes": notes,
    }


def chip_name(header: Record) -> str:
    """Return the name of a chip, empty where its header has none."""
    return str(header.get("EXTNAME") or header.get("DETPOS") or "").strip()


# --- inside -----------------------------------------------------------------------------------------------


def _whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _mjd(value: object) -> float | None:
    try:
        time = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return (time.replace(tzinfo=UTC) - _EPOCH).total_seconds() / SECONDS_PER_DAY


def _solved(primary: Record) -> bool:
    """Whether the pipeline found the plate; trailed exposures often have the pointing of the telescope only."""
    said = str(primary.get("WCSCAL") or "").strip().lower()
    return said.startswith("success") or number(primary.get("SCAMPFLG")) == 0


def _amplifier(header: Record, letter: str) -> tuple[float, float] | None:
    gain, noise = number(header.get(f"GAIN{letter}")), number(header.get(f"RDNOISE{letter}"))
    return (gain, noise) if gain and noise and gain > 0 and noise > 0 else None


def _low_half(header: Record) -> int | None:
    """Return which amplifier has the lower columns, 0 = A; None where no section says it."""
    starts = []
    for letter in "AB":
        said = next(
            (
                header[key]
                for key in (f"{what}{letter}" for what in ("CCDSEC", "AMPSEC", "DATASEC"))
                if header.get(key)
            ),
            None,
        )
        found = _SECTION.match(str(said))
        if found is None:
            return None
        starts.append(min(int(found[1]), int(found[2])))
    return int(starts[1] < starts[0]) if starts[0] != starts[1] else None


def _middle(header: Record) -> tuple[float | None, float | None]:
    keys = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    values = [number(header.get(key)) for key in keys]
    sides = [number(header.get(key)) for key in ("NAXIS1", "NAXIS2")]
    if header.get("ZIMAGE"):
        sides = [number(header.get(key)) for key in ("ZNAXIS1", "ZNAXIS2")]
    if None in values or None in sides:
        return None, None
    ra0, dec0, px, py, *cd = (float(value) for value in values if value is not None)
    dx, dy = ((float(side or 0) + 1) / 2 - p for side, p in zip(sides, (px, py), strict=True))
    xi, eta = np.radians(cd[0] * dx + cd[1] * dy), np.radians(cd[2] * dx + cd[3] * dy)
    d0 = np.radians(dec0)
    down = np.cos(d0) - eta * np.sin(d0)
    ra = ra0 + np.degrees(np.arctan2(xi, down))
    dec = np.degrees(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, down)))
    return float(ra % 360), float(dec)
