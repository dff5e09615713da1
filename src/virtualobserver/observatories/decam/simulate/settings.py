"""Settings of simulated nights."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from virtualobserver.config.settings import Date, Range, Settings, Size, setting
from virtualobserver.observatories.decam.simulate.sky import CCD_NUMBERS

__all__ = ["SimulationSettings"]


def _known(names: list[str]) -> list[str]:
    if unknown := [name for name in names if name not in CCD_NUMBERS]:
        msg = f"there is no CCD {', '.join(unknown)}; there are N1 to N31 and S1 to S31"
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = f"a CCD is named twice in {', '.join(names)}"
        raise ValueError(msg)
    return names


class SimulationSettings(Settings):
    """The nights that are made up where ``archive`` is ``simulated``."""

    first_night: Date = setting("2021-12-11", doc="Date of the first night", step="fetch")
    nights: int = setting(1, doc="Nights; the first has the pointed exposures", step="fetch", ge=1)
    exposures: int = setting(4, doc="Drift exposures of a night", step="fetch", ge=0)
    ccds: Annotated[list[str], pydantic.AfterValidator(_known)] = setting(
        ["N24", "N22"], doc="CCDs of each file, by EXTNAME", step="fetch", min_length=1
    )
    size: Size = setting(
        (600, 600), doc="Rows and columns, from the middle of each CCD", unit="pix", step="fetch"
    )
    cadence: float = setting(50.0, doc="From one exposure to the next", unit="s", step="fetch", gt=0)
    exptime: float = setting(20.0, doc="Of a drift exposure", unit="s", step="fetch", gt=0)
    pointed_exptime: float = setting(60.0, doc="Of a pointed exposure", unit="s", step="fetch", gt=0)
    first_expnum: int = setting(1058801, doc="Number of the first drift exposure", step="fetch", ge=1)
    rate: float = setting(0.5, doc="Of the telescope in declination", unit="arcsec/s", step="fetch", gt=0)
    direction: Literal[1, -1] = setting(1, doc="1 = the telescope moves north, -1 = south", step="fetch")
    rate_error: float = setting(
        0.0,
        doc="By which part the true rate differs from the one in the settings",
        step="fetch",
        gt=-0.5,
        lt=0.5,
    )
    pointing_error: float = setting(
        8.0, doc="Of a drift exposure's world coordinates, at most", unit="arcsec", step="fetch", ge=0, le=30
    )
    distorted: bool = setting(
        True, doc="World coordinates with distortion (TPV) instead of TAN", step="fetch"
    )
    density: float = setting(300.0, doc="Stars in a million pixels", step="fetch", ge=0)
    mag: Range = setting(
        (14.5, 21.0),
        doc="Brightest and faintest star in r; numbers grow as 10^(0.3 m)",
        unit="mag",
        step="fetch",
    )
    seeing: float = setting(1.05, doc="Width of the stars (FWHM)", unit="arcsec", step="fetch", gt=0)
    seeing_drift: float = setting(
        0.1, doc="Part by which it grows from the middle of an exposure to its end", step="fetch", ge=0, lt=1
    )
    profile: Literal["moffat", "gauss"] = setting("moffat", doc="Of a star", step="fetch")
    motion: float = setting(
        0.1, doc="Motion of all images, rms of an axis", unit="arcsec", step="fetch", ge=0
    )
    motion_time: float = setting(1.0, doc="Time in which it is forgotten", unit="s", step="fetch", gt=0)
    motion_local: float = setting(
        0.02, doc="The same of what differs between places", unit="arcsec", step="fetch", ge=0
    )
    motion_scale: float = setting(
        150.0, doc="Distance over which it differs", unit="arcsec", step="fetch", gt=0
    )
    shake: float = setting(
        0.02, doc="Shaking in the wind, 2 to 8 Hz, amplitude", unit="arcsec", step="fetch", ge=0
    )
    transparency: float = setting(0.01, doc="Changes of the sky's clearness in 10 s, rms", step="fetch", ge=0)
    scintillation: float = setting(0.003, doc="Of each star in half a second, rms", step="fetch", ge=0)
    sky: float = setting(21.6, doc="Electrons of the sky in a pixel each second", step="fetch", ge=0)
    zero_point: float = setting(27.43, doc="Magnitude of one electron a second", unit="mag", step="fetch")
    read_noise: float = setting(6.0, doc="Electrons", step="fetch", gt=0)
    saturation: float = setting(42_000.0, doc="Counts of a full pixel", unit="adu", step="fetch", gt=0)
    cosmic_rays: float = setting(
        8.0, doc="In a million pixels and 20 s, mean number; two thirds are in the mask", step="fetch", ge=0
    )
    bad_columns: int = setting(1, doc="Bad columns of a CCD", step="fetch", ge=0)
    events: int = setting(3, doc="Stars of a CCD that change in a drift exposure", step="fetch", ge=0)
    flashes: float = setting(0.5, doc="Flashes on a CCD in a drift exposure, mean number", step="fetch", ge=0)
    movers: float = setting(
        0.0, doc="Bodies with a motion of their own, 0.3 to 1 arcsec/s, on a CCD in a drift exposure, mean number",
        step="fetch", ge=0,
    )  # fmt: skip
    glints: float = setting(
        0.0, doc="Glints of geostationary satellites of 0.2 to 0.4 s, the same; they stretch along y", step="fetch",
        ge=0,
    )  # fmt: skip
    satellites: float = setting(0.1, doc="Lines of satellites, the same", step="fetch", ge=0)
    steps: int = setting(25, doc="Steps a second in which light is added up", step="fetch", ge=5)
    plver: str = setting(
        "V5.5", doc="Version of the pipeline: from 3.5 on, masks hold codes, before, bits", step="fetch"
    )
    renamed: bool = setting(
        False, doc="Files are named c4d_<programme>-exp_<number>-<image|dqmask|wtmap>.fits.fz", step="fetch"
    )
    programme: str = setting("2021B-0023", doc="Number of the programme", step="fetch", min_length=1)
