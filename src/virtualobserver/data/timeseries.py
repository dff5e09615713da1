"""Light curves in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.table import Table
from virtualobserver.errors import DataError

if TYPE_CHECKING:
    import astropy.timeseries
    import lightkurve

__all__ = ["TimeSeries"]

_REQUIRED = ("mjd", "flux", "flux_error", "flags")


@dataclass(frozen=True, eq=False)
class TimeSeries(Table):
    """Measurements of one object in one band, in order of time.

    Required columns: ``mjd`` (middle of the exposure, MJD in UTC, d), ``flux`` and ``flux_error``
    (in `flux_unit`, by default µJy) and ``flags`` (bits of `virtualobserver.conventions`, 0 = good).
    Further columns keep their names, e.g. ``exptime`` (s), ``bjd_tdb`` (d), ``ra``, ``dec`` (deg), ``mag``.

    Parameters
    ----------
    band
        Name of the filter.
    flux_unit
        Unit of ``flux`` and ``flux_error``.

    Raises
    ------
    DataError
        If a required column is missing or times go backwards.
    """

    kind: ClassVar[str] = "lightcurve"

    band: str = ""
    flux_unit: str = "uJy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [name for name in _REQUIRED if name not in self.columns]:
            msg = f"a light curve needs the columns {', '.join(_REQUIRED)}; missing: {', '.join(missing)}"
            raise DataError(msg)
        if len(self) > 1 and bool(np.any(np.diff(self.mjd) < 0)):
            msg = "a light curve is in order of time; sort its rows by mjd first"
            raise DataError(msg)

    @property
    def mjd(self) -> NDArray[np.float64]:
        """Middle of each exposure, MJD (UTC), shape (n,)."""
        return self.columns["mjd"]

    @property
    def flux(self) -> NDArray[np.float64]:
        """Flux in `flux_unit`, shape (n,)."""
        return self.columns["flux"]

    @property
    def flux_error(self) -> NDArray[np.float64]:
        """One standard deviation of the flux in `flux_unit`, shape (n,)."""
        return self.columns["flux_error"]

    @property
    def flags(self) -> NDArray[np.int64]:
        """Quality bits, 0 = good, shape (n,)."""
        return self.columns["flags"]

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of each exposure as UTC ``datetime64[us]``, shape (n,)."""
        microseconds = np.round((self.mjd - 40587.0) * 86_400_000_000.0)
        return microseconds.astype("datetime64[us]")

    def to_timeseries(self) -> astropy.timeseries.TimeSeries:
        """Return an `astropy.timeseries.TimeSeries`."""
        from astropy.time import Time
        from astropy.timeseries import TimeSeries as AstropyTimeSeries

        table = self.to_astropy()
        table.remove_column("mjd")
        return AstropyTimeSeries(data=table, time=Time(self.mjd, format="mjd", scale="utc"))

    def to_lightkurve(self) -> lightkurve.LightCurve:
        """Return a `lightkurve.LightCurve` (needs the extra ``lightkurve``)."""
        import lightkurve
        from astropy.time import Time
        from astropy.units import Unit

        unit = Unit(self.flux_unit)
        time = Time(self.mjd, format="mjd", scale="utc")
        return lightkurve.LightCurve(time=time, flux=self.flux * unit, flux_err=self.flux_error * unit)

    def plot(self, **options: Any) -> Any:
        """Draw the light curve; see `virtualobserver.plot.lightcurve`."""
        from virtualobserver.data.hooks import draw

        return draw(self, **options)
