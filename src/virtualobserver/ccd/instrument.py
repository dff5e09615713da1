"""What tells one camera from another: its keywords, limits, site and the folders its files lie in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Literal

import astropy.units
import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from virtualobserver.config.settings import Settings, setting
from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["ANY_FOLDER", "Instrument", "KeywordSettings", "Layout", "Place", "ReadAs", "merged"]

MEANING = {"gain": "electron / adu", "read_noise": "electron", "exptime": "s", "temperature": "deg_C"}


def _listed(value: object) -> Value:
    """Take one keyword for a list of one."""
    return [value] if isinstance(value, str) else value


Keys = Annotated[list[str], pydantic.BeforeValidator(_listed)]
"""Keywords in the order in which they are asked; one may be written without brackets."""


class ReadAs(Settings):
    """How one number is read from headers."""

    keyword: Keys = setting(
        ..., doc="Keyword in the header, or several in the order to be asked", min_length=1
    )
    unit: str = setting(..., doc="Unit of the value in the header")
    default: float | None = setting(
        None, doc="Taken where the keyword is missing or impossible, and noted; unset = that is an error"
    )

    @property
    def names(self) -> list[str]:
        """The keywords."""
        return self.keyword


class KeywordSettings(Settings):
    """Which keywords hold what, and in which unit; of several the first that is there and possible counts."""

    gain: ReadAs = setting(
        ReadAs(keyword=["EGAIN", "GAIN"], unit="electron / adu"),
        doc="Gain; GAIN beside EGAIN is a setting of the camera",
    )
    read_noise: ReadAs = setting(
        ReadAs(keyword=["RDNOISE", "READNOIS", "RON"], unit="electron"), doc="Read noise"
    )
    exptime: ReadAs = setting(ReadAs(keyword=["EXPTIME", "EXPOSURE"], unit="s"), doc="Exposure time")
    temperature: ReadAs = setting(
        ReadAs(keyword=["CCD-TEMP", "CCDTEMP", "DET-TEMP", "SET-TEMP"], unit="deg_C"),
        doc="Temperature of the detector",
    )
    filter: Keys = setting(["FILTER", "FILTERS", "FILTNAM", "FILTNAME"], doc="Keyword of the filter")
    no_filter: str = setting("", doc="Filter of a frame whose header names none, which is then noted")
    date: Keys = setting(
        ["DATE-OBS", "DATE-BEG", "DATE_OBS"],
        doc="Keyword of date and time, or of the date (the time in TIME-OBS and the like); without it MJD-OBS or JD",
    )
    date_is: Literal["start", "middle"] = setting("start", doc="Which moment of the exposure the date is")
    type: Keys = setting(
        ["IMAGETYP", "OBSTYPE", "FRAME", "FRAMETYP", "IMGTYPE"],
        doc="Keyword that tells bias, dark, flat and science apart",
    )
    object: Keys = setting(["OBJECT", "OBJNAME"], doc="Keyword of the field")
    camera: Keys = setting(["INSTRUME", "DETECTOR", "CAMERA"], doc="Keyword of the camera")
    saturation: Keys = setting(
        ["SATURATE", "SATLEVEL", "SATURAT", "DATAMAX"],
        doc="Keyword of the counts from which a pixel is saturated",
    )
    site: list[tuple[str, str, str]] = setting(
        [
            ("SITELONG", "SITELAT", "SITEELEV"), ("OBS_LON", "OBS_LAT", "OBS_ELEV"),
            ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H"), ("LONG-OBS", "LAT-OBS", "ALT-OBS"),
            ("OBS-LONG", "OBS-LAT", "OBS-ELEV"), ("LONGITUD", "LATITUDE", "HEIGHT"), ("GEOLON", "GEOLAT", "GEOELEV"),
        ],
        doc="Keywords of longitude (east), latitude (deg) and height (m) of the telescope",
    )  # fmt: skip
    mpc_code: Keys = setting(
        ["MPCCODE", "OBSCODE", "MPC-CODE"], doc="Keyword of the observatory's code at the Minor Planet Center"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _usual_units(cls, given: Value) -> Value:
        if not isinstance(given, Mapping):
            return given
        return {
            name: {"unit": MEANING[name], **value}
            if name in MEANING and isinstance(value, Mapping)
            else value
            for name, value in given.items()
        }

    @pydantic.model_validator(mode="after")
    def _check_units(self) -> KeywordSettings:
        for name, wanted in MEANING.items():
            text = getattr(self, name).unit
            try:
                same = astropy.units.Unit(text).is_equivalent(
                    astropy.units.Unit(wanted), equivalencies=astropy.units.temperature()
                )
            except ValueError as error:
                msg = f"{name}: {text!r} is not a unit"
                raise ValueError(msg) from error
            if not same:
                msg = f"{name}: the unit {text!r} does not turn into {wanted}"
                raise ValueError(msg)
        return self

    def to_ours(self, name: str, value: float) -> float:
        """Return a header's number in the unit of this package."""
        return value * self.factor(name) + self.shift(name)

    def factor(self, name: str) -> float:
        """Return what a header's number is multiplied with; temperatures are only shifted, see `shift`."""
        if name == "temperature":
            return 1.0
        return float(astropy.units.Unit(getattr(self, name).unit).to(MEANING[name]))

    def shift(self, name: str) -> float:
        """Return what is added to a header's number: kelvins become degrees Celsius."""
        if name != "temperature":
            return 0.0
        unit = astropy.units.Unit(self.temperature.unit)
        return float(unit.to("deg_C", 0.0, equivalencies=astropy.units.temperature()))


