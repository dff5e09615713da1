"""Settings of the ASTEP survey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from virtualobserver.ccd.instrument import ANY_FOLDER, Instrument, Layout, Place, merged
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.config.settings import Date, PositiveRange, Settings, Size, setting

__all__ = ["ASTEP", "ASTEPSettings", "SimulationSettings"]

ASTEP = Instrument(
    layout="dates",
    name_type=r"\d{4}-\d{2}-\d{2}_\d{2}\.\d{2}\.\d{2}_(?P<type>[A-Za-z]+)",
    site=Place(longitude=123.35, latitude=-75.1, height=3233.0),
    layouts={
        "dates": Layout(folder=r"(\d{4}-\d{2}-\d{2})/\1-CAMS(?:_SKYFLAT)?", example="DATE/DATE-CAMS/*.fits")
    },
)
"""The camera of ASTEP 400: FLI Proline KAF-16801E."""


class SimulationSettings(Settings):
    """The nights that are made up where ``archive`` is ``simulated``."""

    first_night: Date = setting("2010-03-01", doc="Date of the first night", step="fetch")
    nights: int = setting(1, doc="Nights", step="fetch", ge=1)
    frames: int = setting(16, doc="Science frames of a night", step="fetch", ge=1)
    biases: int = setting(5, doc="Biases of a night", step="fetch", ge=0)
    darks: int = setting(7, doc="Darks of a night for each exposure time", step="fetch", ge=0)
    flats: int = setting(7, doc="Sky flats of a night", step="fetch", ge=0)
    size: Size = setting((192, 224), doc="Rows and columns", unit="pix", step="fetch")
    span: float = setting(2.0, doc="From the first to the last science frame", unit="h", step="fetch", gt=0)
    exptime: float = setting(90.0, doc="Exposure time", unit="s", step="fetch", gt=0)
    flat_exptime: float = setting(10.0, doc="Exposure time of flats", unit="s", step="fetch", gt=0)
    scale: float = setting(0.93, doc="Size of a pixel", unit="arcsec/pix", step="fetch", gt=0)
    stars: int = setting(60, doc="Stars in the frame", step="fetch", ge=0)
    movers: int = setting(4, doc="Moving objects of a night", step="fetch", ge=0)
    known: bool = setting(
        False,
        doc="Show the bodies of the orbits simulated@2, which come with the package, too, where they are in the field",
        step="fetch",
    )
    rate: PositiveRange = setting((8.0, 30.0), doc="Slowest and fastest", unit="arcsec/h", step="fetch")
    likelihood: PositiveRange = setting(
        (14.0, 30.0), doc="Least and largest expected likelihood of their paths", step="fetch"
    )
    drift: float = setting(6.0, doc="Of the guiding along each axis over the night", unit="pix", step="fetch")
    fwhm: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat] = setting(
        (2.5, 3.5), doc="Width of stars at first and last frame", unit="pix", step="fetch"
    )
    sky: float = setting(8.0, doc="Sky", unit="electron / s", step="fetch", ge=0)
    cosmics: float = setting(4.0, doc="Cosmic rays in a science frame, mean number", step="fetch", ge=0)


class ASTEPSettings(CCDSettings):
    """Settings of ASTEP, and of cameras like it."""

    instrument: ClassVar[Instrument] = ASTEP

    simulation: SimulationSettings = setting(
        SimulationSettings(), doc="Nights that are made up", step="fetch"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_the_instrument(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        known = cls.instrument.model_dump(exclude_unset=True)
        if given.get("layout") == ANY_FOLDER:
            del known["site"]  # other cameras' files do not come from Dome C
        return merged(known, given)
