"""Light curves in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.show import picture_html
from virtualobserver.data.table import Table
from virtualobserver.data.units import error_unit, same_unit
from virtualobserver.errors import DataError
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import astropy.timeseries
    import lightkurve
    from matplotlib.figure import Figure

__all__ = ["TimeSeries"]

_SMALL: Final = (7.0, 3.0)
"""Inches of the picture in a notebook."""
_REQUIRED = ("mjd", "flux", "flux_error", "flags")


@dataclass(frozen=True, eq=False, repr=False)
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
        If a required column is missing or of another kind, times are missing or go backwards, or `units` says another
        unit of the flux.
    """

    kind: ClassVar[str] = "lightcurve"

    band: str = ""
    flux_unit: str = "uJy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [name for name in _REQUIRED if name not in self.columns]:
            msg = f"a light curve needs the columns {', '.join(_REQUIRED)}; missing: {', '.join(missing)}"
            raise DataError(msg)
        self._check_units()
        self._check_kinds()
        if len(self) > 1 and bool(np.any(np.diff(self.mjd) < 0)):
            msg = "a light curve is in order of time; sort its rows by mjd first"
            raise DataError(msg)

    def _check_units(self) -> None:
        """Say the unit of time and flux in `units` too, as all other columns do."""
        units = {"mjd": "d"} | dict(self.units)
        if not same_unit(units["mjd"], "d"):
            msg = f"mjd is in days, and units say {units['mjd']!r}; convert it"
            raise DataError(msg)
        own = {"flux": self.flux_unit, "flux_error": error_unit(self.flux_unit)}
        for name, unit in own.items():
            if not same_unit(units.setdefault(name, unit), unit) and not same_unit(
                units[name], self.flux_unit
            ):
                msg = (
                    f"the unit of {name} is {units[name]!r} and flux_unit {self.flux_unit!r}; convert the one"
                )
                raise DataError(msg)
        object.__setattr__(self, "units", units)

    def _check_kinds(self) -> None:
        """Refuse what would pass for a number or for a good epoch further on."""
        for name in ("mjd", "flux", "flux_error"):
            if self.columns[name].dtype.kind not in "iuf":
                msg = f"the column {name} of a light curve holds numbers, not {self.columns[name].dtype}"
                raise DataError(msg)
        if not np.isfinite(self.mjd).all():
            msg = (
                f"{int(np.sum(~np.isfinite(self.mjd)))} epochs of a light curve have no time; drop these rows"
            )
            raise DataError(msg)
        if self.flags.dtype.kind not in "biu" and len(self):
            msg = f"flags are whole numbers whose bits mean something, not {self.flags.dtype}; give int64, 0 for good"
            raise DataError(msg)

    def __repr__(self) -> str:
        span = f", MJD {self.mjd[0]:.2f} to {self.mjd[-1]:.2f}" if len(self) else ""
        good = int(np.sum(self.flags == 0))
        unit = self.flux_unit or "no unit"
        return f"<TimeSeries of {len(self)} epochs ({good} good) in {self.band or 'no band'}{span}, flux in {unit}>"

    def _repr_html_(self) -> str:
        picture = picture_html(self, figsize=_SMALL) if len(self) else ""
        return picture + super()._repr_html_()

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
        """Return an `astropy.timeseries.TimeSeries`, with the band in its meta; `from_astropy` takes it back."""
        from virtualobserver.data.foreign.curves import curve_to_timeseries

        return curve_to_timeseries(self)

    def to_lightkurve(self, *, label: str | None = None) -> lightkurve.LightCurve:
        """Return a `lightkurve.LightCurve` (needs the extra ``lightkurve``).

        The flags are its column ``quality``, so that bad epochs stay bad; a column of that name is
        ``archive_quality`` there. All other columns and the meta go along.

        Parameters
        ----------
        label
            What lightkurve calls the object; by default ``meta["LABEL"]`` or ``meta["object"]``.
        """
        from virtualobserver.data.foreign.curves import curve_to_lightkurve

        return curve_to_lightkurve(self, label)

    @classmethod
    def from_lightkurve(cls, curve: lightkurve.LightCurve, **facts: object) -> Self:
        """Build from a `lightkurve.LightCurve`.

        Times become MJD in UTC, and go out again in the scale and format they came in; a barycentric time stays
        one. Bits of another mission are bit 1 of the flags, and are kept in the column ``quality``.

        Raises
        ------
        DataError
            If there is no column ``quality``, or as for `from_astropy`.
        """
        from virtualobserver.data.foreign.curves import table_of_lightkurve

        return cls.from_astropy(table_of_lightkurve(curve), **facts)

    def to_astropy(self) -> astropy.table.Table:
        """Return an `astropy.table.Table` with units; band and meta are in its ``meta``."""
        if self.meta.get("band", self.band) != self.band:
            msg = f"meta says band {self.meta['band']!r}, the light curve {self.band!r}; keep one of them"
            raise DataError(msg)
        table = super().to_astropy()
        table.meta["band"] = self.band
        return table

    @classmethod
    def from_astropy(cls, table: astropy.table.Table, **facts: object) -> Self:
        """Build from an `astropy.table.Table`, or a `TimeSeries` whose times become ``mjd``; see `Table.from_astropy`.

        Raises
        ------
        DataError
            As for `Table.from_astropy`, or if the flux has no unit and none is given as `flux_unit`.
        """
        from virtualobserver.data.foreign.curves import with_mjd

        return super().from_astropy(with_mjd(table), **facts)

    @classmethod
    def _build(cls, columns: Record, found: RecordDict, given: RecordDict) -> Self:
        facts = found | given
        meta = dict(facts.get("meta", {}))
        for key in ("band", "BAND"):  # a FITS file has it in capitals
            if key in meta and "band" not in found and "meta" not in given:
                facts = {"band": meta.pop(key)} | facts | {"meta": meta}
        if "flux_unit" not in facts:
            if "flux" not in facts.get("units", {}):
                msg = "nothing says the unit of the flux; give it, such as flux_unit='uJy'"
                raise DataError(msg)
            facts["flux_unit"] = facts["units"]["flux"]
        return super()._build(columns, facts, {})

    def plot(self, **options: object) -> Figure:
        """Draw the light curve; see `virtualobserver.plot.lightcurve`."""
        from virtualobserver.hooks import draw

        return draw(self, **options)