class Layout(Settings):
    """Where in an archive's folder frames lie, and which files there are none."""

    folder: str = setting(".*", doc="Regular expression that the path of a folder ends in")
    example: str = setting("*.fits", doc="The same for people, for messages")

    def holds(self, folder: Path) -> bool:
        """Whether frames lie in a folder."""
        return self.rest_of(folder) is not None

    def rest_of(self, folder: PurePath) -> PurePath | None:
        """Return what stands above the layout's own folders, None if a folder is none of them."""
        found = re.search(rf"(?:^|/)(?:{self.folder})$", folder.as_posix())
        return None if found is None else PurePath(folder.as_posix()[: found.start()] or ".")


class Place(Settings):
    """Where a telescope stands."""

    longitude: float = setting(..., doc="Longitude, east", unit="deg", ge=-180, le=360)
    latitude: float = setting(..., doc="Latitude", unit="deg", ge=-90, le=90)
    height: float = setting(0.0, doc="Height above the sea", unit="m", ge=-500, le=1e4)


ANY_FOLDER = "folder"
"""Name of the layout that every camera has: all FITS files below the archive's folder."""


class Instrument(Settings):
    """What tells one camera from another. Each of its fields is a setting of a survey with this camera too.

    A survey declares its own in Python or reads it from YAML (`read`); what a configuration says goes before.
    """

    camera: str | None = setting(None, doc="Name of the camera; unset = as headers say", step="fetch")
    layouts: dict[str, Layout] = setting({}, doc="Layouts of folders besides `folder`, by name", step="fetch")
    layout: str = setting(
        ANY_FOLDER,
        doc="`folder`: all FITS files below the archive's folder; or one of `layouts`",
        step="fetch",
    )
    name_type: str = setting(
        "",
        doc="Regular expression whose group `type` is the kind in the name of a file; it goes before keywords; empty = "
        "there is none, and words of the name are asked last",
        step="fetch",
    )
    words: dict[str, list[str]] = setting(
        {},
        doc="Words that tell `dark`, `flat`, `bias` or `science`, instead of the usual ones, in small letters",
        step="fetch",
    )
    signature: dict[str, list[str]] = setting(
        {
            "gain": ["GAIN", "CAM-GAIN", "GAINSET"], "offset": ["OFFSET", "BLKLEVEL"],
            "mode": ["READOUTM", "READMODE", "RDMODE"], "x": ["XORGSUBF"], "y": ["YORGSUBF"],
        },
        doc="Settings of the camera that frames and masters must share, each with its keywords",
    )  # fmt: skip
    flipstat: bool = setting(
        True,
        doc="A master is turned as its frame is where FLIPSTAT or ROWORDER differ; false = these say nothing",
    )
    only: dict[str, list[str]] = setting(
        {},
        doc="Keywords that a frame of this camera has, with their values; one with another value is not used",
        step="fetch",
    )
    extension: list[int | str] = setting(
        [],
        doc="Numbers or names of the HDUs that are frames; empty = those that look like frames",
        step="fetch",
    )
    dark_level: float | None = setting(
        None,
        doc="A dark 97.5 % of whose pixels are below so many counts is a bias; unset = no dark is",
        unit="adu", step="fetch", gt=0,
    )  # fmt: skip
    bayer: Literal["refuse", "ignore"] = setting(
        "refuse", doc="Frames of colour cameras (BAYERPAT): an error, or taken as if their pixels were alike"
    )
    site: Place | None = setting(None, doc="Where the telescope stands, if headers do not say")
    mpc_code: str = setting(
        "", doc="Code of the observatory at the Minor Planet Center, if headers do not say",
        pattern=r"^([0-9A-Z]\d{2})?$",
    )  # fmt: skip
    highest_gain: float = setting(
        30.0, doc="A larger number is a setting of the camera and no gain", unit="electron / adu", gt=0
    )
    made: str = setting(
        r"_MASTER|_MASK\.|_CAL\.",
        doc="Regular expression of names of files that are no raw frames",
        step="fetch",
    )
    keywords: KeywordSettings = setting(KeywordSettings(), doc="Keywords and their units")
    overscan: Literal["subtract", "ignore", "none"] = setting(
        "none", doc="Overscan: subtract it, cut it off, or there is none"
    )
    trimsec: str | None = setting(None, doc="Lit part of the frame [x1:x2,y1:y2]; unset = TRIMSEC")
    biassec: str | None = setting(None, doc="Overscan [x1:x2,y1:y2]; unset = BIASSEC")
    saturation: float | None = setting(
        None,
        doc="Counts from which a pixel is saturated; unset = as headers say, else where the counts of a frame end",
        unit="adu",
        gt=0,
    )
    nonlinear: float | None = setting(None, doc="Counts from which a pixel is not linear", unit="adu", gt=0)
    linearity: list[float] = setting(
        [], doc="Coefficients of the correction for non-linearity, in counts / 65536", step="reduce"
    )

    @classmethod
    def read(cls, path: str | Path) -> Instrument:
        """Read an instrument from a YAML file.

        Raises
        ------
        ConfigError
            If the file cannot be read, or says what no instrument has.
        """
        try:
            return cls.model_validate(YAML(typ="safe", pure=True).load(Path(path)) or {})
        except (OSError, YAMLError, pydantic.ValidationError) as error:
            msg = f"{path}: not an instrument: {error}"
            raise ConfigError(msg) from error


def merged(defaults: Record, given: Record) -> RecordDict:
    """Return `given` with what it leaves open from `defaults`, group by group."""
    found = dict(defaults)
    for key, value in given.items():
        under = found.get(key)
        found[key] = (
            merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
        )
    return found
