"""Light curves as SkyPortal reads photometric series: pandas' table format in an HDF5 file.

One key for each light curve (``photometry`` if there is one, else ``photometry_1`` ...) with the columns ``mjd`` (d),
``flux`` and ``fluxerr`` (µJy) of the epochs that are finite and not flagged. The attribute ``metadata`` holds
series_name, series_obj_id, exp_time (s), ra, dec (deg), filter and time_stamp_alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.handles import of_kind
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.export import Export, ExportSettings, View
from virtualobserver.io.atomic import replacing
from virtualobserver.io.skyportal.payload import FILTERS
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.data.handles import Handle
    from virtualobserver.data.product import Target

__all__ = ["FILTERS", "SkyPortal", "SkyPortalSettings"]

_SUFFIXES: Final = (".h5", ".hdf5")
_UNIT: Final = "uJy"


class SkyPortalSettings(ExportSettings):
    """Options of the light curves for SkyPortal."""

    source: str = setting(doc="Source whose light curves to write, by name or alias", min_length=1)


class SkyPortal(Export[SkyPortalSettings]):
    """Light curves of one source as SkyPortal reads photometric series (HDF5)."""

    name: ClassVar[str] = "skyportal"
    needs: ClassVar[str] = "a survey of light curves"
    counts: ClassVar[str] = "light curves"

    def offers(self, view: View) -> bool:
        """Whether a survey of the project makes light curves."""
        return any(one.kind == "survey" and ("lightcurve", "reduced") in one.makes for one in view.makers)

    def write(self, view: View, path: Path, options: SkyPortalSettings) -> int:
        """Write the reduced light curves of one source; return their number."""
        if path.suffix.lower() not in _SUFFIXES:
            msg = f"{path}: a SkyPortal file ends in {' or '.join(_SUFFIXES)}"
            raise DataError(msg)
        target = view.target(options.source)
        if target.ra is None or target.dec is None:
            msg = f"source {options.source} has no position; SkyPortal needs one"
            raise ConfigError(msg)
        curves = of_kind(view.products(options.source), TimeSeries)
        found = [one for one in curves if one.info.role == "reduced"]
        if not found:
            msg = f"source {options.source} has no light curve in project {view.project}; see `vo status`"
            raise DataError(msg)
        _write(path, target, found)
        return len(found)


def _write(path: Path, target: Target, found: Sequence[Handle[TimeSeries]]) -> None:
    import pandas as pd

    _check_pytables()
    # pandas opens files itself, so the temporary one is complete before it gets its name.
    with replacing(path) as temporary, pd.HDFStore(str(temporary), mode="w") as store:
        for number, handle in enumerate(found, 1):
            curve = handle.load()
            key = "photometry" if len(found) == 1 else f"photometry_{number}"
            store.put(
                key, _photometry(curve), format="table", index=False, data_columns=True, track_times=False
            )
            store.get_storer(key).attrs.metadata = _metadata(target, handle, curve)  # type: ignore[operator]


def _check_pytables() -> None:
    try:
        import tables  # noqa: F401
    except ImportError as error:
        msg = "files for SkyPortal are written by PyTables: pip install 'virtualobserver[skyportal]'"
        raise ConfigError(msg) from error


def _photometry(curve: TimeSeries) -> pd.DataFrame:
    import pandas as pd

    keep = np.isfinite(curve.flux) & np.isfinite(curve.flux_error) & (np.asarray(curve.flags) == 0)
    scale = _scale(curve.flux_unit)
    columns = {
        "mjd": curve.mjd[keep],
        "flux": curve.flux[keep] * scale,
        "fluxerr": curve.flux_error[keep] * scale,
    }
    return pd.DataFrame(columns).astype("float64")


def _scale(unit: str) -> float:
    """Return how many of SkyPortal's units of flux one of another unit is."""
    from astropy.units import Unit, UnitConversionError

    try:
        return float(Unit(unit).to(_UNIT))
    except (UnitConversionError, ValueError):
        msg = f"a light curve in {unit or 'no unit'} cannot be written for SkyPortal, which wants {_UNIT}"
        raise DataError(msg) from None


def _metadata(target: Target, handle: Handle, curve: TimeSeries) -> RecordDict:
    band = handle.info.band
    assert target.ra is not None
    assert target.dec is not None
    return {
        "series_name": handle.info.series,
        "series_obj_id": target.name,
        "exp_time": _exposure(curve),
        "ra": float(target.ra),
        "dec": float(target.dec),
        "filter": FILTERS.get(band, band),
        "time_stamp_alignment": "middle",
    }


def _exposure(curve: TimeSeries) -> float:
    """Return the median exposure time, s; NaN if it is not known."""
    times = np.asarray(curve.columns.get("exptime", ()), dtype=np.float64)
    known = times[np.isfinite(times)]
    return float(np.median(known)) if known.size else float("nan")
