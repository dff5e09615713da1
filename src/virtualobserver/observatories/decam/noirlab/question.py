"""What the archive is asked: settings, and the question that they make."""

from __future__ import annotations

import math
from typing import Final

from virtualobserver.config.settings import DateSpan, Settings, Span, WholeSpan, address, setting
from virtualobserver.errors import ConfigError
from virtualobserver.typing import RecordDict, Value

__all__ = ["ARCHIVE_URL", "PRODUCTS", "ArchiveSettings", "PointedSettings", "build_search"]

ARCHIVE_URL: Final = "https://astroarchive.noirlab.edu"
FIELDS: Final = (
    "md5sum", "archive_filename", "caldat", "dateobs_min", "exposure", "ifilter", "instrument", "proc_type",
    "prod_type", "proposal", "release_date", "filesize", "ra_center", "dec_center",
)  # fmt: skip
AUX_FIELDS: Final = ("EXPNUM",)
"""Header keywords; the archive wants instrument and proc_type among the conditions of a question with one."""
PRODUCTS: Final = {"image": "image", "dqmask": "dqmask", "wtmap": "wtmap", "weight": "wtmap"}
"""Files of an exposure by prod_type."""


class PointedSettings(Settings):
    """Which pointed exposures of the field are asked for: catalogues of stars are made from them."""

    bands: tuple[str, ...] = setting(("g", "r"), doc="Filters; none = no pointed exposures", step="fetch")
    most: int = setting(2, doc="Exposures of a filter, the longest ones", step="fetch", ge=1)
    exptime: Span | None = setting(
        None, doc="Shortest and longest exposure; unset = any", unit="s", step="fetch"
    )
    caldat: DateSpan | None = setting(
        None, doc="First and last night, as local dates YYYY-MM-DD; unset = any", step="fetch"
    )
    proposal: str | None = setting(None, doc="Programme; unset = that of the drift exposures", step="fetch")
    expnum: WholeSpan | None = setting(
        None, doc="First and last number of exposures; unset = any", step="fetch"
    )


class ArchiveSettings(Settings):
    """What is asked of the NOIRLab Astro Data Archive where no folder is given."""

    url: str = address(ARCHIVE_URL, doc="the archive")
    instrument: str = setting("decam", doc="Instrument", step="fetch", min_length=1)
    proc_type: str = setting("instcal", doc="Kind of processing", step="fetch", min_length=1)
    band: str | None = setting("VR", doc="What the name of the filter contains; unset = any", step="fetch")
    exptime: Span | None = setting(
        (20.0, 20.0), doc="Shortest and longest exposure; unset = any", unit="s", step="fetch"
    )
    caldat: DateSpan | None = setting(
        None, doc="First and last night, as local dates YYYY-MM-DD; unset = any", step="fetch"
    )
    proposal: str | None = setting(None, doc="Programme, e.g. 2021B-0023; unset = any", step="fetch")
    expnum: WholeSpan | None = setting(
        None, doc="First and last number of exposures; unset = any", step="fetch"
    )
    page_rows: int = setting(1000, doc="Rows of one answer", run_only=True, ge=1)
    most_rows: int = setting(
        100_000, doc="Rows of a question; more are an error, the question too wide", run_only=True, ge=1
    )
    proprietary: bool = setting(False, doc="Ask also for files that need a login", run_only=True)
    downloads: str | None = setting(
        None,
        doc="Folder in which downloads are kept and from which they go on; unset = they are moved into the data folder",
        run_only=True,
    )
    pointed: PointedSettings = setting(PointedSettings(), doc="Pointed exposures of the field", step="fetch")


def build_search(
    settings: ArchiveSettings,
    *,
    cone: tuple[float, float, float] | None = None,
    pointed: str | None = None,
) -> RecordDict:
    """Return the question for the files of drift exposures, or of pointed ones, as the archive wants it.

    Parameters
    ----------
    cone
        Right ascension, declination and radius (degrees) that the middle of the camera lies within; the archive
        knows boxes only, so that the corners are asked for as well.
    pointed
        Filter of pointed exposures, which `settings.pointed` tells more of.

    Raises
    ------
    ConfigError
        If the cone is none.
    """
    conditions: list[list[Value]] = [["instrument", settings.instrument], ["proc_type", settings.proc_type]]
    conditions.append(["prod_type", *PRODUCTS])
    own = settings if pointed is None else settings.pointed
    if pointed is not None:
        conditions.append(["ifilter", f"{pointed} ", "startswith"])
    elif settings.band is not None:
        conditions.append(["ifilter", settings.band, "contains"])
    if own.exptime is not None:
        conditions.append(["exposure", *own.exptime])
    if own.caldat is not None:
        conditions.append(["caldat", *own.caldat])
    if (proposal := own.proposal or settings.proposal) is not None:
        conditions.append(["proposal", proposal])
    if own.expnum is not None:
        conditions.append(["EXPNUM", *own.expnum])
    if cone is not None:
        conditions += _box(*cone)
    return {"outfields": [*FIELDS, *AUX_FIELDS], "search": conditions}


# --- inside -----------------------------------------------------------------------------------------------


def _box(ra: float, dec: float, radius: float) -> list[list[Value]]:
    """Return the conditions of a box around a cone; at a pole or across 0 h, right ascension is left open."""
    if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius <= 30):
        msg = f"a cone needs ra, dec (-90 to 90) and a radius (0 to 30) in degrees, not {ra}, {dec}, {radius}"
        raise ConfigError(msg)
    conditions: list[list[Value]] = [["dec_center", max(dec - radius, -90.0), min(dec + radius, 90.0)]]
    highest = abs(dec) + radius
    if highest < 89.0:
        half = radius / math.cos(math.radians(highest))
        low, high = ra % 360 - half, ra % 360 + half
        if low >= 0 and high <= 360:
            conditions.append(["ra_center", low, high])
    return conditions
