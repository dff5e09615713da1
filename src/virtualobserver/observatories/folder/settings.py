"""Settings of folders of light curves: which files, which columns, which time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from virtualobserver.config.settings import Settings, Site, setting
from virtualobserver.observatory import ObservatorySettings

__all__ = ["NO_PRESET", "PRESETS", "ColumnSettings", "FolderSettings", "Preset", "TimeSettings"]

Scale = Literal["utc", "tai", "tt", "tdb"]
Place = Literal["telescope", "heliocentre", "barycentre"]
Quantity = Literal["time", "light_travel", "flux", "flux_error", "mag", "mag_error", "exptime", "ra", "dec"]


def _column(what: str, step: str | None = "reduce") -> str | None:
    found: str | None = setting(None, doc=f"Column of {what}", step=step)
    return found


class ColumnSettings(Settings):
    """Which column of the files holds what; one that is unset is looked for under its name here."""

    object: str | None = setting(
        None, doc="Column of the names of stars, for tables of many; unset = one file a star", step="fetch"
    )
    time: str | None = _column("the time; unset = mjd")
    light_travel: str | None = _column("the light travel time within the time, which is taken out again")
    flux: str | None = _column("the flux")
    flux_error: str | None = _column("the error of the flux")
    mag: str | None = _column("the magnitude, where there is no flux")
    mag_error: str | None = _column("the error of the magnitude")
    band: str | None = _column("the filter")
    series: str | None = _column("the season, sector or camera, each a light curve of its own")
    quality: str | None = _column("quality bits or a flag, 0 = good")
    exptime: str | None = _column("the exposure time")
    ra: str | None = _column("the right ascension of each epoch")
    dec: str | None = _column("the declination of each epoch")
    keep: tuple[str, ...] = setting(
        (), doc="Further columns that light curves keep under their own names", step="reduce"
    )


class TimeSettings(Settings):
    """What the times are; without `scale` only a column ``mjd`` is understood, as MJD in UTC."""

    scale: Scale | None = setting(None, doc="Time scale", step="reduce")
    format: Literal["jd", "mjd", "iso"] = setting(
        "mjd", doc="Julian date, modified Julian date, or text as ISO 8601 has it", step="reduce"
    )
    zero: float = setting(0.0, doc="Added to the times: 2457000 for BTJD", unit="d", step="reduce")
    place: Place = setting(
        "telescope",
        doc="Where a clock would show them: barycentre for BJD, heliocentre for HJD",
        step="reduce",
    )
    moment: Literal["start", "middle", "end"] = setting(
        "middle", doc="Which moment of the exposure they are", step="reduce"
    )
    site: Site | None = setting(
        None, doc="Longitude (deg, east), latitude (deg), height (m) of the telescope; unset = centre of the Earth",
        step="reduce",
    )  # fmt: skip


class FolderSettings(ObservatorySettings):
    """How to read light curves of any origin."""

    preset: Literal["tess", "kepler", "k2"] | None = setting(
        None, doc="Files of a mission, whose names and columns are known; what is set here goes before"
    )
    files: str | None = setting(
        None,
        doc="Names of files as a pattern with {object}, {band}, {series} and *, e.g. {object}_{band}.csv; "
        "with a / it is the path below the folder; unset = all tables, named as their stars",
        step="fetch",
    )
    prefix: str | None = setting(
        None, doc="Put before numbers of the archive to make names of sources, e.g. 'TIC '", step="fetch"
    )
    columns: ColumnSettings = setting(default_factory=ColumnSettings, doc="Which column holds what")
    units: dict[Quantity, str] = setting(
        default_factory=dict,
        doc="Units of columns where the file says none or another one; '' = relative flux",
        step="reduce",
    )
    time: TimeSettings = setting(default_factory=TimeSettings, doc="What the times are")
    band: str | None = setting(None, doc="The filter, where no column or file name says it", step="reduce")
    magnitudes: Literal["ab", "other"] = setting(
        "ab", doc="ab: magnitudes become fluxes in uJy; other: fluxes relative to the median", step="reduce"
    )
    errors: Literal["column", "scatter"] = setting(
        "column",
        doc="scatter: where no column holds errors, all epochs have that of the differences of neighbours",
        step="reduce",
    )
    quality_bits: int | None = setting(
        None, doc="Sum of the quality bits that flag an epoch; unset = any", step="reduce", ge=0
    )
    exptime: float | None = setting(
        None, doc="Exposure time where no column holds it", unit="s", step="reduce", gt=0
    )


@dataclass(frozen=True)
class Preset:
    """What is known of the files of a mission."""

    files: str
    prefix: str
    band: str
    columns: Mapping[str, str]
    time: TimeSettings


_NASA: Final = {
    "time": "TIME", "light_travel": "TIMECORR", "flux": "PDCSAP_FLUX", "flux_error": "PDCSAP_FLUX_ERR",
}  # fmt: skip

PRESETS: Final[Mapping[str | None, Preset]] = MappingProxyType(
    {
        "tess": Preset(
            "tess*-s{series}-{object}-*_lc.fits*", "TIC ", "TESS", _NASA | {"quality": "QUALITY"},
            TimeSettings(format="jd", zero=2457000.0, scale="tdb", place="barycentre"),
        ),
        "kepler": Preset(
            "kplr{object}-{series}_*lc.fits*", "KIC ", "Kepler", _NASA | {"quality": "SAP_QUALITY"},
            TimeSettings(format="jd", zero=2454833.0, scale="tdb", place="barycentre"),
        ),
        "k2": Preset(
            "ktwo{object}-c{series}_*lc.fits*", "EPIC ", "Kepler", _NASA | {"quality": "SAP_QUALITY"},
            TimeSettings(format="jd", zero=2454833.0, scale="tdb", place="barycentre"),
        ),
    }
)  # fmt: skip
"""File names, columns and times of missions: TESS Science Data Products Description Document (EXP-TESS-ARC-ICD-0014 D)
and Kepler Archive Manual (KDMC-10008-006), as lightkurve reads them. TIME = time at the spacecraft + TIMECORR."""
NO_PRESET: Final = Preset("", "", "", {}, TimeSettings())
"""Where none is asked for, everything is said by the settings."""
