"""Whether a container has a good measurement in some time."""

from __future__ import annotations

import numpy as np

from virtualobserver.data.handles import Container
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries

__all__ = ["seen_between"]


def seen_between(container: Container, start: float, end: float) -> bool | None:
    """Return whether there is a good measurement from `start` to `end` (MJD); None if the container has no times.

    Good is an epoch of a light curve without flags and with a finite flux, a spectrum with a usable pixel, a row
    of a table with ``mjd``.
    """
    if isinstance(container, SpectrumSet):
        mjd, good = container.mjd, np.asarray(container.mask == 0).any(axis=1)
    elif isinstance(container, TimeSeries):
        mjd, good = container.mjd, (container.flags == 0) & np.isfinite(container.flux)
    elif isinstance(container, Table) and "mjd" in container:
        mjd, good = container["mjd"], np.ones(len(container), dtype=bool)
    else:
        return None
    return bool((good & (mjd >= start) & (mjd <= end)).any())
