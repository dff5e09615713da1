"""Settings of the ZTF survey."""

from __future__ import annotations

from typing import Literal

from virtualobserver.config.settings import address, setting
from virtualobserver.observatories.ztf.query import FORCED_URL, LIGHTCURVE_URL, TAP_URL
from virtualobserver.observatory import ObservatorySettings

__all__ = ["ZTFSettings"]


class ZTFSettings(ObservatorySettings):
    """What to ask ZTF for, and how to reduce it."""

    mode: Literal["lightcurves", "forced"] = setting(
        "lightcurves",
        doc="lightcurves: the PSF photometry of the public releases; forced: the forced photometry service, "
        "whose queue takes hours: the first run submits, later runs collect",
        step="fetch",
    )
    release: str = setting(
        "dr24", doc="Data release, e.g. dr24, or newest to ask the archive which one that is", step="fetch"
    )
    cone_radius: float = setting(
        2.0,
        doc="Radius of the search around the catalogue position, before proper motion widens it",
        unit="arcsec",
        step="fetch",
        aliases=("cone_search_radius",),
        gt=0,
        le=600,
    )
    minimal_declination: float = setting(
        -30.0,
        doc="Targets south of this are empty without a request",
        unit="deg",
        step="fetch",
        ge=-90,
        le=90,
    )
    limiting_magnitude: float | None = setting(
        20.5,
        doc="Targets fainter than this are empty without a request; unset = no limit",
        unit="mag",
        step="fetch",
    )
    filters: tuple[Literal["zg", "zr", "zi"], ...] = setting(
        ("zg", "zr", "zi"), doc="Filters to fetch", step="fetch"
    )
    cone_fallback: bool = setting(
        True,
        doc="Use the light-curve service's own, slower, cone when the objects table cannot be reached",
        run_only=True,
    )
    forced_start: float = setting(
        58178.0, doc="First night asked of the forced photometry service (MJD)", unit="d", step="fetch"
    )
    forced_end: float = setting(
        62000.0,
        doc="Last night asked of the forced photometry service (MJD)",
        unit="d",
        step="fetch",
        above="forced_start",
    )

    tap_url: str = address(TAP_URL, doc="the table service of the releases (TAP, synchronous)")
    lightcurve_url: str = address(LIGHTCURVE_URL, doc="the light-curve service")
    forced_url: str = address(FORCED_URL, doc="the server of the forced photometry service")

    gap: float = setting(
        40.0,
        doc="A pause in all filters together that is longer than this starts a new season",
        unit="d",
        step="reduce",
        gt=0,
    )
    radius: float = setting(
        3.0,
        doc="Objects whose median position is farther from the source are left out",
        unit="arcsec",
        step="reduce",
        gt=0,
    )
    track_radius: float = setting(
        1.5,
        doc="Of a source with proper motion, objects are taken only if more than half of their epochs lie within "
        "this of its place at the time",
        unit="arcsec",
        step="reduce",
        gt=0,
    )
    mag_range: float | None = setting(
        0.75,
        doc="Objects whose median magnitude differs more from the source's are left out; unset = all",
        unit="mag",
        step="reduce",
    )
    drop_flagged: bool = setting(
        False,
        doc="Drop epochs with any archive flag instead of keeping them flagged",
        step="reduce",
        aliases=("drop_bad",),
    )
    align: bool = setting(
        False,
        doc="Bring the objects of one star and filter to a common zero point where they overlap",
        step="reduce",
    )
    align_error: float = setting(
        0.005,
        doc="Zero points are moved only if the offset is known better than this",
        unit="mag",
        step="reduce",
        gt=0,
    )
    exposure_effects: bool = setting(
        True,
        doc="Bulk files: take out what an exposure did to all objects of like magnitude, and raise errors that "
        "their scatter belies",
        step="reduce",
    )
    rescale_errors: bool = setting(
        False,
        doc="Scale magnitude errors by 1.15 and add 4 mmag in quadrature (g, r), or add 7 mmag (i), which brings "
        "constant stars to a reduced chi squared of one",
        step="reduce",
    )
    barycentric: bool = setting(
        True, doc="Add the column bjd_tdb (middle of the exposure at the barycentre)", step="reduce"
    )
    time_resolution: float = setting(
        3600.0,
        doc="Shortest time scale of interest; below an hour, bulk files of rounded times are refused",
        unit="s",
        step="reduce",
        gt=0,
    )
    allow_coarse_times: bool = setting(
        False, doc="Accept rounded times of bulk files whatever time_resolution says", step="reduce"
    )
    forced_baseline: int = setting(
        25,
        doc="Quiet epochs needed to measure the baseline of forced photometry; without so many that agree within "
        "their errors none is subtracted",
        step="reduce",
        ge=3,
    )
    forced_quiet_before: float | None = setting(
        None,
        doc="Only epochs before this (MJD) serve the baseline",
        unit="d",
        step="reduce",
    )
    forced_quiet_after: float | None = setting(
        None,
        doc="Only epochs after this (MJD) serve the baseline; with both, those before or after",
        unit="d",
        step="reduce",
    )
    forced_max_seeing: float = setting(
        4.0, doc="Forced epochs with worse seeing are flagged", unit="pixel", step="reduce", gt=0
    )
    forced_max_sigma: float = setting(
        25.0, doc="Forced epochs with a larger noise per pixel are flagged", unit="DN", step="reduce", gt=0
    )
    forced_total: bool = setting(
        False,
        doc="Add the flux of the reference source to difference fluxes (for variable stars)",
        step="reduce",
    )
