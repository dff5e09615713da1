"""Settings of the chain of filters, with the keys of default.ssos."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import pydantic

from virtualobserver.config.settings import Range, Settings, setting
from virtualobserver.typing import Value

__all__ = ["ELSEWHERE", "SsosSettings"]

ELSEWHERE: Final = MappingProxyType(
    {
        "SCI_EXTENSION": "the survey reads the images",
        "WEIGHT_IMAGES": "the variance of each pixel comes with the images",
        "DATE-OBS": "the survey reads the headers",
        "FILTER": "the survey reads the headers",
        "EXPTIME": "the survey reads the headers",
        "SEX_CONFIG": "sources are found by the reduction, see `reduce`",
        "SEX_PARAMS": "sources are found by the reduction, see `reduce`",
        "SEX_FILTER": "sources are found by the reduction, see `reduce`",
        "SEX_NNW": "sources are found by the reduction, see `reduce`",
        "SCAMP_CONFIG": "world coordinates are found by the reduction; CROSSID_RADIUS is read here",
        "SWARP_CONFIG": "cut-outs need no other program",
        "CROSSMATCH_SKYBOT": "known objects are named by the identification of tracks",
        "CROSSMATCH_RADIUS": "known objects are named by the identification of tracks",
        "OBSERVATORY_CODE": "known objects are named by the identification of tracks",
        "FOV_DIMENSIONS": "known objects are named by the identification of tracks",
        "EXTRACT_CUTOUTS": "cut-outs are pictures, see `vo plot`",
        "CUTOUT_SIZE": "cut-outs are pictures, see `vo plot`",
        "CHECKPLOTS": "pictures are drawn on demand, see `vo plot`",
    }
)
"""Keys of default.ssos that are understood and have their place elsewhere."""


class SsosSettings(Settings):
    """The chain of ssos 1.3.5: its keys, in capital letters too, with its defaults."""

    older: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"ASTREF_CATALOG": "refcat of the survey names the catalogue: gaia@dr3, gaia@dr2"}
    )

    crossid_radius: float = setting(
        10.0, doc="Consecutive sources of an object are at most so far apart", unit="arcsec", step="analyse",
        aliases=("CROSSID_RADIUS",), gt=0,
    )  # fmt: skip
    remove_ref_sources: bool = setting(
        False, doc="Leave out sources that are stars of the reference catalogue", step="analyse",
        aliases=("REMOVE_REF_SOURCES",),
    )  # fmt: skip
    filter_detec: bool = setting(
        True, doc="Filter by number of sources", step="analyse", aliases=("FILTER_DETEC",)
    )
    detections: tuple[int, ...] = setting(
        (1, 2, 3), doc="Objects with so many sources are taken out", step="analyse", aliases=("DETECTIONS",)
    )
    filter_pm: bool = setting(True, doc="Filter by rate", step="analyse", aliases=("FILTER_PM",))
    pm_low: float = setting(
        0.0, doc="Slowest motion, kept", unit="arcsec/h", step="analyse", aliases=("PM_LOW",), ge=0
    )
    pm_up: float = setting(
        300.0,
        doc="Fastest motion, kept",
        unit="arcsec/h",
        step="analyse",
        aliases=("PM_UP",),
        gt=0,
        not_below="pm_low",
    )
    pm_snr: float = setting(0.5, doc="Least rate over its error", step="analyse", aliases=("PM_SNR",), ge=0)
    filter_pixel: bool = setting(
        True, doc="Filter what stays on the detector", step="analyse", aliases=("FILTER_PIXEL",)
    )
    delta_pixel: float = setting(
        2.0, doc="Least range of columns or rows", unit="pix", step="analyse", aliases=("DELTA_PIXEL",), ge=0
    )
    filter_motion: bool = setting(
        True, doc="Filter by linear motion", step="analyse", aliases=("FILTER_MOTION",)
    )
    identify_outlier: bool = setting(
        False, doc="Part objects at gaps in time", step="analyse", aliases=("IDENTIFY_OUTLIER",)
    )
    outlier_threshold: float = setting(
        2.0, doc="Gap, in units of the scatter of the epochs", step="analyse", aliases=("OUTLIER_THRESHOLD",), gt=0
    )  # fmt: skip
    r_squ_m: float = setting(
        0.95, doc="Least R squared of the lines", step="analyse", aliases=("R_SQU_M",), ge=0, le=1
    )
    filter_trail: bool = setting(
        False, doc="Filter by constant shape", step="analyse", aliases=("FILTER_TRAIL",)
    )
    ratio: float = setting(
        0.25, doc="Least error of the mean axes over their scatter", step="analyse", aliases=("RATIO",), ge=0
    )
    filter_bright_sources: bool = setting(
        True, doc="Filter near bright stars; needs a reference catalogue", step="analyse",
        aliases=("FILTER_BRIGHT_SOURCES",),
    )  # fmt: skip
    bright_sources_cat: str = setting(
        "REFCAT", doc="Catalogue of bright stars: REFCAT is that of `refcat`", step="analyse", pattern="^REFCAT$",
        aliases=("BRIGHT_SOURCES_CAT",),
    )  # fmt: skip
    distance: float = setting(
        50.0, doc="From bright stars, at least", unit="arcsec", step="analyse", aliases=("DISTANCE",), ge=0
    )
    mag_limits: Range = setting(
        (-99.0, 6.0), doc="Bright stars", unit="mag", step="analyse", aliases=("MAG_LIMITS",)
    )
    fixed_aper_mags: bool = setting(
        False, doc="Magnitudes in one aperture, and colours against the reference filter", step="analyse",
        aliases=("FIXED_APER_MAGS",),
    )  # fmt: skip
    reference_filter: str = setting(
        "gSDSS", doc="Band against which colours are told", step="analyse", aliases=("REFERENCE_FILTER",)
    )
    elsewhere: dict[str, str] = setting(
        default_factory=dict,
        doc="Keys of default.ssos that have their place elsewhere; noted, not used",
        run_only=True,
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_in_default_ssos(cls, given: Value) -> Value:
        """Take lists written with commas, and put keys that have their place elsewhere aside."""
        if not isinstance(given, dict):
            return given
        moved = {key: str(value) for key, value in given.items() if key in ELSEWHERE}
        values = {key: value for key, value in given.items() if key not in ELSEWHERE}
        for key, kind in (("detections", int), ("mag_limits", float)):
            for name in (key, key.upper()):
                if isinstance(values.get(name), str):
                    values[name] = tuple(kind(part) for part in values[name].split(","))
                elif isinstance(values.get(name), int):
                    values[name] = (values[name],)
        return values | ({"elsewhere": {**values.get("elsewhere", {}), **moved}} if moved else {})
