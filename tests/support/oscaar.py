"""A real night: 15 frames of TrES-1 with drift, 8 darks, solved world coordinates."""

import csv
import gzip
import io
from datetime import UTC, datetime

import numpy as np
from astropy.io import fits

from support.real import real_data
from virtualobserver.data import Image, as_handle

EGAIN = 0.78
FWHM = np.linspace(2.58, 3.30, 15)


def _plane(path):
    with gzip.open(path) as stream:
        return fits.getdata(io.BytesIO(stream.read())).astype(np.float32)


def lights():
    """Return the frames (ADU), their middle times (MJD) and whole-pixel offsets against the first."""
    folder = real_data("ccd", "oscaar_tres1_20120616")
    with (folder / "wcs" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    planes = np.array([_plane(folder / f"tres1-{row['frame']}.fit.gz") for row in rows])
    start = [
        datetime.fromisoformat(row["date_obs_start_utc"]).replace(tzinfo=UTC).timestamp() for row in rows
    ]
    mjd = 40587 + (np.array(start) + 30) / 86400
    x, y = (np.array([float(row[name]) for row in rows]) for name in ("tres1_x0", "tres1_y0"))
    return planes, mjd, np.rint(x - x[0]).astype(int), np.rint(y - y[0]).astype(int)


def median_dark():
    """Return the median of the raw darks, ADU."""
    folder = real_data("ccd", "oscaar_tres1_20120616")
    return np.median([_plane(path) for path in sorted(folder.glob("*d.fit.gz"))], axis=0)


def noise_of(signal):
    """Variance of sky-subtracted ADU: background scatter and photons."""
    spread = 1.4826 * np.median(np.abs(signal - np.median(signal)))
    return spread**2 + np.maximum(signal, 0) / EGAIN


def calibrated(shift=None):
    """Return handles to dark-subtracted images in electrons, with variance, mask and world coordinates."""
    folder = real_data("ccd", "oscaar_tres1_20120616")
    planes, mjd, _, _ = lights()
    dark = median_dark()
    hot = dark > np.median(dark) + 5 * 1.4826 * np.median(np.abs(dark - np.median(dark)))
    handles = []
    for number, solution in enumerate(sorted((folder / "wcs").glob("*.wcs"))):
        signal = planes[number] - dark
        signal -= np.median(signal)
        cards = fits.getheader(solution)
        header = {
            key: cards[key] for key in cards if key and key not in ("COMMENT", "HISTORY", "SIMPLE", "NAXIS")
        }
        header |= {"MJD-MID": mjd[number], "EXPTIME": 60.0, "FWHM": float(FWHM[number])}
        image = Image(
            signal * EGAIN, variance=noise_of(signal) * EGAIN**2,
            mask=(2 * hot + 4 * (planes[number] > 50000)).astype(np.uint8), header=header, unit="electron",
        )  # fmt: skip
        handles.append(as_handle(image, role="calibrated"))
    return handles
