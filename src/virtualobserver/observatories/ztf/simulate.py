"""Light curves as the service would return them, made up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from virtualobserver.data.product import Raw, Target
from virtualobserver.maths.times import hjd_utc, mid_exposure
from virtualobserver.observatories.ztf.raw import lightcurve_raw
from virtualobserver.observatories.ztf.reduce import PALOMAR
from virtualobserver.observatories.ztf.table import COLUMNS

__all__ = ["simulate"]

_FILTERS = {"zg": 1, "zr": 2, "zi": 3}
_EPOCHS = {"zg": 60, "zr": 80, "zi": 10}  # a season and filter
_SEASONS = (58280.0, 58640.0, 59000.0)
"""MJD of the first night of each: three seasons a year apart, from the survey's first on."""
_LENGTH = 200.0  # d; a field is up at night for about so long in a year


def simulate(
    targets: Iterable[Target], rng: np.random.Generator, filters: Sequence[str]
) -> Iterator[tuple[Target, Raw]]:
    """Make one CSV answer for each target: three seasons in each filter, a few flagged epochs."""
    for target in targets:
        lines = [",".join(COLUMNS)]
        for band in filters:
            lines += _rows(target, band, rng)
        content = ("\n".join(lines) + "\n").encode()
        raw = lightcurve_raw(content, f"simulated {target.name}", header={"release": "simulated"})
        if raw is not None:
            yield target, raw


def _rows(target: Target, band: str, rng: np.random.Generator) -> list[str]:
    """Return the lines of one object."""
    ra0, dec0 = target.ra if target.ra is not None else 180.0, target.dec if target.dec is not None else 30.0
    count = _EPOCHS[band]
    start = np.sort(np.concatenate([season + _LENGTH * rng.random(count) for season in _SEASONS])).round(7)
    mag0 = target.mag if target.mag is not None else 18.0
    error = (0.01 + 0.1 * 10 ** (0.4 * (mag0 - 20.0))) * rng.uniform(0.9, 1.1, len(start))
    mag = mag0 + error * rng.standard_normal(len(start))
    flag = np.where(rng.random(len(start)) < 0.02, 32768, 0)
    dec = np.clip(dec0 + 1e-5 * rng.standard_normal(len(start)), -90.0, 90.0)
    ra = (ra0 + 1e-5 * rng.standard_normal(len(start)) / max(np.cos(np.radians(dec0)), 1e-3)) % 360.0
    hjd = hjd_utc(mid_exposure(start, 30.0), ra0, dec0, PALOMAR)
    chi, sharp = rng.uniform(0.5, 1.5, len(start)), 0.05 * rng.standard_normal(len(start))
    oid = 700 * 10**12 + _FILTERS[band] * 10**11 + 5 * 10**9 + 2 * 10**8 + int(rng.integers(1, 10**5))
    return [
        f"{oid},{52000000 + i},{hjd[i]:.7f},{start[i]:.7f},{mag[i]:.7f},{error[i]:.9f},{flag[i]},{band},"
        f"{ra[i]:.7f},{dec[i]:.7f},{chi[i]:.6f},{sharp[i]:.6f},{20180605000000 + i},700,0x5,0x2,"
        "20.7,26.2,0.017,-0.06,6.7e-06,30,1.2,1"
        for i in range(len(start))
    ]
