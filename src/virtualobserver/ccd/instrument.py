"""What tells one camera from another: its keywords, limits, site and the folders its files lie in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import astropy.units
import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from virtualobserver.config.settings import Settings, setting
from virtualobserver.errors import ConfigError

__all__ = ["ANY_FOLDER", "Instrument", "KeywordSettings", "ReadAs", "merged"]

MEANING = {"gain": "electron / adu", "read_noise": "electron", "exptime": "s", "temperature": "deg_C"}


class ReadAs(Settings):
    """How one number is read from headers."""

    keyword: str = setting(..., doc="Keyword in the header", min_length=1)
    unit: str = setting(..., doc="Unit of the value in the header")
    default: float | None = setting(
        None, doc="Taken where the keyword is missing or impossible, and noted; unset = that is an error"
    )


class KeywordSettings(Settings):
    """Which keywords hold what, and in which unit."""

    gain: ReadAs = setting(ReadAs(keyword="GAIN", unit="electron / adu"), doc="Gain")
    read_noise: ReadAs = setting(ReadAs(keyword="RDNOISE", unit="electron"), doc="Read noise")
    exptime: ReadAs = setting(ReadAs(keyword="EXPTIME", unit="s"), doc="Exposure time")
    temperature: ReadAs = setting(ReadAs(keyword="CCD-TEMP", unit="deg_C"), doc="Temperature of the detector")
    filter: str = setting("FILTER", doc="Keyword of the filter")
    date: str = setting("DATE-OBS", doc="Keyword of date and time (ISO 8601, UTC)")
    date_is: Literal["start", "middle"] = setting("start", doc="Which moment of the exposure the date is")
    type: str = setting("IMAGETYP", doc="Keyword that tells bias, dark, flat and science apart")
    object: str = setting("OBJECT", doc="Keyword of the field")
    camera: str = setting("INSTRUME", doc="Keyword of the camera")

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
        return re.search(rf"(?:^|/)(?:{self.folder})$", folder.as_posix()) is not None


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
        r"\d{4}-\d{2}-\d{2}_\d{2}\.\d{2}\.\d{2}_(?P<type>[A-Za-z]+)",
        doc="Regular expression that finds the type of a frame in the name of its file",
        step="fetch",
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
    saturation: float = setting(65535.0, doc="Counts from which a pixel is saturated", unit="adu", gt=0)
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


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with what it leaves open from `defaults`, group by group."""
    found = dict(defaults)
    for key, value in given.items():
        under = found.get(key)
        found[key] = (
            merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
        )
    return found
