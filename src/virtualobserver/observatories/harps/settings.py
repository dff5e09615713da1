"""Settings of the HARPS survey."""

from __future__ import annotations

from typing import Literal, Self

import pydantic

from virtualobserver.config.settings import Date, PositiveRange, Settings, address, setting
from virtualobserver.maths.spectra.lines import CALCIUM
from virtualobserver.observatories.harps.gaia import TAP_URL as GAIA_URL
from virtualobserver.observatories.harps.login import TOKEN_URL
from virtualobserver.observatories.harps.query import FILE_URL, TAP_URL, WEB
from virtualobserver.observatories.harps.simbad import TAP_URL as SIMBAD_URL
from virtualobserver.observatory import ObservatorySettings

__all__ = ["HARPSSettings", "SimulationSettings"]


class SimulationSettings(Settings):
    """The stars that are made up where ``archive`` is ``simulated``."""

    nights: int = setting(8, doc="Nights of each star", step="fetch", ge=1)
    per_night: int = setting(3, doc="Spectra in a night", step="fetch", ge=1)
    snr: float = setting(80.0, doc="Median signal to noise of a pixel beside the lines", step="fetch", gt=0)
    mjd_start: float = setting(56200.0, doc="First night", unit="d", step="fetch")
    mjd_end: float = setting(57900.0, doc="Last night", unit="d", step="fetch", above="mjd_start")
    comets: float = setting(
        2.0, doc="Mean number of exocomets of a star of that kind, at least one", step="fetch", ge=0
    )
    depth: PositiveRange = setting(
        (0.05, 0.5), doc="Range of their depths in K, drawn evenly in its logarithm", step="fetch"
    )
    width: PositiveRange = setting(
        (6.0, 60.0),
        doc="Range of their full widths at half maximum, drawn likewise",
        unit="km/s",
        step="fetch",
    )
    dead_fraction: float = setting(
        0.02, doc="Fraction of spectra whose extraction failed: zeros only", step="fetch", ge=0, le=1
    )
    cosmics: float = setting(0.5, doc="Mean number of cosmic rays in a spectrum", step="fetch", ge=0)

    @pydantic.model_validator(mode="after")
    def _nights_fit(self) -> Self:
        days = int(self.mjd_end) - int(self.mjd_start)
        if self.nights > days:
            msg = f"nights = {self.nights}, but from mjd_start to mjd_end there are {days}"
            raise ValueError(msg)
        return self


class HARPSSettings(ObservatorySettings):
    """What to ask the ESO archive for, and how to reduce it."""

    collections: tuple[str, ...] = setting(
        ("HARPS",), doc="Collections of ObsCore to ask for, e.g. HARPS, UVES", step="fetch"
    )
    route: Literal["tap", "astroquery"] = setting(
        "tap",
        doc="How products are listed: tap (ADQL on ObsCore), or astroquery (astroquery.eso; up to release 0.4.11 that "
        "is the archive's web form, without S/N and sizes)",
        step="fetch",
    )
    radius: float = setting(
        30.0,
        doc="Radius of the search around the target, before proper motion widens it",
        unit="arcsec",
        step="fetch",
        gt=0,
        le=3600,
    )
    minimal_snr: float = setting(
        0.0, doc="Spectra whose archive S/N is lower are not fetched", step="fetch", ge=0
    )
    archived_before: Date | None = setting(
        None, doc="Only products that entered the archive before that day, e.g. 2022-03-21", step="fetch"
    )
    store: Literal["full", "windows"] = setting(
        "full",
        doc="full: keep the files as they are; windows: keep the stretches around the lines only, a "
        "hundredth of the size. Which one it was stands in each row",
        step="fetch",
    )
    proprietary: bool = setting(
        False,
        doc="Ask for products that are not public yet too, with the token of VO_HARPS_USERNAME and _PASSWORD",
        step="fetch",
    )
    page_rows: int = setting(
        10000, doc="Rows asked for at once; more are got by halving the time", run_only=True, ge=10
    )
    downloads: str | None = setting(
        None,
        doc="Folder in which downloads are kept and from which they go on; unset = one in the data folder or "
        "the system's temporary folder",
        run_only=True,
    )
    reference: str = setting(
        "auto",
        doc="Where to find the star in Gaia: auto (the live archive where spectra come live), always, never, or "
        "the folder of a local extract",
        step="fetch",
    )
    simbad: Literal["auto", "always", "never"] = setting(
        "auto",
        doc="Ask SIMBAD for names, motion and spectral type of the star, and where one without a position is: "
        "auto (where spectra come live), always, never",
        step="fetch",
    )
    gaia_release: Literal["dr2", "dr3"] = setting("dr3", doc="Release of Gaia", step="fetch")

    tap_url: str = address(TAP_URL, doc="the archive's table service (TAP)")
    file_url: str = address(FILE_URL, doc="its files, to which the id of a product is added")
    web_url: str = address(WEB, doc="its web forms (route: astroquery)")
    token_url: str = address(
        TOKEN_URL, doc="its login, where VO_HARPS_USERNAME and _PASSWORD go", run_only=True
    )
    gaia_url: str = address(GAIA_URL, doc="Gaia's table service (TAP)")
    simbad_url: str = address(SIMBAD_URL, doc="SIMBAD's table service (TAP)")

    lines: dict[str, float] = setting(
        doc="Name of each line and its rest wavelength in air",
        unit="Angstrom",
        step="reduce",
        default_factory=lambda: dict(CALCIUM),
    )
    half_width: float = setting(
        2000.0, doc="Half the width of the window around a line", step="reduce", gt=10, aliases=("length",)
    )
    half_width_unit: Literal["pixel", "km/s"] = setting(
        "pixel", doc="Unit of half_width; a pixel is that of wave_step", step="reduce"
    )
    wave_step: float = setting(0.01, doc="Step of the grid", unit="Angstrom", step="reduce", gt=0, le=1)
    side_inner: float = setting(
        200.0, doc="Where the side bands begin, from the star's velocity", unit="km/s", step="reduce", ge=0
    )
    side_outer: float = setting(
        700.0, doc="Where they end", unit="km/s", step="reduce", gt=0, above="side_inner"
    )
    continuum_degree: int = setting(
        2, doc="Degree of the polynomial through the side bands", step="reduce", ge=0, le=2
    )
    pixel_correlation: float = setting(
        0.22,
        doc="Correlation of the noise of neighbouring pixels of HARPS, and of others where it cannot be measured",
        step="reduce",
        ge=0,
        lt=0.9,
    )
    cosmic_threshold: float = setting(
        6.0, doc="Height of a spike that is masked, in units of its error; 0 = none are", step="reduce", ge=0
    )
    radial_velocity: float | None = setting(
        None,
        doc="Velocity of the star, for all targets; unset = column radial_velocity of the catalogue, else the "
        "median of the pipeline's, else Gaia's, else that of the header, else 0",
        unit="km/s",
        step="reduce",
    )
    simulation: SimulationSettings = setting(
        doc="The stars that are made up", default_factory=SimulationSettings
    )
